"""An API that knows less than the servers do: said aloud in whatever phase that is found, for only a person can answer."""

from pathlib import Path

import pytest

from core.story import read, tell
from core.world import PAIR
from ostkeeper.api.common import condition_of
from ostkeeper.api.osspair import OSSPair

pytestmark = pytest.mark.scenario
SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.mark.parametrize(
    "name",
    [
        "epoch_that_regresses_while_fencing_stops_the_certificate",
        "epoch_regressed_stops_everything_until_adopted",
    ],
)
def test_pair_says_that_its_epoch_regressed_and_what_answers_it(name: str) -> None:
    story = read((SCENARIOS / f"{name}.txt").read_text())
    story.events = [event for event in story.events if "adopt" not in event[1]]
    _, world = tell(story)
    pair = world.store.get(OSSPair, PAIR)
    said = condition_of(pair.status.conditions if pair.status else (), "EpochRegressed")
    assert said is not None
    assert said.status == "True"
    assert "set spec.adopt: " in said.message
