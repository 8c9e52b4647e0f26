"""Is a disk advancing or still, and since when: on real disks, and on one that stalls."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.blocks import with_sequence, write_block
from agent.disks import SharedDisk, make_image
from ostkeeper.agent.backends import mmp
from ostkeeper.agent.backends.ext4 import Ext4Reader
from ostkeeper.agent.watch import DiskStalledError, DiskWatch
from ostkeeper.core.diskview import FAST_INTERVAL, Activity, DiskView, Mark, MmpState, Probe, next_reading, next_view
from waiting import wait_for_async


def watch_on(device: str, views: list[DiskView]) -> DiskWatch:
    watch = DiskWatch("scratch-OST0000", Ext4Reader(device), views.append)
    watch.set_interval(FAST_INTERVAL)
    watch.start()
    return watch


@pytest.mark.contract
async def test_partner_sees_the_mount_advance_then_stand_still_after_a_power_cut(disk: SharedDisk) -> None:
    views: list[DiskView] = []
    watch = watch_on(disk.oss2.device, views)
    await wait_for_async(lambda: views and views[-1].activity is Activity.CLEAN, 5, "nobody mounted it yet")
    disk.oss1.mount()
    await wait_for_async(lambda: views[-1].moves >= 3, 10, "the owner writes every second")
    seen = views[-1]
    assert seen.activity is Activity.ADVANCING
    assert seen.good is not None
    assert seen.good.mark == Mark(os.uname().nodename, f"loop{disk.oss1.number}")
    moves, lived = seen.moves, time.monotonic()
    await wait_for_async(lambda: views[-1].moves > moves, 10, "the owner still lives")
    disk.oss1.cut()
    await wait_for_async(lambda: views[-1].activity is Activity.STILL, 10, "nobody writes any more")
    assert 2.0 <= views[-1].unmoved <= time.monotonic() - lived
    assert all(view.probe.ok for view in views), "no reading of a living disk is torn, or it would veto for nothing"
    watch.close()


@pytest.mark.contract
async def test_orderly_unmount_reads_clean_and_counts_as_a_move(disk: SharedDisk) -> None:
    disk.oss1.mount()
    views: list[DiskView] = []
    watch = watch_on(disk.oss2.device, views)
    before = (await watch.fresh(5)).moves
    disk.oss1.unmount()
    after = await watch.fresh(5)
    assert after.activity is Activity.CLEAN
    assert after.moves > before
    watch.close()


@pytest.mark.contract
async def test_fsck_is_never_still(disk: SharedDisk) -> None:
    write_block(disk.image, with_sequence(disk.image, mmp.SEQUENCE_FSCK))
    watch = watch_on(disk.oss2.device, [])
    await wait_for_async(lambda: watch.view is not None and watch.view.unmoved > 2, 10, "watched for two intervals")
    assert watch.view is not None
    assert watch.view.activity is Activity.FSCK
    watch.close()


@pytest.mark.contract
async def test_disk_that_was_cut_off_from_us_is_unreadable_and_its_reading_ages(disk: SharedDisk) -> None:
    watch = watch_on(disk.oss2.device, [])
    await watch.fresh(5)
    disk.oss2.cut()
    lost = await watch.fresh(5)
    assert lost.activity is Activity.UNREADABLE
    assert "device ends" in lost.probe.error
    await wait_for_async(lambda: watch.age() > 0.5, 5, "failed readings keep nothing fresh")
    watch.close()


@pytest.mark.contract
async def test_disk_without_mmp_is_unreadable_to_the_watch(
    tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk]
) -> None:
    plain = new_disk(make_image(tmp_path / "plain.img", features="^mmp"), 512)
    watch = watch_on(plain.oss1.device, [])
    view = await watch.fresh(5)
    assert not view.probe.mmp_enabled
    assert view.activity is Activity.UNREADABLE
    watch.close()


def descriptors_on(device: str) -> list[str]:
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link == device]


@pytest.mark.contract
async def test_release_closes_every_descriptor_until_resumed(disk: SharedDisk) -> None:
    views: list[DiskView] = []
    watch = DiskWatch("scratch-OST0000", Ext4Reader(disk.oss2.device), views.append)
    watch.set_interval(FAST_INTERVAL)
    held_otherwise = len(descriptors_on(disk.oss2.device))
    watch.start()
    await watch.fresh(5)
    assert len(descriptors_on(disk.oss2.device)) == held_otherwise + 1
    await watch.release(5)
    assert len(descriptors_on(disk.oss2.device)) == held_otherwise
    count = len(views)
    with pytest.raises(DiskStalledError):
        await watch.fresh(0.3)
    assert len(views) == count
    watch.resume()
    await wait_for_async(lambda: len(views) > count, 5, "it reads again")
    watch.close()


@pytest.mark.contract
async def test_device_path_that_moves_to_another_disk_is_followed(
    tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk]
) -> None:
    one, other = (new_disk(make_image(tmp_path / f"{name}.img"), 512) for name in ("one", "other"))
    link = tmp_path / "wwn"
    link.symlink_to(one.oss1.device)
    watch = watch_on(str(link), [])
    before = (await watch.fresh(5)).probe.uuid
    link.unlink()
    link.symlink_to(other.oss1.device)
    await wait_for_async(
        lambda: watch.view is not None and watch.view.probe.uuid != before, 5, "the other disk is read"
    )
    watch.close()


class StallingReader:
    """A disk that answers while `gate` is open, and stalls when it is not: a read that blocks in a pipe."""

    def __init__(self) -> None:
        self.reading, self._feed = os.pipe()
        self.closed_in: list[str] = []

    def answer(self, count: int = 1) -> None:
        os.write(self._feed, b"x" * count)

    def read(self) -> Probe:
        began = time.monotonic()
        os.read(self.reading, 1)
        return Probe("/dev/stalled", began, time.monotonic(), mmp_enabled=True, state=MmpState.CLEAN, raw_block=b"1")

    def close(self) -> None:
        self.closed_in.append(threading.current_thread().name)


@pytest.mark.scenario
async def test_stalled_disk_ages_and_delays_nothing_but_itself() -> None:
    stalled, healthy = StallingReader(), StallingReader()
    views: list[DiskView] = []
    bad, good = DiskWatch("bad", stalled, lambda _: None), DiskWatch("good", healthy, views.append)
    for watch in (bad, good):
        watch.set_interval(0.01)
        watch.start()
    healthy.answer(20)
    await wait_for_async(lambda: len(views) == 20, 5, "the other disk is read on")
    with pytest.raises(DiskStalledError, match="bad: the disk did not answer"):
        await bad.fresh(0.1)
    with pytest.raises(DiskStalledError, match="could not be let go"):
        await bad.release(0.1)
    assert bad.age() > 0.2
    stalled.answer(2)
    await wait_for_async(lambda: bad.view is not None, 5, "it answers again, and is read though its release had failed")
    bad.close()
    good.close()
    stalled.answer()
    healthy.answer()
    await wait_for_async(lambda: stalled.closed_in == ["watch-bad"], 5, "its own thread closes what was stuck")


@pytest.mark.scenario
def test_process_ends_though_a_watch_is_stuck() -> None:
    script = (
        "import asyncio\n"
        "from agent.test_watching_a_disk import StallingReader\n"
        "from ostkeeper.agent.watch import DiskWatch\n"
        "async def main():\n"
        "    watch = DiskWatch('stuck', StallingReader(), print); watch.start()\n"
        "    await asyncio.sleep(0); watch.close()\n"
        "asyncio.run(main())\n"
    )
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], timeout=20, check=False, env={**os.environ, "PYTHONPATH": str(tests)}
    )
    assert done.returncode == 0


def reading(at: float, block: bytes = b"1", error: str = "", state: MmpState = MmpState.SEQUENCE) -> Probe:
    return Probe("/dev/x", at, at + 0.01, raw_block=block, state=state, update_interval=1.0, error=error)


def views_of(*probes: Probe) -> list[DiskView]:
    view, views = None, []
    for probe in probes:
        view = next_view(view, probe)
        views.append(view)
    return views


@pytest.mark.scenario
def test_single_reading_tells_neither_advancing_nor_still() -> None:
    (view,) = views_of(reading(10))
    assert (view.activity, view.unmoved, view.moves) == (Activity.UNKNOWN, 0.0, 0)


@pytest.mark.scenario
def test_stillness_counts_from_the_end_of_the_first_reading_to_the_begin_of_the_last() -> None:
    views = views_of(reading(10), reading(12), reading(12.02))
    assert [view.activity for view in views] == [Activity.UNKNOWN, Activity.UNKNOWN, Activity.STILL]
    assert views[1].unmoved == pytest.approx(1.99)


@pytest.mark.scenario
def test_disk_is_read_in_the_moment_in_which_it_may_have_stood_still_for_long_enough() -> None:
    advancing, _, second, still = views_of(reading(10), reading(10.5), reading(11.8), reading(12.01))
    assert next_reading(advancing, 0.5) == pytest.approx(10.5)
    assert next_reading(second, 0.5) == pytest.approx(12.01)
    assert still.activity is Activity.STILL
    assert next_reading(still, 0.5) == pytest.approx(12.51)


@pytest.mark.scenario
def test_any_changed_byte_ends_stillness_and_is_never_forgotten() -> None:
    views = views_of(reading(10), reading(13), reading(14, b"2"), reading(17, b"2"))
    assert [view.activity for view in views[1:]] == [Activity.STILL, Activity.ADVANCING, Activity.STILL]
    assert [view.moves for view in views] == [0, 0, 1, 1]


@pytest.mark.scenario
def test_failed_reading_neither_moves_nor_prolongs_stillness() -> None:
    views = views_of(reading(10), reading(11, error="I/O error"), reading(13, error="I/O error"))
    assert views[-1].activity is Activity.UNREADABLE
    assert views[-1].unmoved == 0.0
    assert next_view(views[-1], reading(14)).moves == 0


@pytest.mark.scenario
def test_disk_never_read_is_unreadable() -> None:
    (view,) = views_of(reading(10, error="No such device"))
    assert view.activity is Activity.UNREADABLE
    assert view.good is None


@pytest.mark.scenario
def test_other_file_system_at_the_same_path_counts_as_a_move() -> None:
    before = next_view(None, reading(10))
    assert next_view(before, reading(11)._replace(uuid="another")).moves == 1
