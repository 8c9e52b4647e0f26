"""One simulated fence device of each kind, and its driver: what the contract suite runs on.

Here: the kinds, starting them, looking at the truth. Not here: any expectation.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fencing.fakeplane import FakePlane
from ostkeeper.api.fencedevice import FenceDeviceSpec
from ostkeeper.fencing.registry import open_device
from ostkeeper.ports import PowerDevice
from ostkeeper.testbed.devices import BmcSpec, Devices, PduSpec, bmc_spec, pdu_spec

KINDS = ("ipmi", "snmp-v2c", "snmp-v3")
GUID = "0123456789abcdef0123456789abcdef"


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> str:
        return ""


def soon(seconds: float = 5.0) -> float:
    """A deadline. 5 s: so long that a loaded machine does not fail a test that is not about deadlines."""
    return time.monotonic() + seconds


def driver(devices: Devices, name: str) -> PowerDevice:
    spec = FenceDeviceSpec.model_validate(devices.fence_device(name, "secret"))
    return open_device(spec, devices.secret(name), MonotonicClock(), name)


@asynccontextmanager
async def world(bmcs: list[BmcSpec], pdus: list[PduSpec], netns_pid: int | None = None) -> AsyncIterator["World"]:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ostkeeper-fd-")))
        plane = await stack.enter_async_context(FakePlane(directory / "plane.sock"))
        devices = Devices(directory / "devices", plane.path, bmcs, pdus)
        await devices.start(netns_pid)
        stack.push_async_callback(devices.stop)
        yield World(devices, plane)


@dataclass
class World:
    devices: Devices
    plane: FakePlane


@dataclass
class Bench:
    """One device named `dev`, one driver for it."""

    kind: str
    devices: Devices
    plane: FakePlane
    device: PowerDevice
    outlet: str
    feed: str

    @property
    def live(self) -> bool:
        """The truth: whether the relay lets current through."""
        return self.plane.on(self.feed)

    async def packets(self) -> int:
        return await self.devices.packets("dev")

    def another_driver(self) -> PowerDevice:
        return driver(self.devices, "dev")


@asynccontextmanager
async def bench(kind: str, serial: bool = True) -> AsyncIterator[Bench]:
    """`serial`: whether a PDU reports a serial number."""
    bmcs = [bmc_spec("dev", "oss1", "127.0.0.1", GUID, port=0, boot_seconds=0.2)] if kind == "ipmi" else []
    pdus = [] if bmcs else [pdu_spec("dev", "127.0.0.1", 4, version=kind.removeprefix("snmp-"), port=0)]
    if not serial:
        pdus = [replace(pdu, serial="") for pdu in pdus]
    async with world(bmcs, pdus) as made:
        device = driver(made.devices, "dev")
        outlet, feed = ("", "bmc:oss1") if bmcs else ("2", "dev/2")
        try:
            await device.prepare(soon(20))
            yield Bench(kind, made.devices, made.plane, device, outlet, feed)
        finally:
            await device.close()


async def ended(task: "asyncio.Task[object]") -> bool:
    """Wait for a task that was cancelled; return whether it ended by that."""
    await asyncio.wait([task])
    return task.cancelled()
