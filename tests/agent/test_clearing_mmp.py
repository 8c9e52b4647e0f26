"""Clearing MMP on real disks: what it buys, what it leaves alone, and everything that it refuses."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.blocks import block_of, superblock_of, with_sequence, write_block
from agent.disks import SharedDisk, make_image, run
from ostkeeper.agent.backends import mmp
from ostkeeper.agent.backends.base import Backend, ClearRefusedError
from ostkeeper.agent.backends.ext4 import Ext4Backend
from ostkeeper.agent.backends.registry import backend_for
from ostkeeper.agent.children import Children
from ostkeeper.agent.locks import Locks
from ostkeeper.core.diskview import MmpState
from waiting import wait_for_async

pytestmark = pytest.mark.contract

TARGET = "scratch-OST0000"
FILES = 200


def backend_on(device: str, children: Children) -> Backend:
    return backend_for("ext4", TARGET, device, children)


def write_synced_files(directory: Path) -> None:
    for number in range(FILES):
        with (directory / f"record-{number}").open("wb") as file:
            file.write(f"{number}".encode() * 100)
            file.flush()
            os.fsync(file.fileno())


def synced_files_in(directory: Path) -> int:
    return sum((directory / f"record-{n}").read_bytes() == f"{n}".encode() * 100 for n in range(FILES))


async def mount_seconds(backend: Backend, locks: Locks, mount_point: Path) -> float:
    began = time.monotonic()
    child = await backend.mount(locks.take(TARGET), mount_point, [])
    assert backend.mount_failure(await child.wait()) is None
    return time.monotonic() - began


async def test_clear_makes_the_mount_fast_and_keeps_every_synced_file_though_the_page_cache_was_stale(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    backend = backend_on(disk.oss2.device, children)
    disk.oss1.mount()
    Path(disk.oss2.device).read_bytes()  # what udev, blkid or dumpe2fs do: the partner's cache is full, and soon stale
    write_synced_files(disk.oss1.mount_point)
    disk.oss1.cut()
    certified = await backend.probe()
    assert certified.state is MmpState.SEQUENCE, "a power cut leaves MMP dirty, or this test shows nothing"

    began = time.monotonic()
    with locks.take(TARGET) as lock:
        cleared = await backend.clear_mmp(certified.raw_block, lock)
    assert cleared.state is MmpState.CLEAN
    await mount_seconds(backend, locks, disk.oss2.mount_point)
    assert time.monotonic() - began < 10.0, "the kernel's own wait is 22 s"
    assert synced_files_in(disk.oss2.mount_point) == FILES


async def test_clear_leaves_the_journal_to_be_replayed(
    tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk], children: Children, locks: Locks
) -> None:
    before = new_disk(make_image(tmp_path / "live.img"), 512)
    before.oss1.mount()
    write_synced_files(before.oss1.mount_point)
    run("cp", "--sparse=always", str(before.image), str(tmp_path / "crashed.img"))  # the journal not yet checkpointed
    crashed = new_disk(tmp_path / "crashed.img", 512)

    backend = backend_on(crashed.oss2.device, children)
    certified = await backend.probe()
    assert certified.needs_recovery
    with locks.take(TARGET) as lock:
        await backend.clear_mmp(certified.raw_block, lock)
    assert (await backend.probe()).needs_recovery, "clearing must not touch the super block"
    await mount_seconds(backend, locks, crashed.oss2.mount_point)
    assert synced_files_in(crashed.oss2.mount_point) == FILES


async def test_clear_writes_nothing_but_the_one_block(disk: SharedDisk, children: Children, locks: Locks) -> None:
    write_block(disk.image, with_sequence(disk.image, 4711))
    before, of = disk.image.read_bytes(), superblock_of(disk.image)
    with locks.take(TARGET) as lock:
        await backend_on(disk.oss2.device, children).clear_mmp(block_of(disk.image), lock)
    after = disk.image.read_bytes()
    end = of.mmp_offset + of.block_size
    assert after[: of.mmp_offset] == before[: of.mmp_offset]
    assert after[end:] == before[end:]
    assert after[of.mmp_offset : end] == mmp.cleaned(before[of.mmp_offset : end], of)


@pytest.mark.parametrize("block_size", [1024, 2048])
async def test_clear_leaves_the_neighbours_of_a_small_block_alone(
    block_size: int,
    tmp_path: Path,
    new_disk: Callable[[Path, int], SharedDisk],
    children: Children,
    locks: Locks,
) -> None:
    small = new_disk(make_image(tmp_path / "small.img", block_size=block_size), 512)
    await test_clear_writes_nothing_but_the_one_block(small, children, locks)


async def refused(disk: SharedDisk, children: Children, locks: Locks, expected: bytes) -> ClearRefusedError:
    """Ask to clear what must not be; hand back the refusal, once it is sure that nothing was written."""
    before = block_of(disk.image)
    with locks.take(TARGET) as lock, pytest.raises(ClearRefusedError) as told:
        await backend_on(disk.oss2.device, children).clear_mmp(expected, lock)
    assert block_of(disk.image) == before
    return told.value


async def test_clear_refuses_a_block_that_has_changed_since_the_certificate(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    write_block(disk.image, with_sequence(disk.image, 4711))
    certified = block_of(disk.image)
    write_block(disk.image, with_sequence(disk.image, 4712))
    assert (await refused(disk, children, locks, certified)).reason == "BlockChanged"


async def test_clear_refuses_a_block_that_was_unmounted_since_the_certificate(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    certified = with_sequence(disk.image, 4711)
    assert (await refused(disk, children, locks, certified)).reason == "BlockChanged"


async def test_clear_refuses_while_fsck_holds_the_disk(disk: SharedDisk, children: Children, locks: Locks) -> None:
    write_block(disk.image, with_sequence(disk.image, mmp.SEQUENCE_FSCK))
    assert (await refused(disk, children, locks, block_of(disk.image))).reason == "FsckRunning"


async def test_clear_refuses_an_odd_checksum_even_if_certified(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    odd = bytearray(with_sequence(disk.image, 4711))
    odd[1023] ^= 1
    write_block(disk.image, bytes(odd))
    assert (await refused(disk, children, locks, bytes(odd))).reason == "BlockDamaged"


async def test_clear_refuses_while_something_on_this_server_holds_the_disk(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    disk.oss2.mount()
    told = await refused(disk, children, locks, block_of(disk.image))
    assert told.reason == "DeviceBusy"


async def test_clear_does_nothing_to_a_block_that_is_clean(disk: SharedDisk, children: Children, locks: Locks) -> None:
    before = disk.image.read_bytes()
    with locks.take(TARGET) as lock:
        probe = await backend_on(disk.oss2.device, children).clear_mmp(block_of(disk.image), lock)
    assert probe.state is MmpState.CLEAN
    assert disk.image.read_bytes() == before


async def test_clear_that_comes_too_late_never_writes(disk: SharedDisk, children: Children, locks: Locks) -> None:
    write_block(disk.image, with_sequence(disk.image, 4711))
    before = block_of(disk.image)
    with locks.take(TARGET) as lock, pytest.raises(ClearRefusedError) as told:
        await backend_on(disk.oss2.device, children).clear_mmp(before, lock, until=time.monotonic())
    assert told.value.reason == "ClearAbandoned"
    assert block_of(disk.image) == before


async def test_clear_cancelled_while_the_disk_is_stalled_never_writes_and_holds_the_lock_until_it_has_ended(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    write_block(disk.image, with_sequence(disk.image, 4711))
    before, backend, unstall = block_of(disk.image), Ext4Backend(TARGET, disk.oss2.device, children), threading.Event()
    stalled = asyncio.ensure_future(backend._disk.run(unstall.wait))
    with locks.take(TARGET) as lock:
        clearing = asyncio.ensure_future(backend.clear_mmp(before, lock))
        await wait_for_async(lambda: "clear" in str(locks.holder(TARGET)), 5, "the clear is queued behind the stall")
        clearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await clearing
    assert locks.holder(TARGET) is not None, "it could still write, as far as anyone can tell"
    unstall.set()
    await stalled
    await wait_for_async(lambda: locks.holder(TARGET) is None, 5, "the clear has ended")
    assert block_of(disk.image) == before
