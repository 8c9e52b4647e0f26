"""Rounds: so many in a row, each whole, each after the last off, from devices that did not reboot in between."""

from __future__ import annotations

import pytest

from ostkeeper.core.campaign import Load, Rounds
from ostkeeper.core.power import Feed, PowerReading, PowerState

pytestmark = pytest.mark.scenario

LEFT, RIGHT, BMC = Feed("left", "1"), Feed("right", "1"), Feed("bmc-oss1")
OFF, ON, UNKNOWN = PowerState.OFF, PowerState.ON, PowerState.UNKNOWN
ACKED = 100.0


class Level:
    """One level's rounds, fed by hand."""

    def __init__(self, *feeds: Feed, needed: int = 3) -> None:
        self.rounds = Rounds(feeds, needed, 0.5, 5.0, ACKED, acked=ACKED)
        self.now, self.op = ACKED, 0

    def round(self, *states: PowerState, boots: str = "b1", watts: float | None = None) -> None:
        """One round: what each feed reads."""
        self.now += 0.5
        assert self.rounds.due(self.now)
        ops = {self.op + i: feed for i, feed in enumerate(self.rounds.feeds)}
        self.op += len(ops)
        self.rounds.start(ops, self.now)
        for op, state in zip(ops, states, strict=True):
            self.rounds.take(op, PowerReading(state, self.now, self.now + 0.1, boot=boots, watts=watts), self.now + 0.1)


def test_load_within_its_grace_means_not_off_yet() -> None:
    level = Level(LEFT, RIGHT)
    level.round(OFF, OFF, watts=80.0)
    assert (level.rounds.count, level.rounds.failure) == (0, "")
    for _ in range(3):
        level.round(OFF, OFF, watts=4.0)
    assert level.rounds.done


@pytest.mark.parametrize("watts", [5.1, float("nan")])
def test_load_after_its_grace_is_a_veto(watts: float) -> None:
    level = Level(LEFT, RIGHT)
    level.now = ACKED + 10.0
    level.round(OFF, OFF, watts=watts)
    assert "W flow through it" in level.rounds.failure


def test_grace_and_residue_are_those_of_the_feed() -> None:
    level = Level(LEFT, RIGHT)
    level.rounds.loads = {LEFT: Load(grace=1.0, residue=100.0), RIGHT: Load(grace=60.0, residue=5.0)}
    level.now = ACKED + 2.0
    level.round(OFF, OFF, watts=50.0)
    assert (level.rounds.count, level.rounds.failure) == (0, "")
    level.round(OFF, OFF, watts=101.0)
    assert level.rounds.failure.startswith("left/1 reads OFF, but 101 W")


def test_level_is_dead_after_three_rounds_of_off() -> None:
    level = Level(LEFT, RIGHT)
    for count in (1, 2, 3):
        assert not level.rounds.done
        level.round(OFF, OFF)
        assert level.rounds.count == count
    assert level.rounds.done


@pytest.mark.parametrize("state", [ON, UNKNOWN])
def test_count_starts_again_when_one_feed_does_not_read_off(state: PowerState) -> None:
    level = Level(LEFT, RIGHT)
    level.round(OFF, OFF)
    level.round(OFF, OFF)
    level.round(OFF, state)
    assert level.rounds.count == 0
    level.round(OFF, OFF)
    assert level.rounds.count == 1
    assert not level.rounds.done


def test_count_starts_again_when_a_device_rebooted_in_between() -> None:
    level = Level(LEFT, RIGHT)
    level.round(OFF, OFF)
    level.round(OFF, OFF)
    level.round(OFF, OFF, boots="b2")
    assert level.rounds.count == 1
    level.round(OFF, OFF, boots="b2")
    level.round(OFF, OFF, boots="b2")
    assert level.rounds.done


def test_feed_without_a_sign_of_reboots_carries_a_level_alone() -> None:
    level = Level(BMC)
    for _ in range(3):
        level.round(OFF, boots="")
    assert level.rounds.done


def test_feed_without_a_sign_of_reboots_fails_a_level_of_two() -> None:
    level = Level(LEFT, RIGHT)
    level.round(OFF, OFF, boots="")
    assert "sign of reboots" in level.rounds.failure


def test_standby_load_is_no_load() -> None:
    level = Level(LEFT, RIGHT)
    level.round(OFF, OFF, watts=2.0)
    assert level.rounds.count == 1


def test_silence_fails_the_level_after_the_request_time_out() -> None:
    level = Level(LEFT, RIGHT)
    level.round(OFF, OFF)
    for _ in range(12):
        if not level.rounds.failure:
            level.round(OFF, UNKNOWN)
    assert "UNKNOWN" in level.rounds.failure
    assert level.now < ACKED + 7


def test_on_is_given_twice_as_long_as_silence() -> None:
    level = Level(LEFT, RIGHT)
    for _ in range(12):
        level.round(OFF, ON)
    assert not level.rounds.failure
    for _ in range(12):
        if not level.rounds.failure:
            level.round(OFF, ON)
    assert "reads ON" in level.rounds.failure


def test_reading_that_began_before_the_off_was_acknowledged_proves_nothing() -> None:
    level = Level(BMC, needed=1)
    level.rounds.start({1: BMC}, ACKED)
    level.rounds.take(1, PowerReading(OFF, ACKED - 0.1, ACKED + 0.1), ACKED + 0.1)
    assert level.rounds.count == 0


def test_late_answer_to_an_earlier_round_closes_no_round() -> None:
    level = Level(BMC, needed=2)
    level.rounds.start({1: BMC}, ACKED)
    reading = PowerReading(OFF, ACKED + 0.1, ACKED + 0.2)
    level.rounds.take(1, reading, ACKED + 0.2)
    level.rounds.take(1, reading, ACKED + 0.3)
    assert level.rounds.count == 1


def test_movement_starts_the_count_again_and_older_readings_do_not_count() -> None:
    level = Level(BMC)
    level.round(OFF)
    level.round(OFF)
    level.rounds.again(level.now + 1.0)
    level.round(OFF)
    assert level.rounds.count == 0
    level.now += 1.0
    level.round(OFF)
    assert level.rounds.count == 1
