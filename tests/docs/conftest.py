"""A control plane with our CRDs, roles and policies, for what README.md tells people to type at kubectl."""

import asyncio
from collections.abc import Iterator

import pytest

from docs.readme import ROOT
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    control_plane = ControlPlane(tmp_path_factory.mktemp("docs"), identities=identities.everyone(("oss1", "oss2")))
    asyncio.run(_make_ready(control_plane))
    yield control_plane
    asyncio.run(control_plane.stop())


async def _make_ready(plane: ControlPlane) -> None:
    await plane.start()
    await plane.apply([ROOT / "crds", ROOT / "deploy" / "testbed"])
    await plane.kubectl("create", "namespace", "scratch")
