"""Armed is False where Automatic would not act now, although all is trusted."""

from __future__ import annotations

import pytest

from core.pairs import at_rest
from core.story import happen
from core.world import World
from ostkeeper.api.common import condition_of

pytestmark = pytest.mark.scenario


def armed(world: World) -> tuple[str, str]:
    condition = condition_of(world.status.conditions, "Armed")
    assert condition is not None
    return condition.status, condition.message


def test_pair_with_a_server_in_maintenance_is_not_armed() -> None:
    world = at_rest()
    assert armed(world)[0] == "True"
    happen(world, 'edit pair {"maintenance": ["oss2"]}')
    world.run(30)
    status, message = armed(world)
    assert status == "False"
    assert "oss2 is in maintenance" in message
    happen(world, 'edit pair {"maintenance": []}')
    assert world.run_until(lambda: armed(world)[0] == "True")


def test_paused_pair_is_not_armed() -> None:
    world = at_rest()
    happen(world, 'edit pair {"paused": true}')
    world.run(10)
    assert armed(world) == ("False", "spec.paused is set")


def test_pair_whose_question_is_open_or_was_dismissed_is_not_armed() -> None:
    world = at_rest(mode="Manual")
    happen(world, "oss1 panics")
    assert world.run_until(lambda: world.phase() == "AwaitingApproval")
    assert world.run_until(lambda: armed(world)[0] == "False")
    assert "is open" in armed(world)[1]
    happen(world, "ann answers Dismiss")
    assert world.run_until(lambda: "ended without an act" in armed(world)[1])
    assert armed(world)[0] == "False"
