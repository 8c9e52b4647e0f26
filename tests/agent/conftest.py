"""Fixtures of the agent's tests. What a shared disk is stands in `disks`.

Needs root and loop devices; without them the tests that ask for a disk are skipped, and say so.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.disks import SharedDisk, make_image, private_mounts
from ostkeeper.agent.children import Children
from ostkeeper.agent.locks import Locks


def _need_loop_devices() -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs root and loop devices (modprobe loop): real disks are what these tests are about")


@pytest.fixture
def own_mounts() -> Iterator[None]:
    """Mounts that nobody else on this machine sees, and that are gone after the test."""
    _need_loop_devices()
    with private_mounts():
        yield


@pytest.fixture
def new_disk(tmp_path: Path, own_mounts: None) -> Iterator[Callable[[Path, int], SharedDisk]]:
    """A shared disk on an image that the test made: (image, sector size in bytes)."""
    with contextlib.ExitStack() as stack:

        def make(image: Path, sector_size: int) -> SharedDisk:
            directory = tmp_path / f"servers-{image.stem}"
            directory.mkdir()
            disk = SharedDisk(directory, image, sector_size)
            stack.callback(disk.let_go)
            return disk

        yield make


@pytest.fixture(params=[512, 4096], ids=["512-byte-sectors", "4096-byte-sectors"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, new_disk: Callable[[Path, int], SharedDisk]) -> SharedDisk:
    return new_disk(make_image(tmp_path / "ost.img"), request.param)


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(tmp_path / "locks")


@pytest.fixture
def children(tmp_path: Path, locks: Locks) -> Children:
    return Children(locks, tmp_path / "children")
