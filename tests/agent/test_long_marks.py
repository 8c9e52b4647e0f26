"""Marks that fill their fields, from a real disk to the decision: a node name of 64 characters and a device of 32."""

from pathlib import Path

import pytest

from agent.blocks import superblock_of, with_mark, write_block
from agent.disks import SharedDisk, make_image
from host.rig import DEAD_BOOT, Rig, T, certificate, certified, failover, grant, oss
from ostkeeper.agent.backends import mmp
from ostkeeper.agent.backends.registry import backend_for
from ostkeeper.agent.children import Children
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.run import remembered, to_store
from ostkeeper.agent.store import State, Store
from ostkeeper.api.oss import OSSStatus
from ostkeeper.core import hostevents as ev
from ostkeeper.core.diskview import MmpState, next_view, reading_of

NODE, DEVICE = b"n" * 64, b"d" * 31
WHOLE = f"{'n' * 64}/{'d' * 31}1"


async def still_block(disk: SharedDisk, children: Children, device: bytes) -> tuple[ev.Reading, bytes]:
    """A block that stands still on the disk, as the agent's own reading shows it."""
    write_block(disk.image, with_mark(disk.image, NODE, device, 4711))
    probe = await backend_for("ext4", T, disk.oss2.device, children).probe()
    assert probe.ok, probe.error
    later = probe._replace(began=probe.began + 60.0, ended=probe.ended + 60.0)
    return reading_of(T, next_view(next_view(None, probe), later)), probe.raw_block


@pytest.mark.contract
@pytest.mark.parametrize(("device", "cleared"), [(DEVICE + b"1", True), (DEVICE + b"2", False)])
async def test_mmp_is_cleared_over_the_dead_servers_whole_mark_only(
    disk: SharedDisk, children: Children, locks: Locks, device: bytes, cleared: bool
) -> None:
    reading, block = await still_block(disk, children, device)
    reading = reading._replace(still_since=900.0)
    partner = oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Mounted", "mark": WHOLE}])
    rig = Rig(grants=[grant("Hold", 5, "oss2")], disk=reading, partner=partner).start()
    rig.change(nonce={"value": "n1", "failover": "pair-a-4", "level": 0, "open": True})
    rig.wait(30)
    (told,) = OSSStatus.model_validate(rig.all(ev.Report)[-1].status.wire()).disks
    proof = {"target": T, "state": told.state, "block": told.block, "mark": told.mark, "reported": WHOLE}
    held = certificate(disks=[proof])
    rig.failovers = [failover(held)]
    rig.change(grant("Serve", 6, **certified(held)))
    rig.wait(5)
    order = rig.one(ev.Mount)
    assert order.clear is cleared
    if cleared:
        with locks.take(T) as lock:
            after = await backend_for("ext4", T, disk.oss2.device, children).clear_mmp(block, lock)
        assert after.state is MmpState.CLEAN
        assert str(after.mark) == WHOLE


@pytest.mark.scenario
def test_names_that_are_no_utf8_stay_different(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.img")
    one, other = (
        mmp.parse(with_mark(image, name, b"sda", 4711), superblock_of(image)).mark
        for name in (b"\xff" * 64, b"\xfe" * 64)
    )
    assert one != other
    OSSStatus.model_validate({"disks": [{"target": T, "state": "Still", "mark": f"{one.node}/{one.node[:128]}"}]})


@pytest.mark.scenario
async def test_store_remembers_a_mark_whole(tmp_path: Path) -> None:
    record = ev.Mounted("uuid", "boot-1", 7, mark=WHOLE)
    await Store(tmp_path).remember("cluster", {}, {T: to_store(record)})
    assert remembered(Store(tmp_path).state).mounts[T] == record
    assert remembered(State()).mounts == {}
