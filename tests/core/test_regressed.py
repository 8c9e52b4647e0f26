"""An API that knows less than the servers do: said aloud in whatever phase that is found, for only a person can answer."""

from pathlib import Path
from typing import Any

import pytest

from core.apistore import ApiStore
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


def test_word_that_was_carried_out_is_not_asked_for_again_while_a_failover_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[OSSPair] = []
    put = ApiStore.put

    def noted(self: ApiStore, obj: Any) -> Any:
        stored = put(self, obj)
        seen.extend([stored] if isinstance(stored, OSSPair) else [])
        return stored

    monkeypatch.setattr(ApiStore, "put", noted)
    tell(read((SCENARIOS / "epoch_regressed_stops_everything_until_adopted.txt").read_text()))
    adopted = [pair.status for pair in seen if pair.status and pair.status.adopted == 50]
    assert any(status.active_failover for status in adopted)
    said = [(c.type, c.status, c.reason) for status in adopted for c in status.conditions]
    assert ("EpochRegressed", "False", "Current") in said
    assert not [c for c in said if c[1:] == ("True", "EpochRegressed") or c[:2] == ("EpochRegressed", "True")]
