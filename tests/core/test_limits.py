"""Limits and refused writes: both are said on the objects, and neither stops what else is written."""

from __future__ import annotations

import pytest

from core import apistore
from core.pairs import arm, at_rest, ost
from core.story import happen
from core.world import World
from ostkeeper.api.common import Resource, condition_of
from ostkeeper.api.oss import MOST_TARGETS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import referee

pytestmark = pytest.mark.scenario


def stalled(world: World) -> tuple[str, str]:
    """Reason and message of the pair's Stalled condition while it is True."""
    found = condition_of(world.status.conditions, "Stalled")
    assert found is not None
    return (found.reason, found.message) if found.status == "True" else ("", "")


def refuses_more_than(most: int) -> object:
    def judge(before: Resource | None, after: Resource) -> None:
        if isinstance(after, OSSPair) and after.status and len(after.status.assignments) > most:
            raise apistore.RefusedError(f"status.assignments: Too many: {len(after.status.assignments)}")
        if told := referee.refusal(before, after):
            raise apistore.RefusedError(told)

    return judge


def test_target_beyond_the_limit_is_refused_on_its_ost_and_on_the_pair() -> None:
    world = at_rest(homes=("oss1", "oss2") * (MOST_TARGETS // 2))
    happen(world, "OST0f00 is added, its home oss1")
    world.run(10)
    status = world.store.get(OST, "scratch-ost0f00").status
    assert status is not None
    assert status.state == "Refused"
    assert any(c.type == "Stalled" and f"holds {MOST_TARGETS} targets" in c.message for c in status.conditions)
    assert stalled(world)[0] == "TooManyTargets"
    assert "scratch-OST0f00" in stalled(world)[1]
    assert world.store.refusals == []
    assert arm(world) == ""


def test_target_beyond_the_limit_is_placed_once_another_is_retired() -> None:
    world = at_rest(homes=("oss1", "oss2") * (MOST_TARGETS // 2))
    happen(world, "OST0f00 is added, its home oss1")
    world.run(5)
    happen(world, 'edit ost 0000 {"desired": "Unmounted"}')
    world.run(10)
    happen(world, "delete ost 0000")
    world.run(20)
    assert world.status.assignment(ost(0, "oss1").target) is None
    assert "scratch-OST0f00" in world.mounted()["oss1"]
    assert stalled(world) == ("", "")


def test_conditions_go_on_while_the_api_server_refuses_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    monkeypatch.setattr(apistore, "_judge", refuses_more_than(2))
    happen(world, "OST0002 is added, its home oss1")
    world.run(12)
    reason, message = stalled(world)
    assert reason == "Refused"
    assert "adopt scratch-OST0002 at oss1" in message
    assert "Too many: 3" in message
    happen(world, "oss2 reports errors")
    world.run(20)
    degraded = condition_of(world.status.conditions, "Degraded")
    assert degraded is not None
    assert "errors" in degraded.message
    assert len([r for r in world.store.refusals if "Too many" in r]) <= 5


def test_refusal_is_no_longer_said_once_the_write_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    monkeypatch.setattr(apistore, "_judge", refuses_more_than(2))
    happen(world, "OST0002 is added, its home oss1")
    world.run(8)
    monkeypatch.undo()
    world.run(25)
    assert stalled(world) == ("", "")
    assert "scratch-OST0002" in world.mounted()["oss1"]
