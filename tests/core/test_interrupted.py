"""A scenario's `start` line builds what a real operator leaves behind: both are held together, moment by moment."""

from __future__ import annotations

from typing import Any

import pytest

from core.interrupted import moment_of, store
from core.story import happen, world_of
from core.world import World
from ostkeeper.api.failover import Failover

pytestmark = pytest.mark.scenario

GIVEN = "Automatic; levels pdus, bmc"
ASKED = "Manual; levels pdus, bmc"
BLOCKED = "Automatic; levels bmc"


def lost_at(given: str, phase: str, *faults: str) -> World:
    """A real run until the operator was lost right after it had written a phase."""
    world = world_of(given)
    for words in (*faults, "oss1 panics"):
        happen(world, words)
    assert world.run_until(lambda: world.phase() == phase, 90.0), f"never came to {phase}"
    world.crash_operator()
    return world


def left(world: World) -> dict[str, Any]:
    """What it left, without words for people, nonces and what hangs on them."""
    status = world.status.wire()
    fo = world.last.wire()
    for gone in ("conditions", "nonce", "observedGeneration", "servers"):
        status.pop(gone, None)
    for a in status["assignments"]:
        a["warrant"].get("certificate", {}).pop("digest", None)
    for gone in ("message", "timeline", "conditions", "observedGeneration", "missing"):
        fo["status"].pop(gone, None)
    for gone in ("digest", "nonce"):
        fo["status"].get("certificate", {}).pop(gone, None)
    for proof in fo["status"].get("certificate", {}).get("feeds", ()):
        proof.pop("reads")
    for witness in fo["spec"]["evidence"]["witnesses"]:
        witness.pop("detail", None)
    return {"pair": status, "spec": fo["spec"], "status": fo["status"]}


@pytest.mark.parametrize(
    ("given", "start", "faults"),
    [
        (ASKED, "AwaitingApproval of oss1", ()),
        (GIVEN, "Holding of oss1", ()),
        (GIVEN, "Fencing of oss1", ()),
        (GIVEN, "Relocating of oss1", ()),
        (GIVEN, "Recovering of oss1", ()),
        (GIVEN, "Complete of oss1", ()),
        (BLOCKED, "Blocked of oss1, asked 2 times", ("bmc-oss1 is silent",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_start_line_builds_what_a_lost_operator_left(given: str, start: str, faults: tuple[str, ...]) -> None:
    moment = moment_of(start)
    real = lost_at(given, moment.name, *faults)
    before = left(real)
    built = world_of(given)
    built.crash_operator()
    boots = {s.name: s.boot for s in built.floor.servers.values()}
    for words in (*faults, "oss1 panics"):
        happen(built, words)
    if moment.name in ("Relocating", "Recovering", "Complete"):
        happen(built, "oss1 loses its mains")
    built.clock.run(built.now + 20.0)
    store(built, moment, boots)
    assert left(built) == before


def test_start_line_with_unknown_words_is_refused() -> None:
    for start in ("Fencing", "Fencing of oss1, with luck", "Fencing of oss1; oss1 sings", "Falling of oss1"):
        with pytest.raises(ValueError, match=r"means nothing|Input should be"):
            world_of(GIVEN, start)


def test_start_line_does_not_certify_the_death_of_a_server_with_power() -> None:
    with pytest.raises(AssertionError, match="nobody can have certified"):
        world_of(GIVEN, "Relocating of oss1; oss1 panics")


def test_start_line_is_kept_by_the_api_rules() -> None:
    world = world_of(GIVEN, "Relocating of oss1; oss1 loses its mains")
    stored = world.store.get(Failover, "pair-a-42")
    assert Failover.parse(stored.wire()) == stored
