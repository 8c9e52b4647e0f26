"""Effects on the real API server: which outcome a write has, what a quorum read holds, and that each ends in time."""

import time
from typing import Any

import pytest

from api import objects as good
from controller.parts import HOLDER, cluster, operators_api, silent_server
from ostkeeper.api import Failover, OSSPair
from ostkeeper.api.common import Condition
from ostkeeper.api.failover import FailoverStatus
from ostkeeper.api.oss import PairRef
from ostkeeper.api.osspair import OSSPairStatus, ServerState
from ostkeeper.controller.client import CALL_TIMEOUT, connect
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.cluster import KubeCluster
from ostkeeper.controller.notices import FORGET_AFTER, REPEAT_AFTER, Notices
from ostkeeper.controller.objects import Parser
from ostkeeper.core.events import Outcome, Tell
from ostkeeper.ports import ReadFailedError
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.contract
BEATS = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases"


async def new_pair(plane: ControlPlane, name: str) -> OSSPair:
    async with good.api(plane) as admin:
        return OSSPair.parse(await admin.create(good.pair(name)))


async def test_write_is_guarded_by_the_version_it_rests_on(plane: ControlPlane) -> None:
    pair = await new_pair(plane, good.fresh("guarded-"))
    async with cluster(plane) as kube:
        first = await kube.write_pair(pair.key, pair.version, OSSPairStatus(epoch=1))
        assert first.outcome is Outcome.OK
        assert isinstance(first.object, OSSPair)
        assert first.object.status is not None
        assert first.object.status.epoch == 1
        stale = await kube.write_pair(pair.key, pair.version, OSSPairStatus(epoch=2))
        assert stale.outcome is Outcome.CONFLICT
        assert (await kube.write_pair(pair.key, first.object.version, OSSPairStatus(epoch=2))).outcome is Outcome.OK


async def test_write_that_can_never_succeed_is_told_from_one_that_failed(plane: ControlPlane) -> None:
    pair = await new_pair(plane, good.fresh("refused-"))
    async with cluster(plane) as kube:
        ahead = await kube.write_pair(pair.key, pair.version, OSSPairStatus(epoch=41))
        assert ahead.object is not None
        back = await kube.write_pair(pair.key, ahead.object.version, OSSPairStatus(epoch=40))
        assert (back.outcome, back.object) == (Outcome.REFUSED, None)
        assert "epoch" in back.detail
        gone = await kube.write_pair("scratch/never-was", "1", OSSPairStatus(epoch=1))
        assert gone.outcome is Outcome.GONE


async def test_second_creation_is_a_conflict_and_the_referee(plane: ControlPlane) -> None:
    name, server = good.fresh("twice-") + "-7", good.fresh("oss-")
    manifest = good.failover(name)
    failover = Failover.parse(manifest | {"metadata": {"name": name, "namespace": good.NAMESPACE}})
    async with cluster(plane) as kube:
        assert (await kube.create_failover(failover)).outcome is Outcome.OK
        assert (await kube.create_failover(failover)).outcome is Outcome.CONFLICT
        assert (await kube.create_oss(server, PairRef(namespace="scratch", name="a"))).outcome is Outcome.OK
        assert (await kube.create_oss(server, PairRef(namespace="scratch", name="b"))).outcome is Outcome.CONFLICT


async def test_finished_failover_is_deleted_by_the_operator_and_an_open_one_is_not(plane: ControlPlane) -> None:
    name = good.fresh("old-") + "-7"
    manifest = good.failover(name)
    failover = Failover.parse(manifest | {"metadata": {"name": name, "namespace": good.NAMESPACE}})
    async with cluster(plane) as kube, good.api(plane) as admin:
        created = await kube.create_failover(failover)
        assert created.object is not None
        asked = await admin.status("Failover", name, {"phase": "AwaitingApproval", "evidence": "e1"})
        early = await kube.delete_failover(failover.key, asked["metadata"]["resourceVersion"])
        assert early.outcome is Outcome.REFUSED
        assert "is deleted once it is" in early.detail
        ended = await admin.status("Failover", name, {"phase": "Aborted"})
        stale = await kube.delete_failover(failover.key, created.object.version)
        assert stale.outcome is Outcome.CONFLICT
        done = await kube.delete_failover(failover.key, ended["metadata"]["resourceVersion"])
        assert done.outcome is Outcome.OK, done.detail


