"""A night that fails is made small, written down, read again, and replayed for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from ostkeeper.sim import shrink
from ostkeeper.sim.draw import draw
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.mutants import MUTANTS, at_work, hunt
from ostkeeper.sim.shrink import NightFile, NightFileError

pytestmark = pytest.mark.sim
FOUND = Path(__file__).with_name("found")
NOISE = (Fault("api-slow", 3.0, 9.0), Fault("device-reboots", 4.0, None, ("bmc-oss2",)))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.txt")), ids=lambda path: path.stem)
def test_night_that_once_failed_is_well(path: Path) -> None:
    result = shrink.read(path.read_text()).play()
    assert (result.violations, result.unserved) == ((), ())


def test_night_that_failed_loses_what_does_not_matter_and_still_fails() -> None:
    mutant = MUTANTS["unknown-is-off"]
    found = hunt("unknown-is-off")
    config, faults = mutant.night(Random(found))
    busy = NightFile(found, replace(config, failback="Automatic", rejoin="Manual"), (*NOISE, *faults))
    with at_work(mutant.patches):
        assert not busy.play().ok
        small = shrink.shrink(found, night=busy)
        assert not small.play().ok
    assert len(small.faults) < len(busy.faults)
    assert small.config.failback == "Manual"
    assert small.why
    assert shrink.read(shrink.write(small)) == small


@pytest.mark.parametrize("seed", [3, 40, 117, 500])
def test_night_survives_its_text(seed: int) -> None:
    night = NightFile(seed, *draw(seed), ("why",))
    assert shrink.read(shrink.write(night)) == night


def test_night_that_is_well_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="seed 3 is well"):
        shrink.shrink(3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("config targets 1\n", "there is no seed"),
        ("seed many\n", "line 1"),
        ("seed 1\nconfig colour 3\n", "line 2: 'config colour 3': no such word of a run: colour"),
        ("seed 1\nfault {]\n", "line 2"),
        ("seed 1\nmoon full\n", "a line begins with seed, config, people, fault or #"),
    ],
)
def test_text_that_is_no_night_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(NightFileError, match=why.replace("{", r"\{").replace("[", r"\[")):
        shrink.read(text)
