"""One control plane with our CRDs, roles and policies for the tests here that do not stop it."""

import asyncio
from collections.abc import Iterator

import pytest

from controller.parts import made_ready
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    control_plane = ControlPlane(
        tmp_path_factory.mktemp("controller"), identities=identities.everyone(("oss1", "oss2"))
    )
    asyncio.run(_start(control_plane))
    yield control_plane
    asyncio.run(control_plane.stop())


async def _start(plane: ControlPlane) -> None:
    await plane.start()
    await made_ready(plane)
