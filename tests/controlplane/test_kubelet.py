"""The played kubelets: who writes when a host lives, and what stands there when it does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiClient
from ostkeeper.testbed.kubelet import LEASES, Kubelets
from waiting import wait_for_async

pytestmark = pytest.mark.contract


@contextlib.asynccontextmanager
async def played(plane: ControlPlane, living: set[str], *nodes: str) -> AsyncIterator[ApiClient]:
    async with plane.client() as client:
        kubelets = Kubelets(client, living.__contains__, renew_seconds=0.3, grace_seconds=1.0)
        await kubelets.add(nodes)
        running = asyncio.create_task(kubelets.run())
        try:
            yield client
        finally:
            running.cancel()


async def ready(client: ApiClient, node: str) -> dict[str, Any]:
    conditions = (await client.get(f"/api/v1/nodes/{node}"))["status"].get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), {})


async def is_ready(client: ApiClient, node: str, status: str) -> bool:
    return (await ready(client, node)).get("status") == status


async def renewed(client: ApiClient, node: str) -> str:
    at: str = (await client.get(f"{LEASES}/{node}"))["spec"]["renewTime"]
    return at


async def test_living_kubelet_is_ready_and_renews_its_lease(control_plane: ControlPlane) -> None:
    async with played(control_plane, {"lives"}, "lives") as client:
        assert (await ready(client, "lives"))["status"] == "True"
        first = await renewed(client, "lives")

        async def moved() -> bool:
            return await renewed(client, "lives") > first

        await wait_for_async(moved, 30, "a living kubelet renews its lease")


async def test_silent_kubelet_turns_unknown_after_the_grace_and_ready_when_it_is_back(
    control_plane: ControlPlane,
) -> None:
    living = {"stops", "goes-on"}
    async with played(control_plane, living, "stops", "goes-on") as client:
        living.discard("stops")
        await wait_for_async(lambda: is_ready(client, "stops", "Unknown"), 30, "the node controller notices")
        last, elsewhere = await renewed(client, "stops"), await renewed(client, "goes-on")

        async def goes_on() -> bool:
            return await renewed(client, "goes-on") > elsewhere

        await wait_for_async(goes_on, 30, "the other one goes on")
        silent = await ready(client, "stops")
        assert (silent["reason"], await renewed(client, "stops")) == ("NodeStatusUnknown", last)
        assert (await ready(client, "goes-on"))["status"] == "True"
        living.add("stops")
        await wait_for_async(lambda: is_ready(client, "stops", "True"), 30, "a kubelet that is back is Ready")


async def test_kubelet_that_never_started_is_unknown_and_not_ready(control_plane: ControlPlane) -> None:
    async with played(control_plane, set(), "never") as client:
        await wait_for_async(
            lambda: is_ready(client, "never", "Unknown"), 30, "a node that never reported turns Unknown"
        )
