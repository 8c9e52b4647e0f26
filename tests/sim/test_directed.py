"""Every step between phases that `api.phases` allows is taken by some night, or it is said why none can."""

from pathlib import Path

import pytest

from ostkeeper.sim.coverage import every_edge, merged
from ostkeeper.sim.directed import NEVER, NIGHTS, Directed
from ostkeeper.sim.figures import Figures, write
from sim.parts import PARTS

pytestmark = pytest.mark.sim
SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: night.name)
def test_directed_night_takes_its_steps_and_is_well(night: Directed) -> None:
    results = list(night.play())
    transitions = merged(result.transitions for result in results)
    write(Figures(transitions=transitions), PARTS / f"directed-{NIGHTS.index(night)}.json")
    assert [edge for edge in night.edges if edge not in transitions] == []
    assert [(result.violations, result.unserved) for result in results if not result.ok] == []
    assert [edge for edge in transitions if edge in NEVER] == []


def test_every_step_has_its_night_or_the_reason_why_none_takes_it() -> None:
    taken = [edge for night in NIGHTS for edge in night.edges]
    assert sorted({*taken, *NEVER}) == sorted(every_edge())
    assert [edge for edge in taken if edge in NEVER] == []
    assert len(taken) == len(set(taken))


def test_scenario_that_stands_in_for_a_night_exists() -> None:
    named = [word for why in NEVER.values() for word in why.split() if word.startswith("scenarios/")]
    assert named
    assert all((SCENARIOS.parent / f"{name}.txt").exists() for name in named)
