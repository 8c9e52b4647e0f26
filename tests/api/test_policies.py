"""What takes the verb `approve` on a pair, what is not deleted, and what the operator never writes."""

import json

import pytest

from api.objects import CAROL, NAMESPACE, PLURALS, Json, Refusal, api, bmc, changed, failover, fresh, ost, pair
from ostkeeper.testbed.controlplane import ControlPlane, ControlPlaneError
from ostkeeper.testbed.identities import ONCALL, OPERATOR

pytestmark = pytest.mark.contract

REQUESTS: list[tuple[str, object]] = [
    ("drill", {"node": "oss1", "level": "pdus", "id": "1"}),
    ("adopt", 41),
    ("acceptBoards", [{"node": "oss1", "systemUUID": "u1"}]),
]


@pytest.mark.parametrize(("field", "value"), REQUESTS, ids=[field for field, _ in REQUESTS])
async def test_request_to_a_pair_takes_the_verb_approve(plane: ControlPlane, field: str, value: object) -> None:
    name = fresh("asked-")
    async with api(plane, CAROL.user) as carol, api(plane, ONCALL.user) as alice:
        with Refusal(f"spec.{field}", "carol may not ask this", status=403):
            await carol.create(changed(pair(name), {f"spec.{field}": value}))
        await carol.create(pair(name))
        with Refusal(f"spec.{field}", "carol may not ask this", status=403):
            await carol.patch("OSSPair", name, {"spec": {field: value}})
        await alice.patch("OSSPair", name, {"spec": {field: value}})
        with Refusal(f"spec.{field}", "carol may not ask this", status=403):
            await carol.patch("OSSPair", name, {"spec": {field: None}})
        await carol.patch("OSSPair", name, {"spec": {"paused": True}})


async def test_pair_is_deleted_only_while_no_failover_is_open(plane: ControlPlane) -> None:
    name = fresh("kept-")
    async with api(plane) as admin:
        await admin.create(pair(name))
        await admin.status("OSSPair", name, {"epoch": 42, "activeFailover": f"{name}-42"})
        with Refusal("status.activeFailover", f"{name}-42 is open", status=403):
            await admin.delete("OSSPair", name)
        await admin.status("OSSPair", name, {"activeFailover": ""})
        await admin.delete("OSSPair", name)


async def test_pair_without_a_status_is_deleted(plane: ControlPlane) -> None:
    name = fresh("new-")
    async with api(plane) as admin:
        await admin.create(pair(name))
        await admin.delete("OSSPair", name)


async def test_failover_is_deleted_only_once_it_has_ended(plane: ControlPlane) -> None:
    name = fresh("kept-") + "-7"
    async with api(plane) as admin:
        await admin.create(failover(name))
        with Refusal("status.phase", "not begun", status=403):
            await admin.delete("Failover", name)
        await admin.status("Failover", name, {"phase": "AwaitingApproval"})
        with Refusal("status.phase", "AwaitingApproval; a Failover is deleted once", status=403):
            await admin.delete("Failover", name)
        await admin.status("Failover", name, {"phase": "Aborted"})
        await admin.delete("Failover", name)


WRITES: list[tuple[Json, Json]] = [
    (pair(), {"spec": {"paused": True}}),
    (ost(), {"spec": {"desired": "Unmounted"}}),
    (bmc(), {"spec": {"requestTimeout": "1s"}}),
]


@pytest.mark.parametrize(("manifest", "change"), WRITES, ids=[manifest["kind"] for manifest, _ in WRITES])
async def test_operator_writes_status_and_never_what_is_declared(
    plane: ControlPlane, manifest: Json, change: Json
) -> None:
    kind, name = manifest["kind"], fresh("declared-")
    async with api(plane) as admin, api(plane, OPERATOR.user) as operator:
        await admin.create(changed(manifest, {"metadata.name": name}))
        await operator.status(kind, name, {"epoch": 1} if kind == "OSSPair" else {"observedGeneration": 1})
        for attempt in (
            operator.patch(kind, name, change),
            operator.create(changed(manifest, {"metadata.name": fresh("new-")})),
            operator.delete(kind, name),
        ):
            with Refusal(PLURALS[kind], "cannot", status=403):
                await attempt


async def test_operator_with_too_many_rights_still_writes_nothing_that_is_declared(plane: ControlPlane) -> None:
    """RBAC is widened by accident more often than a policy is: with all rights, the operator is still refused."""
    name = fresh("declared-")
    almighty = ("-n", NAMESPACE, f"--as={OPERATOR.user}", "--as-group=system:masters")
    async with api(plane) as admin:
        await admin.create(pair(name))
    for words, stdin in (
        (("patch", "osspair", name, "--type=merge", '--patch={"spec": {"paused": true}}'), ""),
        (("delete", "osspair", name), ""),
        (("create", "-f", "-"), json.dumps(pair(fresh("new-")))),
    ):
        with pytest.raises(ControlPlaneError, match="spec: belongs to people and Git"):
            await plane.kubectl(*words, *almighty, stdin=stdin)


async def test_operator_creates_servers_and_failovers_and_renews_its_canary(plane: ControlPlane) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases?dryRun=All"
    canary = {"metadata": {"name": "ostkeeper-canary"}, "spec": {"holderIdentity": "operator"}}
    oss = {"apiVersion": "ostkeeper.dev/v1alpha1", "kind": "OSS", "metadata": {"name": fresh("oss-")}}
    async with api(plane, OPERATOR.user) as operator, plane.client(OPERATOR.user) as client:
        await operator.create(failover(fresh("opened-") + "-7"))
        await operator.create(oss | {"spec": {"pair": {"namespace": "scratch", "name": "pair-a"}}})
        await client.create(leases, canary)
        with Refusal("metadata.name", "a heartbeat is written by its own agent", status=403):
            await client.create(leases, changed(canary, {"metadata.name": "oss1"}))
