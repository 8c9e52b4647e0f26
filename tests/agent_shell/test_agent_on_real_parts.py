"""The agent on a real API server and a real disk: its lease, its report, mounts, releases, nonces, the certified fast path."""

import time
from pathlib import Path

import pytest

from agent.disks import SharedDisk
from agent_shell.floor import TARGET, floor
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
        await made.status(1, nonce={"value": "n1", "open": True})
        began = time.monotonic()
        answer = await made.answered("n1")
        assert time.monotonic() - began < 1.0
        assert answer["mounted"] == []
        assert [disk["target"] for disk in answer["disks"]] == [TARGET]

        async def moved() -> bool:
            return (await made.answered("n1")).get("moved") == [TARGET]

        await wait_for_async(moved, 5.0, "the partner's mount moves the block, and the answer says so")


async def test_certificate_clears_mmp_and_the_mount_takes_less_than_a_second(
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
        proof = {key: disk[key] for key in ("target", "state", "block", "mark")}
        warrant = await made.certify(2, proof)
        await made.assign(3, "Hold", node="oss2")
        began = time.monotonic()
        await made.assign(4, "Serve", node="oss1", warrant=warrant)
        target = await made.reported("Mounted")
        assert time.monotonic() - began < 1.0
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
        await made.assign(3, "Serve", node="oss2", warrant={"adopted": {"nonce": "another"}})
        await wait_for_async(lambda: made.stopped, 5.0, "the machine is stopped")
        assert made.mount_point.is_mount()
