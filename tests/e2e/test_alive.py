"""A server that serves is not shot, whatever else of it is dead: its kubelet, its agent, a mount in flight."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.oss import TargetReport
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


async def still_serves(w: E2E) -> None:
    """oss1 has its power and its mounts, and no Failover was opened."""
    w.untouched("oss1")
    assert w.mounted_on("oss1") == w.homed_at("oss1")
    assert await w.failovers() == []


async def test_server_without_kubelet_or_agent_is_degraded_and_goes_on_serving() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.kubelet("oss1", "stop")
        await w.judged("oss1", "Degraded")
        await w.while_beating("oss1", 3, lambda: still_serves(w))
        await w.verbs.kubelet("oss1", "start")
        await w.judged("oss1", "Healthy")
        await w.verbs.agent("oss1", "disable")
        await w.judged("oss1", "Degraded")
        await w.while_beating("oss2", 6, lambda: still_serves(w))
        await w.verbs.agent("oss1", "enable")
        await w.judged("oss1", "Healthy")
        await w.served()
        await still_serves(w)


async def test_stopped_agent_goes_on_as_if_nothing_had_been() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.agent("oss1", "stop")
        await w.judged("oss1", "Degraded")
        await w.while_beating("oss2", 4, lambda: still_serves(w))
        await w.verbs.agent("oss1", "cont")
        await w.judged("oss1", "Healthy")
        await still_serves(w)


async def in_flight(w: E2E, host: str) -> list[TargetReport]:
    """The targets that a child of the server's agents may still be mounting."""
    status = (await w.oss(host)).status
    assert status is not None
    return [target for target in status.targets if target.child]


async def hanging(w: E2E, host: str) -> TargetReport:
    """The one mount there that hangs: what was begun beside it is mounted, and in nobody's child any more."""
    found = await in_flight(w, host)
    assert len(found) == 1, f"in flight on {host}: {[target.target for target in found]}"
    elsewhere = [t.name for t in w.world.layout.targets if t.name != found[0].target]
    missing = [name for name in elsewhere if w.mounts_of(name) != [host]]
    assert not missing, f"not yet mounted on {host}: {missing}"
    return found[0]


async def test_mount_in_flight_outlives_its_agent_and_is_not_begun_twice() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.mount("oss2", "hang", 1)
        await w.verbs.crash("oss1")
        hung = await wait_for_async(lambda: hanging(w, "oss2"), 60, "one mount on oss2 should hang", step=0.2)
        run = (await w.oss("oss2")).status
        await w.verbs.agent("oss2", "kill")

        async def restarted() -> bool:
            now = (await w.oss("oss2")).status
            return bool(run and now and now.agent_start != run.agent_start)

        await wait_for_async(restarted, 30, "oss2's agent should be running again")
        await wait_for_async(lambda: in_flight(w, "oss2"), 30, "the new agent should find its predecessor's mount")

        async def still_hangs() -> None:
            found = [target.target for target in await in_flight(w, "oss2")]
            assert found == [hung.target], "the new agent knows of the mount that its predecessor began"
            assert w.mounts_of(hung.target) == []

        await w.while_beating("oss2", 3, still_hangs)
        await w.verbs.mount("oss2", "ok")
        await w.served(on="oss2")
