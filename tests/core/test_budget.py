"""Several pairs of one operator: the fuse counts who is silent at once, the budget what was shot unasked and is not back."""

from __future__ import annotations

import pytest

from core.pairs import arm, several_at_rest
from core.story import happen
from core.world import World
from ostkeeper.api.failover import Failover

pytestmark = pytest.mark.scenario


def dies(world: World, server: int) -> None:
    happen(world, f"oss{server} loses its mains")


def why(world: World) -> str:
    status = world.last.status
    return status.message if status else ""


def one_after_the_other(worlds: list[World], *, seconds: float = 60.0) -> None:
    """The first server of each pair dies, with time enough between for each to be fenced."""
    for i, world in enumerate(worlds):
        dies(world, 2 * i + 1)
        world.run(world.now - world.zero + seconds)


def test_third_server_of_a_small_file_system_asks_although_the_fuse_never_opened() -> None:
    worlds = several_at_rest(4)
    one_after_the_other(worlds[:3])
    assert [w.phase() for w in worlds] == ["Complete", "Complete", "AwaitingApproval", ""]
    assert "2 of 8 servers of filesystem/scratch were shot unasked and are not back (oss1 by" in why(worlds[2])


def test_spent_budget_is_told_at_noon_to_the_pairs_that_are_well() -> None:
    worlds = several_at_rest(4)
    assert not arm(worlds[3])
    one_after_the_other(worlds[:2])
    worlds[3].run(worlds[3].now - worlds[3].zero + 5.0)
    assert "were shot unasked and are not back" in arm(worlds[3])


def test_persons_answer_passes_the_spent_budget_and_is_not_counted() -> None:
    worlds = several_at_rest(5)
    one_after_the_other(worlds[:3])
    happen(worlds[2], "ann answers Failover")
    worlds[2].run(220.0)
    assert worlds[2].phase() == "Complete"
    assert sorted(worlds[0].operator.heartbeats.out if worlds[0].operator else ()) == ["oss1", "oss3"]


def test_server_that_is_back_frees_the_budget_and_the_question_answers_itself() -> None:
    worlds = several_at_rest(4)
    one_after_the_other(worlds[:3])
    assert worlds[2].phase() == "AwaitingApproval"
    happen(worlds[0], "oss1 gets its mains back")
    happen(worlds[0], "left reboots, outlets on")
    worlds[2].run(300.0)
    assert worlds[2].phase() == "Complete"
    assert worlds[2].last.status is not None
    assert worlds[2].last.status.answered_by == "policy"


def test_dead_server_that_is_put_into_maintenance_frees_the_budget() -> None:
    worlds = several_at_rest(4)
    one_after_the_other(worlds[:3])
    happen(worlds[1], 'edit pair {"maintenance": ["oss3"]}')
    worlds[2].run(230.0)
    assert worlds[2].phase() == "Complete"


def test_next_leader_counts_what_an_earlier_one_has_shot() -> None:
    worlds = several_at_rest(4)
    one_after_the_other(worlds[:2])
    for world in worlds:
        world.crash_operator()
    beats = worlds[0].beats
    assert beats is not None
    beats.out.clear()
    beats.restart(worlds[0].now)
    for world in worlds:
        world.start_operator()
    dies(worlds[2], 5)
    worlds[2].run(200.0)
    assert worlds[2].phase() == "AwaitingApproval"
    assert "the budget is spent" in why(worlds[2])


def test_three_that_die_between_two_looks_are_two_too_many_for_the_fuse() -> None:
    worlds = several_at_rest(4)
    for i in range(3):
        dies(worlds[i], 2 * i + 1)
    worlds[0].run(60.0)
    assert {w.phase() for w in worlds[:3]} == {"AwaitingApproval"}
    assert all("3 of 8 servers of filesystem/scratch were late" in why(w) for w in worlds[:3])


def test_two_that_die_at_once_are_both_shot_and_the_third_finds_the_budget_spent_by_what_is_under_way() -> None:
    worlds = several_at_rest(4)
    for i in range(2):
        for device in ("left", "right"):
            happen(worlds[i], f"{device} is silent")
        dies(worlds[i], 2 * i + 1)
    worlds[0].run(60.0)
    assert [w.phase() for w in worlds[:2]] == ["Blocked", "Blocked"]
    dies(worlds[2], 5)
    worlds[2].run(100.0)
    assert worlds[2].phase() == "AwaitingApproval"
    assert not [w for w in worlds[2].store.every(Failover) if w.status and w.status.answered_by]


def test_large_site_may_lose_a_tenth() -> None:
    worlds = several_at_rest(15)
    one_after_the_other(worlds[:3], seconds=25.0)
    assert [w.phase() for w in worlds[:3]] == ["Complete"] * 3
    dies(worlds[3], 7)
    worlds[3].run(95.0)
    assert worlds[3].phase() == "AwaitingApproval"
