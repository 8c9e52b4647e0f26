"""A question that was dismissed is not asked again by itself, and is when a person asks for it."""

from __future__ import annotations

import pytest

from core.story import happen
from core.test_questions import asked, begun, still_asked, waiting
from core.world import World

ABOUT = {
    "failback": "Failback of oss2",
    "switchover": "Switchover of oss1",
    "release": "Failover of oss1",
    "failover": "Failover of oss1",
}


def dismissed(question: str) -> World:
    """A world in which a person has dismissed the question."""
    world = begun(question)
    happen(world, "ann answers Dismiss")
    assert world.run_until(lambda: any(n.failover == world.last.name for n in world.status.noted), 5)
    return world


def pass_by(world: World, seconds: float) -> None:
    """Let time pass."""
    world.run(world.now - world.zero + seconds)


@pytest.mark.parametrize("question", ["failback", "switchover", "failover"])
def test_a_dismissed_question_is_not_asked_again_by_itself(question: str) -> None:
    world = dismissed(question)
    pass_by(world, 600)
    assert world.last.phase == "Aborted"
    assert waiting(world) is None


@pytest.mark.parametrize("question", ["failback", "switchover", "failover"])
def test_a_dismissed_question_is_asked_again_when_a_person_asks_for_it(question: str) -> None:
    world = dismissed(question)
    first = world.last.name
    pass_by(world, 60)
    happen(world, f'edit pair {{"askAgain": "{first}"}}')
    assert world.run_until(lambda: still_asked(world, ABOUT[question]), 15), world.log.lines[-20:]
    second = world.last.name
    assert second != first
    happen(world, "ann answers Dismiss")
    assert world.run_until(lambda: any(n.failover == second for n in world.status.noted), 5)
    pass_by(world, 600)
    assert world.last.name == second, "the name of an earlier question asks nothing"


def test_asking_again_for_what_has_no_reason_any_more_asks_nothing() -> None:
    world = dismissed("switchover")
    happen(world, "oss1 reports no errors")
    pass_by(world, 5)
    first = world.last.name
    happen(world, f'edit pair {{"askAgain": "{first}"}}')
    pass_by(world, 60)
    assert world.last.name == first


@pytest.mark.parametrize("question", ["failback", "switchover"])
def test_a_late_heartbeat_does_not_bring_a_dismissed_question_back(question: str) -> None:
    world = dismissed(question)
    for node in ("oss1", "oss2"):
        happen(world, f"{node} loses the API")
        pass_by(world, 7)
        happen(world, f"{node} reaches the API")
        pass_by(world, 60)
    assert world.last.phase == "Aborted"
    assert waiting(world) is None


def test_the_slot_that_is_taken_for_a_move_does_not_ask_a_dismissed_question() -> None:
    world = dismissed("switchover")
    before = len(world.failovers)
    happen(world, 'edit ost 0002 {"serveFrom": "Partner"}')
    pass_by(world, 30)
    assert "scratch-OST0002" in world.mounted()["oss1"]
    assert not asked(world, "Switchover of oss1", since=before)


def test_the_slot_that_is_taken_for_an_unmount_of_the_partner_does_not_ask_a_dismissed_release() -> None:
    world = dismissed("release of what nobody wants")
    before = len(world.failovers)
    happen(world, 'edit ost 0002 {"serveFrom": "Partner"}')
    pass_by(world, 30)
    assert "scratch-OST0002" in world.mounted()["oss1"]
    assert not asked(world, "Failover of oss1", since=before)


def test_maintenance_empties_a_server_whose_question_was_dismissed() -> None:
    world = dismissed("switchover")
    happen(world, 'edit pair {"maintenance": ["oss1"]}')
    assert world.run_until(lambda: len(world.mounted()["oss2"]) == 3, 30)
