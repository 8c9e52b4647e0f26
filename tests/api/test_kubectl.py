"""What a person at kubectl sees: no warning, no drift, tables, explanations, waits."""

import asyncio
import json
from pathlib import Path

import pytest

from api.objects import NAMESPACE, PLURALS, Json, api, bmc, certificate, changed, failover, fresh, oss, ost, pair
from ostkeeper.testbed.controlplane import ControlPlane, ControlPlaneError

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
READY = {"type": "Ready", "status": "True", "reason": "Converged", "message": "all is well", "observedGeneration": 1}
DEFAULTS_LEFT_OUT: Json = {
    "unhealthyConditions": [{"type": "ReadonlyFilesystem", "status": "True"}],
    "failover": {"confirm": {"rounds": 5}},
    "maintenance": [],
}


def rows(table: str) -> list[list[str]]:
    """Return the cells of what `kubectl get` prints: columns are three blanks apart."""
    return [[cell for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def headers(table: str) -> list[str]:
    return table.splitlines()[0].split()


async def test_crds_samples_and_deployment_are_applied_without_a_warning(plane: ControlPlane) -> None:
    strict = ("--warnings-as-errors", "apply", "--dry-run=server")
    await plane.kubectl(*strict, "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    await plane.kubectl(*strict, "--server-side", "--force-conflicts", "-k", str(ROOT / "deploy"))
    await plane.kubectl(*strict, "-n", NAMESPACE, "-f", str(ROOT / "deploy/samples/pair.yaml"))
    await plane.kubectl(*strict, "-n", NAMESPACE, "-f", str(ROOT / "deploy/samples/osts.yaml"))
    await plane.kubectl(*strict, "-n", NAMESPACE, "-f", str(ROOT / "deploy/samples/fencedevices.yaml"))


@pytest.mark.parametrize(
    "folder", ["deploy", "deploy/agent", "deploy/samples", "deploy/testbed", "deploy/fill-in-name"]
)
async def test_kustomization_builds(plane: ControlPlane, folder: str) -> None:
    assert await plane.kubectl("kustomize", str(ROOT / folder))


async def test_applying_again_changes_nothing_where_defaults_were_left_out(plane: ControlPlane) -> None:
    """Else a GitOps engine would see drift for ever. Defaults inside list items would do that."""
    name = fresh("again-")
    lean = pair(name) | {"spec": pair()["spec"] | DEFAULTS_LEFT_OUT}
    manifests = [lean, ost(name), bmc(name)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    words = ("--warnings-as-errors", "apply", "-n", NAMESPACE, "-f", "-")
    assert (await plane.kubectl(*words, stdin=listed)).count("created") == len(manifests)
    second = (await plane.kubectl(*words, stdin=listed)).splitlines()
    assert [line.split()[-1] for line in second] == ["unchanged"] * len(manifests)
    async with api(plane) as admin:
        spec = (await admin.get("OSSPair", name))["spec"]
    assert spec["failover"]["confirm"] == {"rounds": 5, "interval": "500ms", "settle": "2s"}
    assert spec["unhealthyConditions"] == DEFAULTS_LEFT_OUT["unhealthyConditions"]


async def test_table_of_osts_is_the_one_that_was_promised(plane: ControlPlane) -> None:
    name = fresh("table-ost")
    status = {
        "target": "scratch-OST0000", "node": "oss2", "mountedOn": "oss2", "state": "Recovering", "epoch": 44,
        "recovery": "212/214 0:41", "conditions": [READY | {"status": "False", "reason": "Recovering"}],
    }  # fmt: skip
    async with api(plane) as admin:
        await admin.create(ost(name))
        await admin.status("OST", name, status)
    table = await plane.kubectl("get", "ost", name, "-n", NAMESPACE)
    assert headers(table) == ["NAME", "FS", "INDEX", "HOME", "NODE", "STATE", "RECOVERY", "AGE"]
    assert [cell.strip() for cell in rows(table)[1]][:-1] == [
        name,
        "scratch",
        "0",
        "oss1",
        "oss2",
        "Recovering",
        "212/214 0:41",
    ]
    wide = await plane.kubectl("get", "ost", name, "-n", NAMESPACE, "-o", "wide")
    assert headers(wide)[8:] == ["TARGET", "MOUNTED-ON", "EPOCH", "PAIR", "READY", "REASON", "MESSAGE"]


async def test_tables_of_the_other_kinds_show_who_decides_and_how_far_it_is(plane: ControlPlane) -> None:
    name = fresh("table-")
    armed = READY | {"type": "Armed", "status": "False"}
    verdicts = [{"name": "oss1", "verdict": "Healthy"}, {"name": "oss2", "verdict": "Fenced"}]
    async with api(plane) as admin:
        await admin.create(pair(name))
        await admin.status("OSSPair", name, {"epoch": 44, "conditions": [READY, armed], "servers": verdicts})
        await admin.create(bmc(name))
        await admin.status("FenceDevice", name, {"latencyMilliseconds": 12, "conditions": [READY]})
        await admin.create(oss(name))
        await admin.status("OSS", name, {"bootID": "7f3a", "conditions": [READY]})
        await admin.create(failover(f"{name}-7"))
        await admin.status("Failover", f"{name}-7", {"phase": "Holding", "answer": "Failover", "answeredBy": "alice"})
    shown = {}
    for kind, short in (("OSSPair", "pairs"), ("FenceDevice", "fd"), ("OSS", "oss"), ("Failover", "fo")):
        table = await plane.kubectl("get", short, name + ("-7" if short == "fo" else ""), "-n", NAMESPACE, "-o", "wide")
        titles, cells = (line.split() for line in table.splitlines()[:2])
        shown[kind] = (titles, cells)
    assert shown["OSSPair"][0][:7] == ["NAME", "MODE", "EPOCH", "ARMED", "READY", "FAILOVER", "AGE"]
    assert shown["OSSPair"][1][:5] == [name, "Manual", "44", "False", "True"]
    assert {"oss1", "Healthy", "oss2", "Fenced"} <= set(shown["OSSPair"][1])
    assert shown["FenceDevice"][0][:4] == ["NAME", "ADDRESS", "READY", "LATENCY-MS"]
    assert shown["FenceDevice"][1][:4] == [name, "192.0.2.11", "True", "12"]
    assert shown["OSS"][0][:4] == ["NAME", "PAIR", "BOOT", "READY"]
    assert shown["OSS"][1][:4] == [name, "pair-a", "7f3a", "True"]
    assert shown["Failover"][0][:8] == ["NAME", "TYPE", "NODE", "PARTNER", "PHASE", "ANSWER", "BY", "AGE"]
    assert shown["Failover"][1][:7] == [f"{name}-7", "Failover", "oss1", "oss2", "Holding", "Failover", "alice"]


@pytest.mark.parametrize("member", ["ipmi", "snmpPDU", "redfish"])
async def test_table_of_devices_shows_the_address_of_any_kind(plane: ControlPlane, member: str) -> None:
    name = fresh("address-")
    spec = {member: {"address": "192.0.2.77", "credentialsSecretName": "s"}}
    async with api(plane) as admin:
        await admin.create(changed(bmc(name), {"spec": spec}))
    assert "192.0.2.77" in await plane.kubectl("get", "fd", name, "-n", NAMESPACE)


async def test_fields_select_what_belongs_to_a_pair(plane: ControlPlane) -> None:
    mine, other = fresh("select-"), fresh("select-")
    async with api(plane) as admin:
        for name in (mine, other):
            await admin.create(changed(ost(name), {"spec.pairName": name}))
            await admin.create(failover(f"{name}-7"))
    for kind in ("ost", "fo"):
        found = await plane.kubectl(
            "get", kind, "-n", NAMESPACE, f"--field-selector=spec.pairName={mine}", "-o", "name"
        )
        assert found.count("\n") == 1
        assert mine in found


@pytest.mark.parametrize("kind", PLURALS)
async def test_kubectl_waits_for_ready(plane: ControlPlane, kind: str) -> None:
    name = fresh("wait-") + "-7"
    makers = {"FenceDevice": bmc, "OSSPair": pair, "OST": ost, "OSS": oss, "Failover": failover}
    required: dict[str, Json] = {"OSSPair": {"epoch": 1}, "Failover": {"phase": "AwaitingApproval"}}
    words = ("wait", "--for=condition=Ready", f"{PLURALS[kind]}/{name}", "-n", NAMESPACE)
    async with api(plane) as admin:
        await admin.create(makers[kind](name))
        await admin.status(kind, name, required.get(kind, {}) | {"conditions": [READY | {"status": "False"}]})
        with pytest.raises(ControlPlaneError, match="timed out"):
            await plane.kubectl(*words, "--timeout=0.1s")
        waiting = asyncio.create_task(plane.kubectl(*words, "--timeout=20s"))
        await admin.status(kind, name, {"conditions": [READY]})
        assert "condition met" in await waiting


EXPLAINED = [
    ("osspairs", "Two object storage servers on shared disks"),
    ("osspairs.spec.heartbeat.timeout", "at least three intervals"),
    ("osspairs.spec.failover.confirm.settle", "How long after the last acknowledged off nothing may be mounted"),
    ("osspairs.status.assignments.intent", "Serve: may mount and keep it"),
    ("osts.spec.mountPoint", "below /mnt/, /lustre/ or /srv/"),
    ("failovers.spec.approval.answer", "ConfirmDead (in Blocked only)"),
    ("failovers.status.phase", "Blocked"),
    ("fencedevices.spec.snmpPDU", "A feed that names it names an outlet"),
    ("oss.status.targets.released", "The last Release that was carried out"),
]


@pytest.mark.parametrize(("field", "words"), EXPLAINED, ids=[field for field, _ in EXPLAINED])
async def test_kubectl_explains(plane: ControlPlane, field: str, words: str) -> None:
    told = " ".join((await plane.kubectl("explain", field)).split())
    assert words in told


async def test_failovers_that_wait_for_an_answer_are_found_by_their_phase(plane: ControlPlane) -> None:
    name = fresh("waiting-") + "-7"
    async with api(plane) as admin:
        await admin.create(failover(name))
        await admin.status("Failover", name, {"phase": "Holding"})
        await admin.status("Failover", name, {"phase": "Fencing", "holdEpoch": 9})
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate()})
    selector = "--field-selector=status.phase=Relocating"
    assert name in await plane.kubectl("get", "fo", "-n", NAMESPACE, selector, "-o", "name")
