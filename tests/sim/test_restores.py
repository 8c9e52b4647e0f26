"""An etcd that was restored with a raised revision: no write has a lower version than before, and it is noticed all the same."""

import pytest

from ostkeeper.api.common import condition_of
from ostkeeper.api.osspair import OSSPair
from ostkeeper.sim.canary import Canaries
from ostkeeper.sim.config import Config
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.run import dawn, play
from ostkeeper.sim.store import Canary

pytestmark = pytest.mark.scenario
MOVED = Fault("edit", 1.0, None, ("scratch-ost0000.serveFrom=Partner",))
"""The pair's epoch rises between the backup and the restore."""


def told(kind: str) -> bool:
    """Whether the pair says EpochRegressed 12 s after a restore, with nothing else to be done."""
    world = dawn(Config(), 1)
    world.kernel.run(play(world, (Fault(kind, 0.5, 25.0), MOVED)))
    (pair,) = world.store.every(OSSPair)
    assert pair.status is not None
    said = condition_of(pair.status.conditions, "EpochRegressed")
    assert not world.checker.violations
    return said is not None and said.status == "True"


@pytest.mark.parametrize("kind", ["etcd-restored", "etcd-restored-raised"])
def test_pair_at_rest_says_that_its_epoch_regressed(kind: str) -> None:
    assert told(kind)


def test_canary_that_looks_at_no_conflict_notices_a_restore_only_where_versions_went_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the guard is for: without it the pair goes on with what it knew."""
    sung = Canaries._sung

    def unguarded(self: Canaries, canary: Canary | None, song: int, began: float) -> None:
        if canary is not None and canary.song != song:
            canary = None
            self._version = 0
        sung(self, canary, song, began)

    monkeypatch.setattr(Canaries, "_sung", unguarded)
    assert not told("etcd-restored-raised")