async def test_server_that_never_answers_costs_a_deadline_and_no_more(plane: ControlPlane) -> None:
    async with silent_server() as url, operators_api(plane) as api:
        api.configuration.host = url
        kube = KubeCluster(api, Parser(), SystemClock(), "/lease", HOLDER)
        began = time.monotonic()
        written = await kube.write_pair("scratch/pair-a", "1", OSSPairStatus(epoch=1))
        assert written.outcome is Outcome.FAILED
        with pytest.raises(ReadFailedError, match="scratch/pair-a"):
            await kube.snapshot("scratch/pair-a")
        assert 1.9 * CALL_TIMEOUT < time.monotonic() - began < 15 * CALL_TIMEOUT  # with none it would wait for ever


async def test_refused_connection_fails_the_write_at_once(plane: ControlPlane) -> None:
    async with operators_api(plane) as api:
        api.configuration.host = "https://127.0.0.1:1"
        kube = KubeCluster(api, Parser(), SystemClock(), "/lease", HOLDER)
        assert (await kube.write_pair("scratch/pair-a", "1", OSSPairStatus(epoch=1))).outcome is Outcome.FAILED


async def a_world(plane: ControlPlane, name: str, server: str) -> None:
    """A pair of `server` and another, an OST of it and one of another pair, a Failover, a lease, a Node with its lease."""
    manifest = good.changed(good.pair(name), {"spec.nodes[0].name": server})
    other = good.fresh("other-")
    async with good.api(plane) as admin, plane.client() as raw:
        await admin.create(manifest)
        await admin.create(good.changed(good.ost(f"{name}-ost"), {"spec.pairName": name, "spec.homeNode": server}))
        await admin.create(good.changed(good.ost(f"{other}-ost"), {"spec.pairName": other}))
        await admin.create(good.failover(f"{name}-7"))
        await admin.create(good.changed(good.oss(server), {"spec.pair.name": name}))
        annotations = {"ostkeeper.dev/report": "77", "ostkeeper.dev/unread-disks": "scratch-OST0001"}
        lease: dict[str, Any] = {
            "metadata": {"name": server, "annotations": annotations},
            "spec": {"holderIdentity": f"{server}/boot-1"},
        }
        await raw.create(BEATS, lease)
        await raw.create("/api/v1/nodes", {"metadata": {"name": server}})
        await raw.patch(
            f"/api/v1/nodes/{server}/status",
            {
                "status": {
                    "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-23T04:00:00Z"}]
                }
            },
        )
        await raw.create(
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
            {"metadata": {"name": server}, "spec": {"renewTime": "2026-11-23T04:00:01.000000Z"}},
        )


async def test_quorum_read_holds_all_of_the_pair_and_nothing_of_another(plane: ControlPlane) -> None:
    name, server = good.fresh("read-"), good.fresh("oss-")
    await a_world(plane, name, server)
    async with cluster(plane) as kube:
        for known in (False, True):  # at first it does not know the servers' names, then it does
            seen = await kube.snapshot(f"scratch/{name}")
            assert seen.pair is not None, known
            assert [ost.name for ost in seen.osts] == [f"{name}-ost"]
            assert [failover.name for failover in seen.failovers] == [f"{name}-7"]
            assert [oss.name for oss in seen.osses] == [server]
            (beat,) = seen.beats
            assert (beat.node, beat.boot_id, beat.report, beat.unread) == (server, "boot-1", "77", ("scratch-OST0001",))
            (node,) = seen.nodes
            assert (node.name, node.ready, "2026-11-23T04:00:01" in node.heartbeat) == (server, "True", True)
            assert not seen.leading


async def test_quorum_read_says_who_holds_the_leader_lease_now(plane: ControlPlane) -> None:
    pair = await new_pair(plane, good.fresh("led-"))
    path = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-system/leases"
    async with operators_api(plane) as api, plane.client() as raw:
        name = good.fresh("leader-")
        kube = KubeCluster(api, Parser(), SystemClock(), f"{path}/{name}", HOLDER)
        assert not (await kube.snapshot(pair.key)).leading
        await raw.create(path, {"metadata": {"name": name}, "spec": {"holderIdentity": HOLDER}})
        assert (await kube.snapshot(pair.key)).leading
        await raw.patch(f"{path}/{name}", {"spec": {"holderIdentity": "op-2_ffff"}})
        assert not (await kube.snapshot(pair.key)).leading


async def test_absent_pair_is_an_answer_and_not_a_failure(plane: ControlPlane) -> None:
    async with cluster(plane) as kube:
        assert (await kube.snapshot("scratch/never-was")).pair is None


