"""A server hangs, is taken for dead, and comes back in one phase after the other.

Until its power is cut it gets its targets back at a new epoch and nothing has moved; after that it is dead, and coming
back is nothing that it could do.
"""

import pytest

from e2e.world import E2E, e2e_world
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


async def spared(w: E2E, fo_name: str) -> None:
    """The Failover is aborted, the server keeps its mounts and its power, and may mount again: Serve at a new epoch."""
    fo = await w.phase("pair-a", "Aborted")
    assert fo.name == fo_name
    await w.judged("oss1", "Healthy")
    await w.served(on=dict.fromkeys(w.homed_at("oss1"), "oss1"))
    w.untouched("oss1")
    status = (await w.pair()).status
    assert status is not None
    assert {a.intent for a in status.assignments} == {"Serve"}
    await w.while_beating("oss1", 3, lambda: w.untouched("oss1"))
    assert len(await w.failovers()) == 1, "it is asked and shot no second time"


async def test_thaw_while_a_person_is_asked_ends_the_question() -> None:
    async with e2e_world(mode="Manual") as w:
        await w.ready()
        await w.verbs.hang("oss1")
        fo = await w.phase("pair-a", "AwaitingApproval")
        await w.verbs.thaw("oss1")
        await spared(w, fo.name)


@pytest.mark.parametrize("phase", ["Holding", "Fencing"])
async def test_thaw_before_the_off_spares_the_server(phase: str) -> None:
    async with e2e_world(operators=1) as w:
        await w.ready()
        await w.verbs.operator("stop", when=phase)
        await w.verbs.hang("oss1")
        operator = await w.caught()
        fo = await w.phase("pair-a", phase)
        await w.verbs.thaw("oss1")
        await w.renewed("oss1")
        await w.verbs.operator("cont", operator)
        await spared(w, fo.name)
        assert not fo.status or not fo.status.certificate


async def test_thaw_before_the_level_is_complete_spares_the_server_and_powers_on_what_was_cut() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.hang("oss1")
        for device in ("pdu-right", "bmc-oss1"):
            await w.verbs.device(device, "silent")
        await wait_for_async(
            lambda: not w.world.plane.outlet("pdu-left", "1"), 60, "the first of two outlets should be cut"
        )
        fo = await w.phase("pair-a", "Fencing", "Blocked")
        await w.verbs.thaw("oss1")
        await wait_for_async(lambda: w.world.plane.outlet("pdu-left", "1"), 60, "what was cut should be switched on")
        for device in ("pdu-right", "bmc-oss1"):
            await w.verbs.device(device, "normal")
        await spared(w, fo.name)


async def test_thaw_after_the_certificate_brings_nothing_back() -> None:
    async with e2e_world(operators=1) as w:
        await w.ready()
        await w.verbs.operator("stop", when="Relocating")
        await w.verbs.hang("oss1")
        operator = await w.caught()
        await w.verbs.thaw("oss1")
        await w.verbs.operator("stop", when="Recovering")
        await w.verbs.operator("cont", operator)
        assert await w.caught() == operator
        await w.verbs.thaw("oss1")
        await w.verbs.operator("cont", operator)
        await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
        assert not w.world.hosts["oss1"].running
