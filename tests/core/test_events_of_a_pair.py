"""Kubernetes Events about a pair and its targets: one where the state changes, none while it lasts."""

from __future__ import annotations

import pytest

from core.pairs import at_rest, ost
from core.story import happen
from core.world import World
from ostkeeper.api.ost import OSTStatus
from ostkeeper.core import events as e
from ostkeeper.core.mirror import tell_target
from ostkeeper.core.target_status import Said

pytestmark = pytest.mark.scenario


def told(world: World, monkeypatch: pytest.MonkeyPatch) -> list[e.Tell]:
    """The Events that are asked for from here on."""
    found: list[e.Tell] = []
    perform = World._perform

    def spy(self: World, op: object, effect: e.Effect) -> None:
        if isinstance(effect, e.Tell):
            found.append(effect)
        perform(self, op, effect)  # type: ignore[arg-type]

    monkeypatch.setattr(World, "_perform", spy)
    return found


def test_pair_that_is_disarmed_and_armed_again_gets_one_event_each(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    events = told(world, monkeypatch)
    happen(world, 'edit pair {"paused": true}')
    world.run(60)
    happen(world, 'edit pair {"paused": false}')
    world.run(120)
    assert [(t.kind, t.type, t.reason) for t in events] == [
        ("OSSPair", "Warning", "Disarmed"),
        ("OSSPair", "Normal", "Armed"),
    ]
    assert events[0].message == "spec.paused is set"


def test_target_that_somebody_else_mounts_gets_one_event() -> None:
    said = Said(ost(0, "oss1"), "scratch-OST0000", None, {}, "ForeignMount", "mounted on oss2 by somebody else")
    assert [(t.type, t.reason) for t in map(as_tell, tell_target(said))] == [("Warning", "TargetForeignMount")]
    shown = said.ost.model_copy(update={"status": OSTStatus(state="ForeignMount")})
    assert tell_target(said._replace(ost=shown)) == []


def as_tell(effect: e.Effect) -> e.Tell:
    assert isinstance(effect, e.Tell)
    return effect
