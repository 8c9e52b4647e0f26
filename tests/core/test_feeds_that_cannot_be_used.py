"""An outlet that a PDU does not have is the mistake of the pair that names it, and of nobody else."""

import pytest

from core.pairs import build
from ostkeeper.api.fencedevice import FeedReading, FenceDevice
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.armed import level_untrusted
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.view import View

pytestmark = pytest.mark.scenario


def test_outlet_that_does_not_exist_is_named_for_the_server_that_uses_it_only() -> None:
    """oss1 uses outlet 1 of both PDUs, oss2 uses outlet 2."""
    store = build().store
    view = View("scratch/pair-a", Heartbeats(), pair=store.every(OSSPair)[0])
    view.devices = {device.name: device for device in store.every(FenceDevice)}
    left = view.devices["left"]
    assert left.status
    reading = FeedReading(
        outlet="2", reason="NoSuchOutlet", message="there is no outlet '2'. Correct the feed's outlet"
    )
    status = left.status.model_copy(update={"feeds": (FeedReading(outlet="1", state="PoweredOn"), reading)})
    view.devices["left"] = left.model_copy(update={"status": status})
    assert view.pair
    (first, second) = (
        [why for level in view.pair.fencing_of(node) for why in level_untrusted(view, node, level)]
        for node in ("oss1", "oss2")
    )
    assert first == []
    assert second == ["feed left/2: NoSuchOutlet: there is no outlet '2'. Correct the feed's outlet"]
