"""A consistent read that the watch has overtaken takes nothing back. The same of a pair: `core/test_slow_reads.py`."""

import pytest

from host.rig import START, Rig, grant
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize(
    ("began", "epoch"),
    [pytest.param(0.0, 5, id="watch-was-quicker"), pytest.param(0.2, 3, id="etcd-was-restored")],
)
def test_read_takes_back_what_the_watch_showed_only_where_it_began_later(began: float, epoch: int) -> None:
    rig = Rig(willing=False).start()
    asked, before = rig.one(ev.ReadPair), rig.pair
    rig.now += 0.1
    rig.grants = [grant("Serve", 5)]
    rig.step(Seen(versioned(rig.pair, "9")))
    rig.now += 0.2
    rig.step(
        ev.PairRead(asked.op, START + began, ev.HostSnapshot(versioned(before, "7"), tuple(rig.osts), rig.partner))
    )
    pair = rig.machine.host.pair
    assert pair is not None
    assert pair.status is not None
    assert pair.status.epoch == epoch
    assert not rig.all(ev.Mount)
    assert len(rig.all(ev.ReadPair)) == 2, "what waits for a read has another one"


def versioned(pair: OSSPair, version: str) -> OSSPair:
    metadata = pair.metadata.model_copy(update={"resource_version": version})
    return pair.model_copy(update={"metadata": metadata})
