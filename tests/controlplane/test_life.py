"""The control plane's life: several at once, restarts, going back in time, and nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ostkeeper.testbed.controlplane import ControlPlane, ControlPlaneError
from ostkeeper.testbed.controlplane_client import ApiClient, ApiError
from waiting import wait_for

pytestmark = pytest.mark.contract
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def names(client: ApiClient) -> set[str]:
    items = (await client.get(CONFIG_MAPS))["items"]
    return {item["metadata"]["name"] for item in items}


async def test_two_run_side_by_side_and_know_nothing_of_each_other(tmp_path: Path) -> None:
    left, right = ControlPlane(tmp_path / "left"), ControlPlane(tmp_path / "right")
    async with left, right, left.client() as in_left, right.client() as in_right:
        assert await in_left.text("/readyz") == "ok"
        assert await in_right.text("/readyz") == "ok"
        await in_left.create(CONFIG_MAPS, config_map("only-left"))
        assert "only-left" in await names(in_left)
        assert "only-left" not in await names(in_right)


async def test_stop_leaves_no_process_and_may_be_repeated(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "plane")
    await plane.start()
    pids = plane.pids
    assert set(pids) == {"etcd", "kube-apiserver"}
    assert all(is_alive(pid) for pid in pids.values())
    await plane.stop()
    await plane.stop()
    assert not any(is_alive(pid) for pid in pids.values())
    assert plane.pids == {}


def test_killed_parent_takes_both_servers_along(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, signal\n"
        "from ostkeeper.testbed.controlplane import ControlPlane\n"
        f"plane = ControlPlane(pathlib.Path({str(tmp_path / 'plane')!r}))\n"
        "asyncio.run(plane.start())\n"
        "print(*plane.pids.values(), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(is_alive(pid) for pid in pids), 10, "etcd and kube-apiserver end with their parent")


async def test_restarted_api_server_keeps_data_and_address(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane, plane.client() as client:
        url = plane.url
        await client.create(CONFIG_MAPS, config_map("kept"))
        await plane.stop_apiserver()
        with pytest.raises(Exception, match="Cannot connect"):
            await client.text("/readyz")
        await plane.start_apiserver()
        assert plane.url == url
        assert "kept" in await names(client)


async def test_restore_goes_back_to_the_snapshot_and_its_resource_version(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane, plane.client() as client:
        before = await client.create(CONFIG_MAPS, config_map("thing", colour="old"))
        await plane.snapshot(tmp_path / "snapshot")
        after = await client.patch(f"{CONFIG_MAPS}/thing", {"data": {"colour": "new"}})
        await client.create(CONFIG_MAPS, config_map("later"))
        await plane.restore(tmp_path / "snapshot")
        restored = await client.get(f"{CONFIG_MAPS}/thing")
        assert restored["data"] == {"colour": "old"}
        assert restored["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert int(after["metadata"]["resourceVersion"]) > int(restored["metadata"]["resourceVersion"])
        assert "later" not in await names(client)


async def test_snapshot_under_writes_holds_everything_acknowledged_before_it(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane, plane.client() as client:
        acknowledged: set[str] = set()

        async def write_until(stopped: asyncio.Event) -> None:
            while not stopped.is_set():
                name = f"written-{len(acknowledged)}"
                await client.create(CONFIG_MAPS, config_map(name))
                acknowledged.add(name)

        stopped = asyncio.Event()
        writer = asyncio.create_task(write_until(stopped))
        while len(acknowledged) < 50:
            await asyncio.wait([writer], timeout=0.01)
        at_least = set(acknowledged)
        await plane.snapshot(tmp_path / "snapshot")
        stopped.set()
        await writer
        await plane.restore(tmp_path / "snapshot")
        assert at_least <= await names(client)


async def test_restore_without_a_snapshot_stops_nothing(control_plane: ControlPlane, tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="no snapshot there"):
        await control_plane.restore(tmp_path / "absent")
    async with control_plane.client() as client:
        assert await client.text("/readyz") == "ok"


async def test_identity_that_nobody_declared_is_named_with_those_that_were(control_plane: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError, match="no token for 'eve'; it knows admin, "):
        control_plane.token("eve")


async def test_started_again_in_its_directory_it_keeps_data_and_tokens(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as first, first.client() as client:
        await client.create(CONFIG_MAPS, config_map("kept"))
        token = first.token("admin")
    async with ControlPlane(tmp_path / "plane") as second, second.client() as client:
        assert second.token("admin") == token
        assert "kept" in await names(client)
        with pytest.raises(ApiError, match="404"):
            await client.get(f"{CONFIG_MAPS}/never-written")
