"""What README.md tells people to type is typed here, word by word, as the user whom it is meant for, at a real API server."""

import asyncio
import json
import os
import re
from typing import Any

import pytest
import yaml

from docs import readme
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.identities import ADMIN, ONCALL, VIEWER

pytestmark = pytest.mark.contract

EXAMPLES = {(one := yaml.safe_load(block.text))["kind"]: one for block in readme.blocks("yaml")}
FAILOVER = EXAMPLES["Failover"]
UNASKED = FAILOVER | {"spec": FAILOVER["spec"] | {"policy": FAILOVER["spec"]["policy"] | {"mode": "Automatic"}}}
"""The same in mode Automatic: it goes into Holding without an answer."""
LEADER_LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "ostkeeper-operator", "namespace": "ostkeeper-system"},
    "spec": {"holderIdentity": "operator-1"},
}
BOARD = "4c4c4544-0042-3510-8052-b4c04f4d4d32"


def script(title: str, marker: str) -> str:
    """Return the one shell block of a section that holds the marker, without what follows the world for ever (-w)."""
    (block,) = [b.text for b in readme.blocks("sh", readme.section(title)) if marker in b.text]
    return "\n".join(line for line in block.splitlines() if not re.search(r" -w(\s|$)", line))


async def typed(plane: ControlPlane, text: str, user: str = ONCALL.user) -> str:
    """Run a shell script as it stands, with kubectl and the kubeconfig of this user. Fails on the first error."""
    env = {**os.environ, "KUBECONFIG": str(plane.kubeconfig(user))}
    env["PATH"] = f"{plane.kubectl_path.parent}:{env['PATH']}"
    words = ("bash", "-euo", "pipefail", "-c", text)
    pipe = asyncio.subprocess.PIPE
    shell = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=env)
    said, _ = await shell.communicate()
    assert shell.returncode == 0, f"{text}\n{said.decode()}"
    return said.decode()


async def put(plane: ControlPlane, document: dict[str, Any], *statuses: dict[str, Any]) -> None:
    """Have this object there, in the last of these statuses, whatever an earlier test has left of it."""
    kind, name, place = await cleared(plane, document)
    await plane.kubectl("create", *place, "-f", "-", stdin=json.dumps(document))
    for status in statuses:
        await _write_status(plane, kind, name, place, status)


async def cleared(plane: ControlPlane, document: dict[str, Any]) -> tuple[str, str, tuple[str, str]]:
    """Take away what an earlier test has left of this object. Gives its kind, its name and its place."""
    kind, name = document["kind"].lower(), document["metadata"]["name"]
    place = ("-n", document["metadata"].get("namespace", "default"))
    if await plane.kubectl("get", kind, name, *place, "--ignore-not-found"):
        if kind == "failover":
            await _write_status(plane, kind, name, place, {"phase": "Aborted"})
        await plane.kubectl("delete", kind, name, *place)
    return kind, name, place


async def _write_status(
    plane: ControlPlane, kind: str, name: str, place: tuple[str, ...], status: dict[str, Any]
) -> None:
    patch = json.dumps({"status": status})
    await plane.kubectl("patch", kind, name, *place, "--subresource=status", "--type=merge", "-p", patch)


async def spec(plane: ControlPlane, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await plane.kubectl("get", kind, name, "-n", "scratch", "-o", "json"))["spec"]
    return found


@pytest.mark.parametrize("kind", EXAMPLES)
async def test_example_is_accepted_without_a_warning(plane: ControlPlane, kind: str) -> None:
    await cleared(plane, EXAMPLES[kind])
    words = ("--warnings-as-errors", "create", "--dry-run=server", "--validate=strict", "-f", "-")
    assert "created" in await plane.kubectl(*words, stdin=json.dumps(EXAMPLES[kind]))


async def test_on_call_looks_and_answers_failover_as_readme_says(plane: ControlPlane) -> None:
    await put(plane, FAILOVER, {"phase": "AwaitingApproval", "evidence": "e1", "message": "oss1 is Failed"})
    looked = await typed(plane, script("Answering", "SEEN=") + "\n" + script("Answering", '"answer":"Failover"'))
    assert "oss1 is Failed\nheartbeat\tStale\tunchanged for 10.1s\n" in looked
    approval = (await spec(plane, "failover", "pair-a-42"))["approval"]
    assert approval | {"note": ""} == {"answer": "Failover", "evidence": "e1", "by": ONCALL.user, "note": ""}


async def test_answer_to_evidence_that_has_changed_since_is_refused(plane: ControlPlane) -> None:
    await put(plane, FAILOVER, {"phase": "AwaitingApproval", "evidence": "e1"})
    stale = script("Answering", "SEEN=").replace("{.status.evidence}", "{.spec.node}")
    with pytest.raises(AssertionError, match=r"is not the current status\.evidence"):
        await typed(plane, stale + "\n" + script("Answering", '"answer":"Failover"'))


async def test_on_call_reads_what_is_missing_and_confirms_the_death(plane: ControlPlane) -> None:
    missing = ["level bmc: bmc-oss1 is UNKNOWN: no answer", "another line"]
    blocked = {"phase": "Blocked", "evidence": "e2", "holdEpoch": 43, "missing": missing}
    await put(plane, UNASKED, {"phase": "Holding", "evidence": "e1"}, {"phase": "Fencing", "holdEpoch": 43}, blocked)
    assert await typed(plane, script("Blocked", ".status.missing")) == "\n".join(missing) + "\n"
    await typed(plane, script("Blocked", '"answer":"ConfirmDead"'))
    approval = (await spec(plane, "failover", "pair-a-42"))["approval"]
    assert (approval["answer"], approval["evidence"]) == ("ConfirmDead", "e2")


