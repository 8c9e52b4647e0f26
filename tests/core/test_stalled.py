"""Stalled is True wherever a target is not served and nothing under way will serve it: sites page on this condition."""

import pytest

from core.story import Story, tell
from core.world import PAIR, World
from ostkeeper.api.common import Condition, condition_of
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.stalled import NOT_SERVED, NOT_SERVED_AFTER

pytestmark = pytest.mark.scenario


def stalled(world: World) -> Condition:
    pair = world.store.get(OSSPair, PAIR)
    found = condition_of(pair.status.conditions if pair.status else (), "Stalled")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("Observe", "oss1 reports errors"),
        ("Observe", "oss1 disks stall"),
        ("Observe", "oss1 loses its disks"),
    ],
)
def test_pair_is_stalled_while_a_sick_server_keeps_its_targets(mode: str, words: str) -> None:
    _, world = tell(Story(given=mode, events=[(5.0, words)], until=NOT_SERVED_AFTER + 200.0))
    said = stalled(world)
    assert (said.status, said.reason) == ("True", NOT_SERVED), said
    assert "scratch-OST0000" in said.message


def test_stalled_ends_with_its_cause() -> None:
    events = [(5.0, "oss1 reports errors"), (300.0, "oss1 reports no errors")]
    _, world = tell(Story(given="Observe", events=events, until=400.0))
    assert stalled(world).status == "False"


def test_stalled_stays_under_the_next_leader_although_its_clocks_start_again() -> None:
    events = [(5.0, "oss1 reports errors"), (300.0, "the operator crashes"), (301.0, "the operator starts")]
    _, world = tell(Story(given="Observe", events=events, until=340.0))
    assert (stalled(world).status, stalled(world).reason) == ("True", NOT_SERVED)


def test_target_that_somebody_mounted_by_hand_stalls_its_pair() -> None:
    events = [(5.0, "an admin mounts OST0001 on oss1")]
    _, world = tell(Story(given="Automatic", events=events, until=60.0))
    assert (stalled(world).status, stalled(world).reason) == ("True", "TargetForeignMount")


def test_reason_of_the_first_never_hides_the_question_that_waits() -> None:
    events = [(5.0, "oss1 panics"), (40.0, "another object claims the disk of OST0001")]
    _, world = tell(Story(given="Manual", events=events, until=60.0))
    said = stalled(world)
    assert said.reason == "AwaitingApproval", said
    assert "its disk is OST0001" in said.message or "its disk is scratch-OST0001" in said.message
