"""Mounting, unmounting and letting go, on real disks: what the backend starts, and how it words what goes wrong."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.blocks import block_of, with_sequence, write_block
from agent.disks import Server, SharedDisk, make_image, run
from ostkeeper.agent import mounts
from ostkeeper.agent.backends import mmp
from ostkeeper.agent.backends.base import Backend, BackendUnavailableError, DiskError, Failure
from ostkeeper.agent.backends.ext4 import mount_command
from ostkeeper.agent.backends.registry import backend_for
from ostkeeper.agent.children import ChildExit, Children
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.mounts import read_mounts
from ostkeeper.core.diskview import Mark, MmpState
from waiting import wait_for

TARGET = "scratch-OST0000"


def backend_on(device: str, children: Children) -> Backend:
    return backend_for("ext4", TARGET, device, children)


async def mount_failure(backend: Backend, locks: Locks, mount_point: Path, *options: str) -> Failure | None:
    child = await backend.mount(locks.take(TARGET), mount_point, options)
    return backend.mount_failure(await child.wait())


async def unmount_failure(backend: Backend, locks: Locks, mount_point: Path) -> Failure | None:
    mount = next(entry for entry in backend.mounts(read_mounts()) if entry.mount_point == str(mount_point))
    child = await backend.unmount(locks.take(TARGET), mount)
    return backend.unmount_failure(await child.wait())


@pytest.mark.contract
async def test_mount_makes_its_mount_point_and_carries_this_servers_mark(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    backend, mount_point = backend_on(disk.oss1.device, children), disk.oss1.mount_point
    mount_point.rmdir()
    assert await mount_failure(backend, locks, mount_point, "noatime", "nosuid,nodev") is None
    (entry,) = backend.mounts(read_mounts())
    assert (entry.mount_point, entry.file_system, entry.read_only) == (str(mount_point), "ext4", False)
    assert {"noatime", "nosuid", "nodev"} <= set(entry.options)
    probe = await backend.probe()
    assert probe.mark == Mark(os.uname().nodename, f"loop{disk.oss1.number}")
    assert (probe.state, probe.label, probe.needs_recovery) == (MmpState.SEQUENCE, TARGET, True)
    assert locks.holder(TARGET) is None, "a child that has ended holds no lock"


@pytest.mark.contract
async def test_released_needs_the_disk_free_and_clean(disk: SharedDisk, children: Children, locks: Locks) -> None:
    backend = backend_on(disk.oss1.device, children)
    assert await mount_failure(backend, locks, disk.oss1.mount_point) is None
    held = await backend.release_check()
    assert (held.exclusive, held.clean) == (False, False)
    assert await unmount_failure(backend, locks, disk.oss1.mount_point) is None
    assert (await backend.release_check()).clean
    write_block(disk.image, with_sequence(disk.image, 4711))
    left = await backend.release_check()
    assert (left.exclusive, left.clean) == (True, False), "left dirty by an earlier boot: free, and yet not released"


@contextmanager
def another_mount_namespace() -> Iterator[None]:
    """A process that keeps a copy of all present mounts, as a container runtime or a service manager may."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.communicate(timeout=10)