async def test_on_call_reads_the_story_of_a_failover(plane: ControlPlane) -> None:
    entry = {"time": "2026-11-23T06:00:00.000000Z", "phase": "AwaitingApproval", "message": "oss1 is Failed"}
    await put(plane, FAILOVER, {"phase": "AwaitingApproval", "evidence": "e1", "timeline": [entry]})
    told = await typed(plane, script("How a failover goes", ".status.timeline"))
    assert told == "2026-11-23T06:00:00.000000Z  AwaitingApproval  oss1 is Failed\n"


@pytest.mark.parametrize(
    ("title", "marker", "field", "value"),
    [
        ("A pair is not Ready", '"adopt":57', "adopt", 57),
        ("A pair is not Ready", "acceptBoards", "acceptBoards", [{"node": "oss1", "systemUUID": BOARD}]),
        ("Being asked again", "askAgain", "askAgain", "pair-a-42"),
        ("Moving an OST by hand, when the API server is down", "EPOCH=", "adopt", 41),
        ("The first day on a running file system", "maintenance", "maintenance", []),
    ],
)
async def test_on_call_may_ask_of_a_pair_what_readme_says(
    plane: ControlPlane, title: str, marker: str, field: str, value: object
) -> None:
    await put(plane, EXAMPLES["OSS"], {"systemUUID": BOARD})
    await put(plane, EXAMPLES["OSSPair"], {"epoch": 41, "conditions": []})
    lines = script(title, marker).splitlines()
    await typed(plane, "\n".join(line for line in lines if not line.startswith("ostkeeper ")))
    assert (await spec(plane, "osspair", "pair-a"))[field] == value


async def test_commands_of_the_installation_are_taken_by_the_api_server(plane: ControlPlane) -> None:
    """Those that need no image and no second machine; the certificate is asked for, and nobody signs it here."""
    await typed(
        plane, f"cd {readme.ROOT} && kubectl apply --dry-run=server --server-side --force-conflicts -f crds", ADMIN.user
    )
    wanted = script("Installing on a real cluster", "kind: CertificateSigningRequest")
    asked = wanted.replace("kubectl apply", "kubectl apply --dry-run=server").split("kubectl certificate")[0]
    assert "created" in await typed(plane, f'cd "$(mktemp -d)"\n{asked}', ADMIN.user)


def kubectl_lines() -> list[str]:
    """Each kubectl command of README, from its shell blocks and from its text, without comments."""
    inline = re.findall(r"`(kubectl [^`]+)`", readme.text())
    typed_out = [line.strip() for block in readme.blocks("sh") for line in block.text.splitlines()]
    lines = [re.sub(r"\s+#.*$", "", line) for line in (*typed_out, *inline)]
    return [line for line in lines if line.removeprefix("EPOCH=$(").removeprefix("SEEN=$(").startswith("kubectl ")]


def test_each_patch_of_what_git_may_own_names_its_field_manager() -> None:
    """Flux takes the fields of a manager named kubectl away at its next sync."""
    patches = [line for line in kubectl_lines() if re.search(r" patch (pair|osspair|ost|fd|fencedevice)", line)]
    assert len(patches) >= 7
    assert [line for line in patches if "--field-manager=" not in line] == []


READS = sorted(
    {
        line.replace(" -w", "")
        for line in kubectl_lines()
        if re.match(r"kubectl (-n \S+ )?(get|explain|auth)", line) and "csr" not in line and "|" not in line
    }
)


@pytest.mark.parametrize("line", READS)
async def test_command_that_looks_is_understood(plane: ControlPlane, line: str) -> None:
    """As who looks, not as an admin: the viewer's role is enough for each of them, but for the operator's pods and lease."""
    await put(plane, EXAMPLES["OSSPair"], {"epoch": 41, "conditions": []})
    for server in ("oss1", "oss2"):
        await put(plane, EXAMPLES["OSS"] | {"metadata": {"name": server}})
    await put(plane, FAILOVER, {"phase": "AwaitingApproval", "evidence": "e1"})
    if " lease " in line:
        await put(plane, LEADER_LEASE)
    await typed(plane, line, ADMIN.user if " pods" in line or " lease " in line else VIEWER.user)


async def test_admin_turns_a_pair_to_manual_and_an_approver_does_not(plane: ControlPlane) -> None:
    (line,) = [line for line in kubectl_lines() if '"mode":"Manual"' in line]
    await put(plane, EXAMPLES["OSSPair"] | {"spec": EXAMPLES["OSSPair"]["spec"] | {"failover": {"mode": "Observe"}}})
    with pytest.raises(AssertionError, match=r"spec\.failover: alice may not declare this"):
        await typed(plane, line)
    await typed(plane, line, ADMIN.user)
    assert (await spec(plane, "osspair", "pair-a"))["failover"]["mode"] == "Manual"


async def test_namespace_and_secrets_are_made_as_the_installation_says(plane: ControlPlane) -> None:
    wanted = script("Installing on a real cluster", "create secret generic bmc")
    lines = [line for line in wanted.splitlines() if line.startswith("kubectl ") and " create " in f"{line} "]
    files = "printf x > bmc.txt; printf x > auth.txt; printf x > priv.txt"
    dry = "\n".join(re.sub(r"\s+#.*$", "", line) + " --dry-run=client -o name" for line in lines)
    assert "secret/pdu" in await typed(plane, f'cd "$(mktemp -d)"\n{files}\n{dry}', ADMIN.user)


async def test_samples_roles_and_policies_are_taken_by_the_api_server(plane: ControlPlane) -> None:
    for folder in ("deploy", "deploy/fill-in-name", "deploy/samples"):
        words = "kubectl apply --server-side --force-conflicts --dry-run=server -k"
        await typed(plane, f"cd {readme.ROOT} && {words} {folder}", ADMIN.user)
