"""Acts on a real disk: what is compared right before a mount, and that a refused act leaves nothing behind."""

import contextlib
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.disks import SharedDisk
from ostkeeper.agent import acts
from ostkeeper.agent.children import Children
from ostkeeper.agent.disks import Shelf
from ostkeeper.agent.locks import Locks
from ostkeeper.core import hostevents as ev
from waiting import wait_for_async

pytestmark = pytest.mark.contract
T = "scratch-OST0000"


class Bench:
    """A shelf with one disk of oss1, and what it said."""

    def __init__(self, directory: Path, disk: SharedDisk) -> None:
        self.disk = disk
        self.said: list[ev.HostEvent] = []
        self.locks = Locks(directory / "locks")
        self.shelf = Shelf(self.locks, Children(self.locks, directory / "children"), self.said.append)

    async def reading(self) -> ev.Reading:
        def latest() -> list[ev.Reading]:
            return [event.reading for event in self.said if isinstance(event, ev.DiskSeen) and event.reading.ok]

        await wait_for_async(latest, 5.0, "the disk is read")
        return latest()[-1]

    async def order(self, **change: object) -> ev.Mount:
        seen = await self.reading()
        place = str(self.disk.oss1.mount_point)
        order = ev.Mount(1, T, place, (), seen.uuid, seen.digest, False, math.inf, "a test")
        return replace(order, **change)  # type: ignore[arg-type]

    @property
    def mounts(self) -> tuple[ev.MountFact, ...]:
        return [event for event in self.said if isinstance(event, ev.MountsSeen)][-1].mounts.get(T, ())


@contextlib.asynccontextmanager
async def bench(directory: Path, disk: SharedDisk) -> AsyncIterator[Bench]:
    made = Bench(directory, disk)
    ref = ev.DiskRef(T, "ext4", disk.oss1.device, str(disk.oss1.mount_point))
    made.shelf.set(ev.WatchDisks((ref,), fast=True))
    yield made
    made.shelf.close()


async def test_mount_is_seen_before_the_act_ends(shared_disk: SharedDisk, tmp_path: Path) -> None:
    async with bench(tmp_path, shared_disk) as on:
        ended = await acts.mount(on.shelf, await on.order())
        assert ended.ok, ended
        assert [mount.mount_point for mount in on.mounts] == [str(shared_disk.oss1.mount_point)]
        gone = await acts.unmount(
            on.shelf, ev.Unmount(2, T, str(shared_disk.oss1.mount_point), "a test", on.mounts[0].mount_id)
        )
        assert gone.ok, gone
        assert not on.mounts
        check = await acts.check_release(on.shelf, ev.CheckRelease(3, T))
        assert (check.free, check.clean) == (True, True)


@pytest.mark.parametrize("change", [{"digest": "another"}, {"uuid": "another"}])
async def test_disk_that_changed_since_the_decision_is_not_mounted(
    shared_disk: SharedDisk, tmp_path: Path, change: dict[str, str]
) -> None:
    async with bench(tmp_path, shared_disk) as on:
        ended = await acts.mount(on.shelf, await on.order(**change))
        assert (ended.ok, ended.reason) == (False, "DiskChanged")
        assert on.locks.holder(T) is None
        assert not shared_disk.oss1.mount_point.is_mount()


async def test_partner_that_mounts_between_decision_and_act_is_noticed(shared_disk: SharedDisk, tmp_path: Path) -> None:
    async with bench(tmp_path, shared_disk) as on:
        order = await on.order()
        shared_disk.oss2.mount()
        ended = await acts.mount(on.shelf, order)
        assert (ended.ok, ended.reason) == (False, "DiskChanged")
        check = await acts.check_release(on.shelf, ev.CheckRelease(3, T))
        assert check.clean is False


async def test_act_after_its_time_is_not_begun(shared_disk: SharedDisk, tmp_path: Path) -> None:
    async with bench(tmp_path, shared_disk) as on:
        ended = await acts.mount(on.shelf, await on.order(until=time.monotonic() - 1))
        assert (ended.ok, ended.reason) == (False, "TooLate")
        assert on.locks.holder(T) is None


async def test_lock_of_an_earlier_agents_child_stops_every_act(shared_disk: SharedDisk, tmp_path: Path) -> None:
    async with bench(tmp_path, shared_disk) as on:
        order = await on.order()
        with on.locks.take(T, "mount"):
            assert (await acts.mount(on.shelf, order)).reason == "ChildAlive"
            assert (await acts.unmount(on.shelf, ev.Unmount(2, T, order.mount_point, "a test"))).reason == "ChildAlive"
            assert (await acts.check_release(on.shelf, ev.CheckRelease(3, T))).free is False
            on.shelf.look_at_locks()
        assert any(isinstance(event, ev.ChildrenSeen) and T in event.holders for event in on.said)


async def test_backend_that_is_not_served_reads_unreadable_and_says_so(tmp_path: Path) -> None:
    said: list[ev.HostEvent] = []
    locks = Locks(tmp_path / "locks")
    shelf = Shelf(locks, Children(locks, tmp_path / "children"), said.append)
    shelf.set(ev.WatchDisks((ev.DiskRef(T, "zfs", "pool/ost0", "/mnt/none"),), fast=False))
    reading = next(event.reading for event in said if isinstance(event, ev.DiskSeen))
    assert not reading.ok
    assert "zfs" in reading.error
    assert reading.reason == "BackendNotServed"
    ended = await acts.mount(shelf, ev.Mount(1, T, "/mnt/none", (), "", "", False, math.inf, "a test"))
    assert ended.reason == "BackendNotServed"
