"""The simulator can lose: each mutant is found within a few runs, on nights that are all well without it."""

from random import Random

import pytest

from ostkeeper.sim.figures import Figures, write
from ostkeeper.sim.mutants import MUTANTS, hunt
from ostkeeper.sim.run import simulate
from sim.parts import PARTS

pytestmark = pytest.mark.sim
UNSEEN = {
    "forgets-a-feed": "the API server refuses the certificate",
    "word-clears-mmp": "the API server refuses the certificate",
    "asks-nobody": "the API server refuses the phase",
    "dead-when-asked": "the API server refuses the phase",
    "holds-at-the-same-epoch": "it holds for ever, one epoch after the other, and never gets to a shot",
    "forgets-late-shots": "one exchange with a device at a time: the on waits until the off has ended",
}
"""Where nothing that must never be comes of a mutant although no machine checks itself: what it meets instead."""


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found_and_its_night_is_well_without_it(name: str) -> None:
    found = hunt(name)
    write(Figures(mutants={name: found}), PARTS / f"mutant-{name}.json")
    assert found, f"{name}: {MUTANTS[name].sentence}, and nobody notices"
    assert simulate(*MUTANTS[name].night(Random(found)), found, helped=MUTANTS[name].helped).ok


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in UNSEEN])
def test_mutant_is_seen_from_outside_where_no_machine_checks_itself(name: str) -> None:
    assert hunt(name, guarded=False), f"{name}: {MUTANTS[name].sentence}, and the checker is blind to it"
