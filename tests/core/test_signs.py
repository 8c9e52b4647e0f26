"""A plan is skipped only where it would have asked for nothing: a machine that plans on every event does no more."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from core.chaos import GIVEN, WORDS, heal, night
from core.story import check
from core.twins import Twins, twins

STORIES = sorted((Path(__file__).parents[1] / "scenarios").glob("*.txt"))


@pytest.mark.scenario
@pytest.mark.parametrize("path", STORIES, ids=lambda p: p.stem)
def test_no_plan_is_skipped_that_a_scenario_needs(path: Path) -> None:
    with twins():
        check(path, rewrite=False)


@pytest.mark.scenario
@pytest.mark.parametrize("seed", range(24))
def test_no_plan_is_skipped_in_a_random_night(seed: int) -> None:
    draw = Random(seed)
    faults = [(draw.choice((0.3, 2.0, 7.0, 25.0, 70.0)), draw.choice(WORDS)) for _ in range(14)]
    with twins():
        world, _ = night(GIVEN[seed % len(GIVEN)], faults)
        heal(world, 200.0)
    assert Twins.skipped, "no plan was skipped: nothing was compared"
