"""What an agent may write: the lease and the OSS status of its own server. Everything else is refused, by name."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from api.objects import Api, Json, Refusal, api, fresh, oss, pair
from ostkeeper.testbed.controlplane import ControlPlane, ControlPlaneError
from ostkeeper.testbed.controlplane_client import ApiClient, ApiError
from ostkeeper.testbed.identities import OPERATOR, OPERATOR_NAMESPACE, agent

pytestmark = pytest.mark.contract

OSS1, OSS2 = "ostkeeper:agent:oss1", "ostkeeper:agent:oss2"
READY = {"type": "Ready", "status": "True", "reason": "Reporting"}


def leases(namespace: str = "ostkeeper-heartbeats") -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def lease(node: str, holder: str = "") -> Json:
    spec = {"holderIdentity": holder or f"{node}/7f3a", "leaseDurationSeconds": 10}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}, "spec": spec}


@contextmanager
def already_there() -> Iterator[None]:
    """Tests run in any order: what one has created, another finds."""
    try:
        yield
    except ApiError as refusal:
        if refusal.status != 409:
            raise


async def both_oss(admin: Api) -> None:
    for node in ("oss1", "oss2"):
        with already_there():
            await admin.create(oss(node))


async def test_agent_creates_and_renews_its_own_lease(plane: ControlPlane) -> None:
    async with plane.client(OSS1) as agent:
        with already_there():
            await agent.create(leases(), lease("oss1"))
        renewed = await agent.patch(f"{leases()}/oss1", {"spec": {"renewTime": "2026-11-23T06:00:00.000000Z"}})
    assert renewed["spec"]["holderIdentity"] == "oss1/7f3a"


@pytest.mark.parametrize(
    ("namespace", "body", "reason"),
    [
        ("ostkeeper-heartbeats", lease("oss2"), "the agent of oss1 writes its own lease and OSS only, not oss2"),
        ("ostkeeper-heartbeats", lease("oss1", "oss2/7f3a"), "spec.holderIdentity of a heartbeat must be NODE/BOOTID"),
        ("ostkeeper-heartbeats", lease("ostkeeper-canary"), "writes its own lease and OSS only"),
        ("ostkeeper-system", lease("oss1"), "cannot create resource"),
    ],
)
async def test_agent_creates_no_other_lease(plane: ControlPlane, namespace: str, body: Json, reason: str) -> None:
    async with plane.client(OSS1) as agent:
        with Refusal("leases", reason, status=403):
            await agent.create(f"{leases(namespace)}?dryRun=All", body)


async def test_agent_does_not_renew_the_lease_of_another_server(plane: ControlPlane) -> None:
    async with plane.client(OSS1) as agent, plane.client(OSS2) as other:
        with already_there():
            await other.create(leases(), lease("oss2"))
        with Refusal("leases", "not oss2", status=403):
            await agent.patch(f"{leases()}/oss2", {"spec": {"renewTime": "2026-11-23T06:00:00.000000Z"}})


async def test_agent_reports_in_its_own_oss_only(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, OSS1) as agent:
        await both_oss(admin)
        written = await agent.status("OSS", "oss1", {"bootID": "7f3a", "epochSeen": 41})
        with Refusal("oss2", "the agent of oss1 writes its own lease and OSS only, not oss2", status=403):
            await agent.status("OSS", "oss2", {"bootID": "7f3a"})
    assert written["status"]["bootID"] == "7f3a"


async def test_ready_of_an_oss_is_written_by_the_operator_and_kept_by_the_agent(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, OSS1) as agent, api(plane, OPERATOR.user) as operator:
        await both_oss(admin)
        await operator.status("OSS", "oss1", {"conditions": [READY]})
        await agent.status("OSS", "oss1", {"agentVersion": "0.1.0"})
        for conditions in ([READY | {"status": "False"}], [], None):
            with Refusal("status.conditions", "Ready of an OSS is the operator's word", status=403):
                await agent.status("OSS", "oss1", {"conditions": conditions})
        await agent.status("OSS", "oss1", {"conditions": [READY, {"type": "StoreSound", "status": "True"}]})
        await operator.status("OSS", "oss1", {"conditions": []})


async def test_agent_writes_nothing_that_is_declared_or_decided(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, OSS1) as agent:
        name = fresh("seen-")
        await admin.create(pair(name))
        await both_oss(admin)
        await agent.get("OSSPair", name)
        for attempt in (
            agent.patch("OSSPair", name, {"spec": {"paused": True}}),
            agent.status("OSSPair", name, {"epoch": 1}),
            agent.patch("OSS", "oss1", {"metadata": {"labels": {"a": "b"}}}),
            agent.delete("OSS", "oss1"),
            agent.create(oss("oss3")),
        ):
            with Refusal("ostkeeper:agent:oss1", "cannot", status=403):
                await attempt


async def test_agent_reads_no_secret(plane: ControlPlane) -> None:
    async with plane.client(OSS1) as agent:
        for namespace in ("scratch", OPERATOR_NAMESPACE):
            with Refusal("secrets", "cannot list resource", status=403):
                await agent.get(f"/api/v1/namespaces/{namespace}/secrets")


async def pod_token(plane: ControlPlane, node: str) -> str:
    """Return the token of an agent's pod on `node`, as the DaemonSet's kubelet would ask for it."""
    account = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/ostkeeper-agent/token"
    name = fresh("agent-")
    spec = {
        "serviceAccountName": "ostkeeper-agent",
        "nodeName": node,
        "containers": [{"name": "agent", "image": "ostkeeper"}],
    }
    async with plane.client() as admin:
        with already_there():
            await admin.create("/api/v1/nodes", {"metadata": {"name": node}})
        pods = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
        pod = await admin.create(pods, {"metadata": {"name": name}, "spec": spec})
        bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": pod["metadata"]["uid"]}
        request = {"spec": {"expirationSeconds": 86400, "boundObjectRef": bound}}
        return str((await admin.create(account, request))["status"]["token"])


async def test_agent_of_the_daemonset_is_known_by_the_node_in_its_pods_token(plane: ControlPlane) -> None:
    token = await pod_token(plane, "oss4")
    async with api(plane) as admin, ApiClient(plane.url, plane.ca, token) as client:
        await both_oss(admin)
        await client.create(leases(), lease("oss4"))
        with Refusal("leases", "the agent of oss4 writes its own lease and OSS only, not oss2", status=403):
            await client.create(leases(), lease("oss2"))
        with Refusal("oss1", "the agent of oss4 writes its own lease and OSS only", status=403):
            await Api(client).status("OSS", "oss1", {"bootID": "x"})


async def test_agents_requests_are_in_the_priority_level_of_nodes(plane: ControlPlane) -> None:
    """Else a flood of other requests makes living servers look dead."""
    async with plane.client() as admin:
        schema = await admin.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/ostkeeper")
    for user in (OSS1, OPERATOR.user):
        headers = {"Authorization": f"Bearer {plane.token(user)}"}
        async with (
            aiohttp.ClientSession(plane.url, headers=headers) as session,
            session.get(f"{leases()}/oss1", ssl=False) as response,
        ):
            assert response.headers["X-Kubernetes-PF-FlowSchema-UID"] == schema["metadata"]["uid"]


LONG = "oss1-" + "x" * 58
"""A server of 63 characters, the longest that a pair takes. Its CN cannot hold a prefix."""


def subject(path: Path, cn: str) -> subprocess.CompletedProcess[str]:
    """Ask for a certificate as README says; openssl refuses a CN of more than 64 characters."""
    words = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", str(path / "key"), "-out", "-"]
    return subprocess.run(
        [*words, "-subj", f"/O=ostkeeper:agents/CN={cn}"], capture_output=True, text=True, check=False
    )


def test_name_of_the_longest_server_fits_into_a_certificate(tmp_path: Path) -> None:
    assert len(LONG) == 63
    assert subject(tmp_path, agent(LONG).user).returncode == 0
    assert subject(tmp_path, agent("x" * 48).user).returncode == 0
    assert agent("x" * 48).user.startswith("ostkeeper:agent:")
    assert "string too long" in subject(tmp_path, f"ostkeeper:agent:{'x' * 49}").stderr


@pytest.mark.parametrize(
    ("user", "name", "reason"),
    [
        (LONG, LONG, ""),
        (LONG, "oss1", "writes its own lease and OSS only, not oss1"),
        ("oss1", "oss1", "an agent must name its server"),
        (f"ostkeeper:agents:{LONG}", LONG, "an agent must name its server"),
        ("ostkeeper:agent:oss1", "oss1", ""),
    ],
)
async def test_server_with_a_long_name_stands_alone_in_the_certificate(
    plane: ControlPlane, user: str, name: str, reason: str
) -> None:
    await plane.kubectl("delete", "lease", name, "-n", "ostkeeper-heartbeats", "--ignore-not-found")
    words = ("create", "--dry-run=server", "-n", "ostkeeper-heartbeats", "-f", "-", f"--as={user}")
    created = plane.kubectl(*words, "--as-group=ostkeeper:agents", stdin=json.dumps(lease(name)))
    if not reason:
        await created
        return
    with pytest.raises(ControlPlaneError, match=reason):
        await created
