"""Finished Failovers are deleted beyond the last twenty, and never one that the pair's status rests on."""

from __future__ import annotations

import pytest

from core.pairs import at_rest
from core.story import happen
from core.world import World
from ostkeeper.api.failover import Failover
from ostkeeper.core.history import KEPT

pytestmark = pytest.mark.scenario


def with_history(world: World, first: int, count: int) -> Failover:
    """The last Failover of the world, and so many finished ones of other epochs."""
    last = world.last
    for epoch in range(first, first + count):
        name = f"pair-a-{epoch}"
        meta = last.metadata.model_copy(update={"name": name, "uid": f"uid-{name}"})
        spec = last.spec.model_copy(update={"epoch": epoch})
        world.store.objects[Failover.kind, name] = last.model_copy(update={"metadata": meta, "spec": spec})
    world.crash_operator()
    world.start_operator()
    return last


def failed_over() -> World:
    world = at_rest()
    happen(world, "oss1 loses its mains")
    world.run(40)
    assert world.phase() == "Complete"
    return world


def test_oldest_finished_failovers_are_deleted_beyond_the_last_twenty() -> None:
    world = failed_over()
    last = with_history(world, 1, KEPT + 5)
    world.run(70)
    left = {fo.spec.epoch for fo in world.failovers}
    assert left == {*range(7, KEPT + 6), last.spec.epoch}


def test_failover_that_a_warrant_names_is_kept() -> None:
    world = failed_over()
    last = with_history(world, 100, KEPT + 5)
    world.run(80)
    left = {fo.spec.epoch for fo in world.failovers}
    assert left == {last.spec.epoch, *range(105, 105 + KEPT)}


def test_nothing_is_deleted_while_a_failover_is_open() -> None:
    world = at_rest(mode="Manual")
    happen(world, "oss1 loses its mains")
    world.run(30)
    assert world.phase() == "AwaitingApproval"
    with_history(world, 1, KEPT + 5)
    world.run(60)
    assert len(world.failovers) == KEPT + 6
