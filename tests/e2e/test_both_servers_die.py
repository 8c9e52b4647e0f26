"""Both servers of a pair die at once: there is nobody to move anything to, and nobody alive to say who is dead."""

import asyncio

import pytest

from e2e.patience import while_leading
from e2e.world import e2e_world

pytestmark = pytest.mark.e2e


async def test_nothing_moves_while_both_are_dead_and_each_serves_its_own_when_they_boot_again() -> None:
    async with e2e_world() as w:
        await w.ready()
        before = (await w.pair()).status
        assert before is not None
        await asyncio.gather(*(w.verbs.power_cut(host, feeds=True) for host in w.world.layout.hosts))
        await w.true("Stalled", reason="BothSilent")

        async def nothing_moves() -> None:
            assert await w.failovers() == []
            status = (await w.pair()).status
            assert status is not None
            assert status.assignments == before.assignments

        await while_leading(w, 12.0, nothing_moves)
        await asyncio.gather(*(w.verbs.power_on(host) for host in w.world.layout.hosts))
        await w.ready(within=120)
        await nothing_moves()
