"""The agent on a real API server and a real disk: its lease, its report, mounts, releases, nonces, the certified fast path."""

import itertools
import os
import time
from pathlib import Path

import pytest

from agent.disks import SharedDisk
from agent_shell.floor import APIS, DEAD_BOOT, TARGET, Floor, Json, floor, own_plane
from ostkeeper.api.common import API_VERSION, pending_of
from ostkeeper.testbed.controlplane import ControlPlane
from waiting import wait_for_async

pytestmark = pytest.mark.contract


async def test_agent_mounts_under_serve_and_releases_under_release(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with floor(plane, shared_disk, tmp_path) as made, made.agent():
        await made.reported("Unmounted")
        lease = await made.lease()
        assert lease["spec"]["holderIdentity"] == f"oss1/{made.boot_id}"

        await made.assign(1, "Serve")
        await made.reported("Mounted")
        assert made.mount_point.is_mount()
        assert (await made.report())["epochSeen"] == 1

        await made.assign(2, "Release")
        released = (await made.reported("Unmounted"))["released"]
        assert released == {"epoch": 2, "bootID": made.boot_id, "dirty": False}
        assert not made.mount_point.is_mount()


async def test_nonce_is_answered_with_what_is_read_after_it(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with floor(plane, shared_disk, tmp_path) as made, made.agent():
        await made.reported("Unmounted")
        shared_disk.oss2.mount()
        numbers = itertools.count(1)

        async def at_once() -> Json:
            value = f"n{next(numbers)}"
            await made.status(1, nonce={"value": value, "open": True})
            began = time.monotonic()
            found = await made.answered(value)
            assert time.monotonic() - began < 1.0
            return found

        answer = await wait_for_async(at_once, 30.0, "a nonce is answered at once, unless the machine stands still")
        assert answer["mounted"] == []
        assert [disk["target"] for disk in answer["disks"]] == [TARGET]

        async def moved() -> bool:
            return (await made.answered(answer["value"])).get("moved") == [TARGET]

        await wait_for_async(moved, 15.0, "the partner's mount moves the block, and the answer says so")


async def test_certificate_clears_mmp_and_the_mount_does_not_wait_as_the_kernel_would(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with floor(plane, shared_disk, tmp_path) as made, made.agent():
        await made.reported("Unmounted")
        shared_disk.oss2.mount()
        await made.assign(1, "Serve", node="oss2")
        await made.reported("Unmounted")
        shared_disk.oss2.cut()
        await made.status(1, nonce={"value": "n1", "failover": "pair-a-2", "level": 0, "open": True})

        async def still() -> bool:
            disk = (await made.answered("n1"))["disks"][0]
            return bool(disk["state"] == "Still")

        await wait_for_async(still, 10.0, "the dead server's block stands still")
        disk = (await made.answered("n1"))["disks"][0]
        proof = {key: disk[key] for key in ("target", "state", "block", "mark")} | {"reported": disk["mark"]}
        mounted = {"target": disk["target"], "state": "Mounted", "mark": disk["mark"]}
        await made.admin.patch(f"{APIS}/osses/oss2/status", {"status": {"bootID": DEAD_BOOT, "targets": [mounted]}})
        warrant = await made.certify(2, proof)
        await made.assign(3, "Hold", node="oss2", activeFailover="pair-a-2")
        began = time.monotonic()
        await made.assign(4, "Serve", node="oss1", warrant=warrant)
        target = await made.reported("Mounted")
        assert time.monotonic() - began < 10.0, "the kernel's own wait is 22 s"
        assert target["clearedMMP"] is True
        assert made.mount_point.is_mount()


async def test_restarted_agent_finds_its_mount_and_changes_nothing(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with floor(plane, shared_disk, tmp_path) as made:
        async with made.agent():
            await made.assign(1, "Serve")
            first = await made.reported("Mounted")
        assert made.mount_point.is_mount()
        started = (await made.report())["agentStart"]
        async with made.agent():

            async def again() -> bool:
                return bool((await made.report())["agentStart"] != started)

            await wait_for_async(again, 10.0, "the new agent reports")
            second = await made.reported("Mounted")
            assert second["epoch"] == first["epoch"] == 1
        assert not made.stopped


async def test_machine_stops_without_unmounting_when_its_target_is_served_elsewhere(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with floor(plane, shared_disk, tmp_path) as made, made.agent():
        await made.assign(1, "Serve")
        await made.reported("Mounted")
        await made.assign(3, "Serve", node="oss2", warrant={"adopted": {"nonce": "another"}}, adopted=3)
        await wait_for_async(lambda: made.stopped, 15.0, "the machine is stopped")
        assert made.mount_point.is_mount()


async def test_api_server_that_goes_away_and_comes_back_changes_no_mount(
    shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with own_plane(tmp_path / "plane") as plane, floor(plane, shared_disk, tmp_path) as made, made.agent():
        await made.assign(1, "Serve")
        await made.reported("Mounted")
        await plane.stop_apiserver()
        await plane.start_apiserver()
        before = (await made.lease())["spec"]["renewTime"]

        async def beats() -> bool:
            return bool((await made.lease())["spec"]["renewTime"] > before)

        await wait_for_async(beats, 15.0, "the heartbeat is back")
        assert made.mount_point.is_mount()
        assert not made.stopped
        await made.assign(2, "Release")
        assert (await made.reported("Unmounted", 30.0))["released"]["epoch"] == 2


async def hangs(made: Floor) -> bool:
    target = await made.reported("Mounting")
    return target["child"] is True


async def test_agents_heartbeat_goes_on_while_its_mount_hangs(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that hangs is played by a `mount` in PATH that waits for a FIFO; the agent is restarted in between."""
    gate, tools = tmp_path / "gate", tmp_path / "bin"
    os.mkfifo(gate)
    tools.mkdir()
    (tools / "mount").write_text(f'#!/bin/sh\nread -r _ < {gate}\nexec /bin/mount "$@"\n')
    (tools / "mount").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    async with floor(plane, shared_disk, tmp_path) as made:
        async with made.agent():
            await made.assign(1, "Serve")
            await wait_for_async(lambda: hangs(made), 15.0, "a child of the agent is told of")
            before = (await made.lease())["spec"]["renewTime"]

            async def beats() -> bool:
                return bool((await made.lease())["spec"]["renewTime"] > before)

            await wait_for_async(beats, 10.0, "the heartbeat goes on")
        async with made.agent():

            async def refused() -> bool:
                target = await made.reported("Refused")
                return (target["reason"], target["child"]) == ("ChildAlive", True)

            await wait_for_async(refused, 10.0, "the child of the earlier agent is told of")
            await made.status(1, nonce={"value": "n1", "open": True})
            assert (await made.answered("n1"))["children"] == [TARGET]
            gate.write_text("go\n")
            mounted = await made.reported("Mounted")
            assert mounted["epoch"] == 1


async def test_lease_goes_on_and_says_that_its_report_cannot_be_written(
    plane: ControlPlane, shared_disk: SharedDisk, tmp_path: Path
) -> None:
    async with floor(plane, shared_disk, tmp_path) as made, made.agent():
        await made.reported("Unmounted")
        await made.admin.delete(f"{APIS}/osses/oss1")
        await made.status(1, nonce={"value": "n-unanswered", "open": True})

        async def pending() -> str:
            return str((await made.lease())["metadata"]["annotations"]["ostkeeper.dev/report-pending"])

        async def refused() -> bool:
            return (age := pending_of(await pending()))[0] is not None and "404" in age[1]

        await wait_for_async(refused, 20.0, "the lease says that the report is refused, and with what")
        oss = {"spec": {"pair": {"namespace": made.namespace, "name": "pair-a"}}, "metadata": {"name": "oss1"}}
        await made.admin.create(f"{APIS}/osses", {"apiVersion": API_VERSION, "kind": "OSS", **oss})

        async def written() -> bool:
            return await pending() == ""

        await wait_for_async(written, 20.0, "nothing is pending once the report is taken")
