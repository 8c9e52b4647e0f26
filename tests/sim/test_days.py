"""Nights that children of one process play are the nights that are played alone."""

import os

import pytest

from ostkeeper.sim.days import ChildError, in_a_child, run_seeds
from ostkeeper.sim.draw import NIGHTS, day_of, draw
from ostkeeper.sim.run import Result, run_seed

pytestmark = pytest.mark.sim


def told(result: Result) -> tuple[object, ...]:
    return result.seed, result.faults, result.violations, result.unserved, result.events, result.transitions


def test_nights_that_are_played_together_are_what_each_seed_gives_alone() -> None:
    first, beyond = 5 * NIGHTS - 2, 5 * NIGHTS + 2
    together = sorted(told(result) for result in run_seeds(first, beyond))
    assert together == sorted(told(run_seed(seed)) for seed in range(first, beyond))
    assert day_of(first) != day_of(beyond - 1), "two days: their worlds stand side by side"


def test_each_seed_is_played_once_whatever_days_they_are_of() -> None:
    first, beyond = 3, 2 * NIGHTS + 5
    assert sorted(result.seed for result in run_seeds(first, beyond)) == list(range(first, beyond))


def test_seeds_of_one_day_share_a_world_and_differ_in_their_nights() -> None:
    seeds = range(7 * NIGHTS, 8 * NIGHTS)
    assert len({draw(seed)[0] for seed in seeds}) == 1
    assert len({draw(seed)[1] for seed in seeds}) == NIGHTS


def test_child_that_raises_or_dies_is_an_error_and_never_a_result(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChildError, match="seed 7: their process ended with status 1"):
        in_a_child(lambda: 1 // 0, "seed 7")
    assert "ZeroDivisionError" in capfd.readouterr().err
    with pytest.raises(ChildError, match="status 9"):
        in_a_child(lambda: os._exit(9), "seed 8")
