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
    ("askAgain", "pair-a-42"),
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


SERVED = {"node": "oss1", "mountedOn": "oss1", "state": "Mounted", "epoch": 3}
NOT_READY = {"type": "Ready", "status": "False"}
DELETIONS: list[tuple[str, str, Json, bool]] = [
    # what it shows, spec.desired, the status, whether it may be deleted
    ("in service", "Mounted", SERVED, False),
    ("still mounted", "Unmounted", SERVED | {"state": "Releasing"}, False),
    ("mounted, as its server said last", "Unmounted", SERVED | {"state": "Unmounted"}, False),
    ("its server is silent", "Unmounted", SERVED | {"mountedOn": "", "state": "Unknown"}, False),
    ("assigned and not mounted", "Mounted", SERVED | {"mountedOn": "", "state": "Refused"}, False),
    ("unmounted, and to be mounted again", "Mounted", SERVED | {"mountedOn": "", "state": "Unmounted"}, False),
    ("mounted by hand", "Unmounted", {"mountedOn": "oss2", "state": "ForeignMount"}, False),
    ("unmounted", "Unmounted", SERVED | {"mountedOn": "", "state": "Unmounted"}, True),
    ("never assigned", "Mounted", {"state": "Pending"}, True),
    ("refused from the beginning", "Mounted", {"state": "Refused"}, True),
    ("the wrong one of two", "Mounted", SERVED | {"conditions": [NOT_READY | {"reason": "DuplicateTarget"}]}, True),
    ("refused", "Mounted", SERVED | {"conditions": [NOT_READY | {"reason": "Refused"}]}, False),
    ("without a status", "Mounted", {}, True),
]


@pytest.mark.parametrize(("desired", "status", "goes"), [c[1:] for c in DELETIONS], ids=[c[0] for c in DELETIONS])
async def test_ost_is_deleted_only_out_of_service(plane: ControlPlane, desired: str, status: Json, goes: bool) -> None:
    name = fresh("ost-")
    async with api(plane) as admin:
        await admin.create(changed(ost(name), {"spec.desired": desired}))
        if status:
            await admin.status("OST", name, status)
        if goes:
            await admin.delete("OST", name)
            return
        with Refusal(
            f"status.state: {name} is {status['state']}", "set spec.desired: Unmounted, wait until", status=403
        ):
            await admin.delete("OST", name)


@pytest.mark.parametrize("intent", ["Serve", "Hold", "Release"])
async def test_pair_is_deleted_only_while_none_of_its_targets_is_in_service(plane: ControlPlane, intent: str) -> None:
    name = fresh("serving-")
    warrant = {"adopted": {"nonce": "n1"}}
    mine = {"target": "scratch-OST0000", "node": "oss1", "intent": intent, "epoch": 3, "warrant": warrant}
    async with api(plane) as admin:
        await admin.create(pair(name))
        await admin.status("OSSPair", name, {"epoch": 3, "assignments": [mine]})
        if intent != "Release":
            with Refusal("status.assignments: scratch-OST0000", "set spec.desired: Unmounted on these", status=403):
                await admin.delete("OSSPair", name)
            return
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


async def test_failover_whose_slot_was_lost_is_deleted_once_the_operator_has_said_so(plane: ControlPlane) -> None:
    """Nothing was decided in it, so its first phase is its last."""
    name = fresh("lost-") + "-7"
    async with api(plane) as admin, api(plane, OPERATOR.user) as operator:
        await admin.create(failover(name))
        await operator.status(
            "Failover", name, {"phase": "Aborted", "message": "the pair no longer names this Failover"}
        )
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


ASKED: list[tuple[str, object]] = [*REQUESTS, ("maintenance", ["oss1"]), ("paused", True)]
DECLARED: list[tuple[str, object]] = [
    ("failover", {"mode": "Automatic"}),
    ("failover", {"wiring": "Declared"}),
    ("failover", {"confirm": {"rounds": 1}}),
    ("nodes", pair()["spec"]["nodes"][::-1]),
    ("heartbeat", {"interval": "1s"}),
    ("unhealthyConditions", [{"type": "Ready", "status": "False"}]),
    ("failback", {"mode": "Automatic"}),
    ("rejoin", "PowerOn"),
]


@pytest.mark.parametrize(("field", "value"), ASKED, ids=[field for field, _ in ASKED])
async def test_approver_asks_of_a_pair_what_the_role_says(plane: ControlPlane, field: str, value: object) -> None:
    name = fresh("approved-")
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        await admin.create(pair(name))
        await alice.patch("OSSPair", name, {"spec": {field: value}}, dry_run=True)


@pytest.mark.parametrize(("field", "value"), DECLARED, ids=[f"{field} {value}"[:40] for field, value in DECLARED])
async def test_approver_declares_nothing_of_a_pair(plane: ControlPlane, field: str, value: object) -> None:
    name = fresh("declared-")
    async with api(plane) as admin, api(plane, ONCALL.user) as alice, api(plane, CAROL.user) as carol:
        await admin.create(pair(name))
        with Refusal(f"spec.{field}", "alice may not declare this", status=403):
            await alice.patch("OSSPair", name, {"spec": {field: value}}, dry_run=True)
        await carol.patch("OSSPair", name, {"spec": {field: value}}, dry_run=True)


@pytest.mark.parametrize("field", ["rejoin", "failover", "unhealthyConditions"])
async def test_approver_takes_nothing_away_that_is_declared(plane: ControlPlane, field: str) -> None:
    name = fresh("declared-")
    spec = {"rejoin": "PowerOn", "failover": {"mode": "Observe"}, "unhealthyConditions": DECLARED[5][1]}
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        await admin.create(changed(pair(name), {f"spec.{field}": spec[field]}))
        with Refusal(f"spec.{field}", "alice may not declare this", status=403):
            await alice.patch("OSSPair", name, {"spec": {field: None}}, dry_run=True)


@pytest.mark.parametrize("mark", ["labels", "annotations"])
async def test_approver_leaves_the_marks_of_a_gitops_engine_alone(plane: ControlPlane, mark: str) -> None:
    name = fresh("marked-")
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        await admin.create(changed(pair(name), {f"metadata.{mark}": {"owner": "flux"}}))
        for value in ("alice", None):
            with Refusal(f"metadata.{mark}", "alice may not declare this", status=403):
                await alice.patch("OSSPair", name, {"metadata": {mark: {"owner": value}}}, dry_run=True)


async def test_approver_creates_and_deletes_no_pair_and_writes_no_other_kind(plane: ControlPlane) -> None:
    name = fresh("declared-")
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        for manifest in (pair(name), ost(name), changed(bmc(name), {})):
            await admin.create(manifest)
            kind = manifest["kind"]
            changes = [alice.create(changed(manifest, {"metadata.name": fresh("new-")})), alice.delete(kind, name)]
            if kind != "OSSPair":
                changes.append(alice.patch(kind, name, {"metadata": {"labels": {"a": "b"}}}, dry_run=True))
            for attempt in changes:
                with Refusal(PLURALS[kind], "cannot", status=403):
                    await attempt
