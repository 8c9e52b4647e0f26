"""Operators that die or are suspended in the middle of a failover: another replica finishes it, and nobody shoots late."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.failover import Failover

pytestmark = pytest.mark.e2e

PHASES = ("Holding", "Fencing", "Relocating", "Recovering")


async def finished_once(w: E2E) -> Failover:
    """One Failover, Complete; one assignment of its targets; oss2, which serves them, has all its power."""
    fo = await w.phase("pair-a", "Complete", within=90)
    await w.served(on="oss2")
    status = (await w.pair()).status
    assert status is not None
    epoch = status.epoch
    assert epoch == fo.spec.epoch + 2, (
        "opening took one epoch, the Hold one and the relocation one; there was no second"
    )

    async def nothing_more() -> None:
        w.untouched("oss2")
        now = (await w.pair()).status
        assert now is not None
        assert now.epoch == epoch

    await w.while_beating("oss2", 3, nothing_more)
    assert [one.name for one in await w.failovers()] == [fo.name]
    return fo


async def test_killed_operator_is_replaced_in_every_phase_and_the_failover_is_finished_once() -> None:
    async with e2e_world() as w:
        await w.ready()
        for phase in PHASES:  # all before it begins: a successor needs no more than a lease's time for the next one
            await w.verbs.operator("kill", when=phase)
        await w.verbs.crash("oss1")
        for _ in PHASES:
            await w.verbs.operator("start", await w.caught("dead"))
        await finished_once(w)


async def test_leader_stopped_beyond_its_lease_in_every_phase_neither_shoots_nor_assigns_late() -> None:
    async with e2e_world() as w:
        await w.ready()
        for phase in PHASES:
            await w.verbs.operator("stop", when=phase)
        await w.verbs.crash("oss1")
        stopped = await w.caught()
        for _ in PHASES[1:]:
            other = await w.caught(but=stopped)  # it had to wait for the lease of the one that is stopped
            await w.verbs.operator("cont", stopped)
            stopped = other
        await w.phase("pair-a", "Complete", within=90)
        await w.verbs.operator("cont", stopped)
        await finished_once(w)


async def test_leader_that_wakes_before_its_off_does_not_shoot_a_server_that_is_back_since() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.operator("stop", when="Fencing")
        await w.verbs.crash("oss1")
        stopped = await w.caught()
        await w.phase("pair-a", "Complete", within=90)
        await w.verbs.power_on("oss1")
        await w.judged("oss1", "Healthy")
        await w.verbs.operator("cont", stopped)
        await w.while_beating("oss1", 4, lambda: w.untouched("oss1"))
        await w.served(on="oss2")


async def test_killed_operator_is_replaced_while_a_person_is_asked_and_while_the_server_boots() -> None:
    async with e2e_world(mode="Manual") as w:
        await w.ready()
        before = w.world.hosts["oss1"].boot_id
        await w.verbs.operator("kill", when="AwaitingApproval")
        await w.verbs.hang("oss1")
        await w.verbs.operator("start", await w.caught("dead"))
        asked = await w.phase("pair-a", "AwaitingApproval")
        await w.verbs.operator("kill", when="PoweringOn")
        await w.approve(asked.name, "Restart")
        await w.verbs.operator("start", await w.caught("dead"))
        await w.phase("pair-a", "Complete", within=90)
        await w.served(on=dict.fromkeys(w.homed_at("oss1"), "oss1"))
        assert w.world.hosts["oss1"].boot_id != before


async def test_killed_operator_is_replaced_while_blocked_and_its_successor_goes_on_when_a_device_answers() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.hang("oss1")
        for device in ("pdu-right", "bmc-oss1"):
            await w.verbs.device(device, "silent")
        await w.verbs.operator("kill", when="Blocked")
        await w.verbs.operator("start", await w.caught("dead", within=90))
        await w.verbs.device("pdu-right", "normal")
        await w.phase("pair-a", "Complete", within=90)
        await w.served(on="oss2")
