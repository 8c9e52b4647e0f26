"""Where nothing happens, nothing is written: a status changes when something changed, not because time passes."""

from __future__ import annotations

import pytest

from core.story import happen, world_of
from core.world import World

pytestmark = pytest.mark.scenario

SILENT = ("left is silent", "right is silent", "bmc-oss1 is silent")
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "all is well": ("Automatic; levels pdus, bmc", ()),
    "a person is asked": ("Manual; levels pdus, bmc", ("oss1 panics",)),
    "Blocked": ("Automatic; levels pdus, bmc", (*SILENT, "oss1 panics")),
    "moved": ("Automatic; levels pdus, bmc", ("oss1 panics",)),
    "observed": ("Observe; levels pdus", ("oss1 panics",)),
    "isolated": ("Automatic; levels pdus", ("oss1 loses the API", "oss1 loses the LAN")),
    "agent dead": ("Automatic; levels pdus", ("oss1 agent dies",)),
    "both silent": ("Automatic; levels pdus", ("oss1 panics", "oss2 panics")),
    "paused": ("Automatic; levels pdus", ('edit pair {"paused": true}', "oss1 panics")),
    "a feed is claimed": ("Automatic; levels pdus", ("another object claims a feed of oss1", "oss1 panics")),
    "regressed": ("Automatic; levels pdus", ("oss1 has seen epoch 90",)),
    "mounted twice": ("Manual; levels pdus; not adopted; oss1 has OST0000 mounted; oss2 has OST0000 mounted", ()),
    "one agent missing at install": ("Manual; levels pdus; not adopted", ("oss1 agent dies",)),
    "cannot let go": (
        "Automatic; levels pdus; releaseTimeout 10s",
        ("oss1 cannot unmount", 'edit ost 0000 {"desired": "Unmounted"}'),
    ),
    "another board": ("Automatic; levels pdus", ("oss2 is another board",)),
}


def after(given: str, faults: tuple[str, ...]) -> World:
    world = world_of(given)
    world.run(5)
    for words in faults:
        happen(world, words)
    world.run(150)
    return world


@pytest.mark.parametrize("state", STATES)
def test_hardly_anything_is_written_while_nothing_changes(state: str) -> None:
    world = after(*STATES[state])
    world.writes.clear()
    world.run(270)
    why = [getattr(w, "why", type(w).__name__) for w in world.writes]
    most = 30 if state == "mounted twice" else 2
    assert len(why) <= most, why[:12]
    assert not world.floor.overlaps or state == "mounted twice"
