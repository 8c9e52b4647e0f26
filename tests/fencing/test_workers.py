"""IPMI workers are killed at the deadline, stay apart from each other, and leave nothing behind."""

import asyncio
import os
import signal
import time

import pytest

from fencing.bench import bench, driver, soon, world
from fencing.processes import alive, command_line, descendants, matching, parent
from ostkeeper.core.power import PowerState
from ostkeeper.ports import DeviceSilent
from ostkeeper.testbed.devices import bmc_spec, pdu_spec
from waiting import wait_for_async

pytestmark = pytest.mark.contract
WORKER = "ostkeeper.fencing.ipmi_worker"
DEADLINE = 6.0
"""Seconds that a dead device costs: whoever had to wait for one would not be done earlier."""


def _workers() -> list[int]:
    """Forked workers: they bear the fork server's command line, and are its children."""
    return [pid for pid in matching(WORKER) if WORKER in command_line(parent(pid))]


async def test_worker_that_hangs_is_killed_at_the_deadline_and_replaced() -> None:
    async with bench("ipmi") as one:
        (worker,) = _workers()
        os.kill(worker, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(DeviceSilent):
            await one.device.off("", soon(0.5))
        assert 0.4 < time.monotonic() - began < 10.0, "it would hang for ever"
        assert not alive(worker), "off returned while its worker could still send"
        assert one.live
        assert (await one.device.read("", soon())).state is PowerState.ON
        assert _workers() != [worker]


async def test_worker_that_dies_reads_unknown_then_works_again() -> None:
    async with bench("ipmi") as one:
        await one.devices.fault("dev", kind="silent")
        (worker,) = _workers()
        reading = asyncio.create_task(one.device.read("", soon(10)))
        await asyncio.wait([reading], timeout=0.2)
        os.kill(worker, signal.SIGKILL)
        assert (await reading).state is PowerState.UNKNOWN
        await one.devices.fault("dev", kind="normal")
        assert (await one.device.read("", soon())).state is PowerState.ON


async def test_cancelled_operation_returns_when_its_worker_is_gone() -> None:
    async with bench("ipmi") as one:
        await one.devices.fault("dev", kind="silent")
        (worker,) = _workers()
        shot = asyncio.create_task(one.device.off("", soon(10)))
        await asyncio.wait([shot], timeout=0.2)
        shot.cancel()
        await asyncio.wait([shot])
        assert shot.cancelled()
        assert not alive(worker)


async def test_fork_server_that_dies_is_started_again() -> None:
    async with bench("ipmi") as one:
        (worker,) = _workers()
        os.kill(parent(worker), signal.SIGKILL)
        await wait_for_async(lambda: not alive(worker), 5, "a worker dies with its fork server")
        await one.device.read("", soon(2))
        assert (await one.device.read("", soon(20))).state is PowerState.ON


async def test_close_leaves_no_process() -> None:
    async with bench("ipmi") as one:
        assert matching(WORKER)
        await one.device.close()
        assert matching(WORKER) == []


async def test_no_command_line_shows_a_password() -> None:
    async with world(
        [bmc_spec("b", "oss1", "127.0.0.1", "0" * 32, port=0)], [pdu_spec("p", "127.0.0.1", 2, port=0)]
    ) as it:
        devices = [driver(it.devices, name) for name in ("b", "p")]
        for device in devices:
            await device.prepare(soon(20))
        shown = "\n".join(command_line(pid) for pid in descendants())
        for device in devices:
            await device.close()
        assert WORKER in shown
        secrets = [value for name in ("b", "p") for value in it.devices.secret(name).values() if value != b"ostkeeper"]
        assert [value for value in secrets if value.decode() in shown] == []


async def test_dead_devices_do_not_delay_living_ones() -> None:
    """Twenty BMCs, every other one dead, and a PDU: all asked at once. (pyghmi's threads deadlock on this.)"""
    names = [f"bmc{n:02}" for n in range(20)]
    bmcs = [bmc_spec(name, name, "127.0.0.1", "0" * 32, port=0) for name in names]
    async with world(bmcs, [pdu_spec("pdu", "127.0.0.1", 2, port=0)]) as it:
        devices = {name: driver(it.devices, name) for name in [*names, "pdu"]}
        await asyncio.gather(*(device.prepare(soon(30)) for device in devices.values()))
        dead = names[::2]
        await asyncio.gather(*(it.devices.fault(name, kind="silent") for name in dead))

        async def timed(name: str) -> tuple[str, PowerState, float]:
            began = time.monotonic()
            reading = await devices[name].read("1" if name == "pdu" else "", soon(DEADLINE))
            return name, reading.state, time.monotonic() - began

        answers = await asyncio.gather(*map(timed, devices))
        for name, state, seconds in answers:
            assert state is (PowerState.UNKNOWN if name in dead else PowerState.ON), name
            assert seconds < (2 * DEADLINE if name in dead else DEADLINE), name
        await asyncio.gather(*(device.close() for device in devices.values()))
        assert matching(WORKER) == []