@pytest.mark.contract
async def test_released_says_no_while_another_mount_namespace_holds_the_mount(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    backend = backend_on(disk.oss1.device, children)
    assert await mount_failure(backend, locks, disk.oss1.mount_point) is None
    with another_mount_namespace():
        assert await unmount_failure(backend, locks, disk.oss1.mount_point) is None, "umount is content"
        assert backend.mounts(read_mounts()) == [], "and our mount table, too"
        check = await backend.release_check()
        assert not check.exclusive
        assert not check.clean
    wait_for(lambda: _free(disk.oss1), 10, "the other namespace is gone")
    assert (await backend.release_check()).clean


def _free(server: Server) -> bool:
    try:
        os.close(os.open(server.device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return False
    return True


@pytest.mark.contract
async def test_mount_while_active_elsewhere_fails_and_says_so(
    tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk], children: Children, locks: Locks
) -> None:
    disk = new_disk(make_image(tmp_path / "ost.img"), 512)
    disk.oss1.mount()
    backend = backend_on(disk.oss2.device, children)
    child = await backend.mount(locks.take(TARGET), disk.oss2.mount_point, [])
    held = [os.readlink(link) for link in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert str(tmp_path / "locks" / f"target-{TARGET}.lock") in held, "the real mount keeps what it inherits"
    wait_for(lambda: not _free(disk.oss2), 5, "a mount in flight holds the disk before any table shows it")
    assert not await backend.exclusive()
    failure = backend.mount_failure(await child.wait())
    assert failure is not None
    assert failure.reason == "ActiveElsewhere"


@pytest.mark.contract
async def test_mount_while_fsck_holds_the_disk_fails_at_once_and_leaves_the_block(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    write_block(disk.image, with_sequence(disk.image, mmp.SEQUENCE_FSCK))
    before = block_of(disk.image)
    failure = await mount_failure(backend_on(disk.oss2.device, children), locks, disk.oss2.mount_point)
    assert failure is not None
    assert failure.reason == "DeviceBusy"
    assert block_of(disk.image) == before


@pytest.mark.contract
async def test_mount_of_a_device_that_is_gone_starts_nothing(children: Children, locks: Locks, tmp_path: Path) -> None:
    backend = backend_on("/dev/disk/by-id/wwn-0x0", children)
    with pytest.raises(DiskError, match="wwn-0x0") as told:
        await backend.mount(locks.take(TARGET), tmp_path / "ost", [])
    assert told.value.reason == "DeviceMissing"
    assert not (tmp_path / "ost").exists()
    assert locks.holder(TARGET) is None


@pytest.mark.contract
async def test_mount_of_something_else_than_ext4_is_rejected(
    tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk], children: Children, locks: Locks
) -> None:
    image = tmp_path / "empty.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    disk = new_disk(image, 512)
    backend = backend_on(disk.oss1.device, children)
    assert "no ext4 here" in (await backend.probe()).error
    failure = await mount_failure(backend, locks, disk.oss1.mount_point)
    assert failure is not None
    assert failure.reason == "MountRejected"


@pytest.mark.contract
async def test_umount_of_a_busy_mount_point_fails_and_leaves_it_mounted(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    backend = backend_on(disk.oss1.device, children)
    assert await mount_failure(backend, locks, disk.oss1.mount_point) is None
    with (disk.oss1.mount_point / "open").open("w"):
        failure = await unmount_failure(backend, locks, disk.oss1.mount_point)
    assert failure is not None
    assert failure.reason == "MountPointBusy"
    assert len(backend.mounts(read_mounts())) == 1


@pytest.mark.contract
async def test_mount_whose_time_has_passed_is_never_started(disk: SharedDisk, children: Children, locks: Locks) -> None:
    backend = backend_on(disk.oss1.device, children)
    with pytest.raises(DiskError) as told:
        await backend.mount(locks.take(TARGET), disk.oss1.mount_point, [], until=time.monotonic())
    assert told.value.reason == "TooLate"
    assert backend.mounts(read_mounts()) == []
    assert locks.holder(TARGET) is None


@pytest.mark.contract
async def test_remounted_read_only_is_reported_by_the_mount_table(disk: SharedDisk, children: Children) -> None:
    disk.oss1.mount()
    run("mount", "-o", "remount,ro", str(disk.oss1.mount_point))
    (entry,) = backend_on(disk.oss1.device, children).mounts(read_mounts())
    assert entry.read_only


@pytest.mark.contract
async def test_foreign_mount_is_found_by_device_number_wherever_it_is(
    disk: SharedDisk, children: Children, tmp_path: Path
) -> None:
    alias = tmp_path / "alias"
    os.mknod(alias, 0o600 | 0o060000, os.makedev(7, disk.oss1.number))
    run("mount", "-t", "ext4", str(alias), str(disk.oss1.mount_point))
    (entry,) = backend_on(disk.oss1.device, children).mounts(read_mounts())
    assert entry.mount_point == str(disk.oss1.mount_point)
    assert mounts.at(read_mounts(), disk.oss1.mount_point) == entry


@pytest.mark.scenario
@pytest.mark.parametrize(
    "options",
    [
        ["ro"],
        ["noatime,ro"],
        ["loop=/dev/loop9"],
        ["remount"],
        ["offset=4096"],
        ["bind"],
        ["noload"],
        ["sb=8193"],
        ["nobarrier"],
    ],
)
def test_option_that_would_mount_past_mmp_is_refused(options: list[str]) -> None:
    with pytest.raises(DiskError) as told:
        mount_command("/dev/sda", Path("/mnt/ost0"), options)
    assert told.value.reason == "MountOptionRefused"


@pytest.mark.scenario
def test_mount_is_plain() -> None:
    command = mount_command("/dev/sda", Path("/mnt/ost0"), ["noatime", "errors=remount-ro"])
    assert command == ["mount", "-t", "ext4", "-o", "noatime,errors=remount-ro", "/dev/sda", "/mnt/ost0"]


@pytest.mark.scenario
@pytest.mark.parametrize("kind", ["ldiskfs", "zfs", ""])
def test_backend_of_another_release_is_refused_in_words(kind: str, children: Children) -> None:
    with pytest.raises(BackendUnavailableError, match="not served by this release"):
        backend_for(kind, TARGET, "pool/ost0", children)


@pytest.mark.scenario
def test_unknown_words_of_mount_are_handed_on(children: Children) -> None:
    failure = backend_on("/dev/sda", children).mount_failure(ChildExit(32, "mount: /x:\n something new.", 0.1))
    assert failure is not None
    assert failure.reason == "MountFailed"
    assert "mount: /x: something new. (exit code 32, 0.1s)" in failure.message


@pytest.mark.scenario
def test_mount_ended_by_a_signal_is_told(children: Children) -> None:
    failure = backend_on("/dev/sda", children).mount_failure(ChildExit(-9, "", 2.0))
    assert failure is not None
    assert "ended by signal 9" in failure.message