async def test_ready_of_an_oss_leaves_the_agents_report_alone(plane: ControlPlane) -> None:
    server = good.fresh("oss-")
    async with cluster(plane) as kube, good.api(plane) as admin:
        await kube.create_oss(server, PairRef(namespace="scratch", name="a"))
        other = {
            "type": "Other",
            "status": "True",
            "reason": "Agent",
            "message": "",
            "lastTransitionTime": "",
            "observedGeneration": 0,
        }
        await admin.status("OSS", server, {"bootID": "boot-1", "conditions": [other]})
        ready = Condition(type="Ready", status="True", reason="Alive", message="reads every disk")
        assert (await kube.write_oss_ready(server, ready)).outcome is Outcome.OK
        first = (await admin.get("OSS", server))["status"]
        assert first["bootID"] == "boot-1"
        assert {c["type"]: c["reason"] for c in first["conditions"]} == {"Other": "Agent", "Ready": "Alive"}
        again = ready.model_copy(update={"reason": "StillAlive"})
        assert (await kube.write_oss_ready(server, again)).outcome is Outcome.OK
        times = [
            next(c["lastTransitionTime"] for c in status["conditions"] if c["type"] == "Ready")
            for status in (first, (await admin.get("OSS", server))["status"])
        ]
        assert times[0] == times[1] != ""


async def test_times_that_the_machine_left_empty_are_filled_in(plane: ControlPlane) -> None:
    pair = await new_pair(plane, good.fresh("stamped-"))
    status = OSSPairStatus(epoch=1, servers=(ServerState(name="oss1", verdict="Healthy"),))
    async with cluster(plane) as kube:
        first = await kube.write_pair(pair.key, pair.version, status)
        assert isinstance(first.object, OSSPair)
        second = await kube.write_pair(pair.key, first.object.version, status.model_copy(update={"epoch": 2}))
        assert isinstance(second.object, OSSPair)
        since = [written.status.servers[0].since for written in (first.object, second.object) if written.status]
        assert since[0] == since[1] != ""


async def test_phase_that_is_written_comes_back_as_stored(plane: ControlPlane) -> None:
    name = good.fresh("phase-") + "-7"
    async with cluster(plane) as kube, good.api(plane) as admin:
        created = Failover.parse(await admin.create(good.failover(name)))
        written = await kube.write_failover(created.key, created.version, FailoverStatus(phase="AwaitingApproval"))
        assert isinstance(written.object, Failover)
        assert written.object.phase == "AwaitingApproval"


class LeapingClock(SystemClock):
    leap = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leap


async def test_event_that_repeats_is_counted_and_not_shown_twice(plane: ControlPlane) -> None:
    pair = await new_pair(plane, good.fresh("told-"))
    tell = Tell("OSSPair", pair.key, pair.metadata.uid, "Warning", "Suspect", "oss1: heartbeat unchanged")
    clock = LeapingClock()

    async def events() -> list[dict[str, Any]]:
        async with plane.client() as raw:
            selector = f"involvedObject.uid={pair.metadata.uid}"
            found: list[dict[str, Any]] = (await raw.get("/api/v1/namespaces/scratch/events", fieldSelector=selector))[
                "items"
            ]
            return found

    async with operators_api(plane) as api:
        notices = Notices(api, clock)
        for _ in range(3):
            await notices.tell(tell)
        assert [event["count"] for event in await events()] == [1]
        clock.leap = REPEAT_AFTER
        await notices.tell(tell)
        assert [event["count"] for event in await events()] == [4]
        clock.leap = 2 * FORGET_AFTER
        await notices.tell(tell)
        assert sorted(event["count"] for event in await events()) == [1, 4]
    listed = await plane.kubectl("describe", "osspair", "-n", "scratch", pair.name)
    assert "oss1: heartbeat unchanged" in listed


async def test_token_that_is_refused_is_a_failure_and_no_refusal(plane: ControlPlane) -> None:
    """401 may end with the next rotation of the token: the same write may well succeed later."""
    async with operators_api(plane) as api:
        api.configuration.api_key = {"BearerToken": "Bearer nobody"}
        api.configuration.refresh_api_key_hook = None
        kube = KubeCluster(api, Parser(), SystemClock(), "/lease", HOLDER)
        assert (await kube.write_pair("scratch/pair-a", "1", OSSPairStatus(epoch=1))).outcome is Outcome.FAILED


async def test_stranger_is_refused_by_rbac(plane: ControlPlane) -> None:
    api = await connect(str(plane.kubeconfig(identities.STRANGER.user)))
    try:
        kube = KubeCluster(api, Parser(), SystemClock(), "/lease", HOLDER)
        assert (await kube.write_pair("scratch/pair-a", "1", OSSPairStatus(epoch=1))).outcome is Outcome.REFUSED
        with pytest.raises(ReadFailedError, match="403"):
            await kube.snapshot("scratch/pair-a")
    finally:
        await api.close()
