"""One control plane for all tests here, with the CRDs, the agents' RBAC and the admission policies in force."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.disks import SharedDisk, make_image, private_mounts
from agent_shell.floor import NODES, manifests
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"), identities=identities.everyone(NODES))

    async def start() -> None:
        await plane.start()
        await plane.apply(manifests())

    asyncio.run(start())
    yield plane
    asyncio.run(plane.stop())


@pytest.fixture
def shared_disk(tmp_path: Path) -> Iterator[SharedDisk]:
    """One ext4 with MMP, and a loop device on it for each of two servers, in a mount namespace of the test's own."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs root and loop devices (modprobe loop): real disks are what these tests are about")
    with contextlib.ExitStack() as stack:
        stack.enter_context(private_mounts())
        disk = SharedDisk(tmp_path, make_image(tmp_path / "ost.img"), 512)
        stack.callback(disk.let_go)
        yield disk
