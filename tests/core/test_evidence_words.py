"""The words of the evidence: the partner's heartbeat, and a server that is off."""

from __future__ import annotations

import pytest

from core.pairs import at_rest
from core.world import World
from ostkeeper.core.verdict import describe, verdict_of

pytestmark = pytest.mark.scenario


def partner_of(world: World, node: str) -> tuple[str, str]:
    assert world.operator is not None
    view = world.operator.machine.view
    witnesses = describe(view, verdict_of(view, node, world.now), node, world.now)
    return next((w.state, w.detail) for w in witnesses if w.name == "partner")


def test_partner_of_a_living_server_is_fresh() -> None:
    world = at_rest()
    assert partner_of(world, "oss1") == ("Fresh", "its heartbeat")


def test_partner_that_fell_silent_is_stale() -> None:
    world = at_rest()
    world.floor.servers["oss2"].system = "panicked"
    world.run(world.now + 60)
    assert partner_of(world, "oss1")[0] == "Stale"
