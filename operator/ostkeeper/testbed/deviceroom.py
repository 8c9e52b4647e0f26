"""The process that all simulated devices of one testbed live in, inside their network namespace.

Here: one JSON request a line on standard input, one JSON reply a line on standard output; the first line is the world.
A process of its own, so that devices answer while the testbed is busy, and so that everything it opens is in the right
namespace. It ends, with all simulators, when its standard input does. Not here: the API for the testbed (`devices`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from ostkeeper.testbed.bmc import Bmc, BmcSpec
from ostkeeper.testbed.pdu import Pdu, PduSpec
from ostkeeper.testbed.relay import PlaneClient
from ostkeeper.testbed.simulator import SimulatedDevice, SimulatorFailed, die_with_parent


class DeviceRoom:
    """All devices of a world, by name."""

    def __init__(self, world: dict[str, Any]) -> None:
        directory = Path(world["directory"])
        plane = PlaneClient(Path(world["plane"]))
        self.devices: dict[str, SimulatedDevice] = {}
        for raw in world["bmcs"]:
            bmc = BmcSpec(**raw)
            self.devices[bmc.name] = Bmc(bmc, directory / bmc.name, plane)
        for raw in world["pdus"]:
            pdu = PduSpec(**raw)
            self.devices[pdu.name] = Pdu(pdu, directory / pdu.name, plane)

    async def start(self) -> dict[str, Any]:
        """Start all of them; their real ports are in the reply."""
        await asyncio.gather(*(device.start() for device in self.devices.values()))
        return {"ports": {name: device.proxy.listen[1] for name, device in self.devices.items()}}

    async def stop(self) -> None:
        """Stop all of them."""
        await asyncio.gather(*(device.stop() for device in self.devices.values()))

    async def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks. Raises SimulatorFailed."""
        if request["op"] == "packets":
            return {"packets": {name: device.proxy.received for name, device in self.devices.items()}}
        name = request["name"]
        if name not in self.devices:
            raise SimulatorFailed(f"no device {name!r}; there are {', '.join(self.devices)}")
        device = self.devices[name]
        if request["op"] == "ac":
            await device.ac(bool(request["current"]))
        elif request["op"] == "fault":
            await device.fault(request["outlet"], request["kind"], float(request["argument"]))
        elif request["op"] == "become" and isinstance(device, Bmc):
            await device.become(request["host"], request["guid"])
        else:
            raise SimulatorFailed(f"no operation {request['op']!r}")
        return {}


async def _answer(room: DeviceRoom, line: bytes) -> None:
    request = json.loads(line)
    try:
        reply = await room.do(request)
    except SimulatorFailed as error:
        reply = {"error": str(error)}
    _say({"id": request["id"]} | reply)


def _say(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    """Read the world, start it, obey until the end of the input."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    room = DeviceRoom(json.loads(await reader.readline()))
    tasks: set[asyncio.Task[None]] = set()
    try:
        try:
            _say(await room.start())
        except SimulatorFailed as error:
            _say({"error": str(error)})
            return
        while line := await reader.readline():
            task = loop.create_task(_answer(room, line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()
        await room.stop()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(serve())
