"""One control plane for all tests here that do not stop it; those that do start their own."""

import asyncio
from collections.abc import Iterator

import pytest

from ostkeeper.testbed.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    asyncio.run(plane.start())
    yield plane
    asyncio.run(plane.stop())
