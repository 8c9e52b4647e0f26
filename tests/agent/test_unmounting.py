"""A Release unmounts one mount by its identity: nothing that stands on the same path, or on top of it, is touched."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.disks import SharedDisk, run
from ostkeeper.agent import unmount_child
from ostkeeper.agent.backends.base import Backend, Failure
from ostkeeper.agent.backends.registry import backend_for
from ostkeeper.agent.children import Children
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.mounts import MountEntry, read_mounts

TARGET = "scratch-OST0000"


async def mounted(disk: SharedDisk, children: Children) -> tuple[Backend, MountEntry]:
    backend = backend_for("ext4", TARGET, disk.oss1.device, children)
    disk.oss1.mount()
    (entry,) = backend.mounts(read_mounts())
    return backend, entry


async def failure_of(backend: Backend, locks: Locks, mount: MountEntry) -> Failure | None:
    child = await backend.unmount(locks.take(TARGET), mount)
    return backend.unmount_failure(await child.wait())


def table() -> list[int]:
    return [entry.mount_id for entry in read_mounts()]


@pytest.mark.contract
@pytest.mark.parametrize("below", ["", "sub"])
async def test_what_an_admin_stacked_on_the_mount_stays_and_is_named(
    disk: SharedDisk, children: Children, locks: Locks, below: str
) -> None:
    backend, entry = await mounted(disk, children)
    on_top = disk.oss1.mount_point / below
    on_top.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "adminfs", str(on_top))
    before = table()
    failure = await failure_of(backend, locks, entry)
    assert failure is not None
    assert failure.reason == "MountedOver"
    assert f"adminfs (tmpfs) on {on_top}" in failure.message
    assert table() == before
    run("umount", str(on_top))
    assert await failure_of(backend, locks, entry) is None
    assert entry.mount_id not in table()


@pytest.mark.contract
async def test_mount_that_is_hidden_under_another_path_is_not_unmounted(
    tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk], disk: SharedDisk, children: Children, locks: Locks
) -> None:
    backend, entry = await mounted(disk, children)
    parent = disk.oss1.mount_point.parent
    run("mount", "-t", "tmpfs", "adminfs", str(parent))
    disk.oss1.mount_point.mkdir()
    run("mount", "-t", "tmpfs", "otherfs", str(disk.oss1.mount_point))
    before = table()
    failure = await failure_of(backend, locks, entry)
    run("umount", str(disk.oss1.mount_point))
    run("umount", str(parent))
    assert failure is not None
    assert failure.reason == "MountedOver"
    assert "otherfs (tmpfs)" in failure.message
    assert entry.mount_id in before
    assert await failure_of(backend, locks, entry) is None


@pytest.mark.contract
async def test_another_mount_in_the_place_of_ours_is_not_unmounted(
    disk: SharedDisk, children: Children, locks: Locks
) -> None:
    backend, entry = await mounted(disk, children)
    disk.oss1.unmount()
    run("mount", "-t", "tmpfs", "adminfs", str(disk.oss1.mount_point))
    before = table()
    for claimed in (entry, replace(entry, mount_id=before[-1])):  # also where the kernel gave the ID to another mount
        failure = await failure_of(backend, locks, claimed)
        assert failure is not None
        assert failure.reason == "NotMounted"
        assert table() == before
    run("umount", str(disk.oss1.mount_point))


@pytest.mark.contract
async def test_mount_that_was_moved_is_not_unmounted_by_its_old_path(
    disk: SharedDisk, children: Children, locks: Locks, tmp_path: Path
) -> None:
    backend, entry = await mounted(disk, children)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run("mount", "--move", str(disk.oss1.mount_point), str(elsewhere))
    failure = await failure_of(backend, locks, entry)
    run("mount", "--move", str(elsewhere), str(disk.oss1.mount_point))
    assert failure is not None
    assert failure.reason == "NotMounted"
    assert entry.mount_id in table()


ROOT = (1, 0, "0:1", "/", "rootfs (rootfs)")
OST = (10, 1, "7:0", "/mnt/ost", "/dev/loop0 (ext4)")


@pytest.mark.scenario
@pytest.mark.parametrize(
    ("others", "why"),
    [
        ([], ""),
        ([(11, 1, "0:9", "/mnt/ost10", "a (tmpfs)")], ""),
        ([(11, 10, "0:9", "/mnt/ost", "a (tmpfs)")], "a (tmpfs) on /mnt/ost is mounted on top"),
        ([(11, 1, "0:9", "/mnt", "a (tmpfs)")], "the path leads to a (tmpfs) on /mnt"),
        ([(11, 1, "0:8", "/mnt", "a (tmpfs)"), (12, 11, "0:9", "/mnt/ost", "b (tmpfs)")], "b (tmpfs) on /mnt/ost"),
    ],
)
def test_refusal_follows_the_tree_of_mounts(others: list[unmount_child.Row], why: str) -> None:
    assert why in unmount_child.refusal([ROOT, OST, *others], 10, "7:0", "/mnt/ost")
    assert bool(why) == bool(unmount_child.refusal([ROOT, OST, *others], 10, "7:0", "/mnt/ost"))


@pytest.mark.scenario
def test_what_our_mount_itself_stands_on_is_no_reason_to_refuse() -> None:
    first, second = (8, 1, "0:8", "/mnt/ost", "a (tmpfs)"), (9, 8, "0:9", "/mnt/ost", "b (tmpfs)")
    assert unmount_child.refusal([ROOT, first, second, (10, 9, *OST[2:])], 10, "7:0", "/mnt/ost") == ""
