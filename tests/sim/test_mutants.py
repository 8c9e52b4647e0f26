"""The simulator can lose: each mutant is found within a few runs, on nights that are all well without it."""

from random import Random

import pytest

from ostkeeper.sim.figures import Figures, write
from ostkeeper.sim.mutants import MUTANTS, hunt
from ostkeeper.sim.run import simulate
from sim.test_nights import PARTS

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found_and_its_night_is_well_without_it(name: str) -> None:
    found = hunt(name)
    write(Figures(mutants={name: found}), PARTS / f"mutant-{name}.json")
    assert found, f"{name}: {MUTANTS[name].sentence}, and nobody notices"
    assert simulate(*MUTANTS[name].night(Random(found)), found).ok
