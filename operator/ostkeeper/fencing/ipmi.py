"""BMCs over IPMI 2.0 (RMCP+), by pyghmi in a worker process of their own.

Here: what is asked, and what an answer means. Not here: the processes (`workers`), the packets (`ipmi_wire`).
Off is Chassis Control "power down" (IPMI 2.0, 28.3), never a cycle, a reset or a soft shutdown.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ostkeeper.core.power import PowerReading, PowerState
from ostkeeper.fencing.device import Device
from ostkeeper.fencing.workers import ForkServer, Worker
from ostkeeper.ports import (
    BadAnswer,
    Clock,
    DeadlinePassed,
    DeviceIdentity,
    DeviceSilent,
    FenceError,
    NoSuchOutlet,
    WrongCredentials,
)

GIVE_UP_EARLY_SECONDS = 0.02
"""The worker stops sending this long before the deadline, so that it can still say so; at the deadline it is killed."""
INSUFFICIENT_PRIVILEGE = 0xD4
"""Completion code, IPMI 2.0, table 5-2."""


class IpmiDevice(Device):
    """One BMC, which is one feed: the outlet's name is empty. Its session stays open between operations."""

    def __init__(self, address: str, port: int, username: bytes, password: bytes, clock: Clock, name: str = "") -> None:
        super().__init__(f"{name or 'BMC'} (ipmi, {address}:{port})", clock)
        self._connect = {
            "op": "connect",
            "address": address,
            "port": port,
            "username": username.hex(),
            "password": password.hex(),
        }
        self._server: ForkServer | None = None
        self._worker: Worker | None = None

    async def prepare(self, deadline: float) -> None:
        """Have a worker, and a session that answered just now: a later `off` is one packet. Raises FenceError."""
        async with self.turn("opening a session", deadline):
            self._power_state(await self._ask("read", "opening a session", deadline))

    async def read(self, outlet: str, deadline: float) -> PowerReading:
        """Get Chassis Status (IPMI 2.0, 28.2), asked again until answered or late. Only bit 0 of byte 1 counts."""
        began = self.clock.monotonic()
        try:
            self._refuse(outlet)
            async with self.turn("reading the power", deadline):
                reply = await self._ask("read", "reading the power", deadline)
                state = self._power_state(reply)
                identity = self.identified(reply["identity"])
        except FenceError as error:
            return self.unknown(began, error)
        detail = f"chassis power is {'on' if state is PowerState.ON else 'off'}"
        return PowerReading(state, reply["began"], self.clock.monotonic(), detail=detail, identity=identity)

    async def off(self, outlet: str, deadline: float, identity: str = "") -> None:
        """Chassis Control: power down. Sent again until acknowledged or late. Raises FenceError."""
        await self._control(outlet, "off", deadline, identity)

    async def on(self, outlet: str, deadline: float, identity: str = "") -> None:
        """Chassis Control: power up. Sent again until acknowledged or late. Raises FenceError."""
        await self._control(outlet, "on", deadline, identity)

    async def identify(self, deadline: float) -> DeviceIdentity:
        """Get System GUID and Get Device ID (IPMI 2.0, 22.14 and 20.1). Raises FenceError."""
        async with self.turn("asking who it is", deadline):
            reply = await self._ask("identify", "asking who it is", deadline)
        if reply["code"] != 0 or len(reply["data"]) != 32:
            raise BadAnswer(
                f"{self.label}: asked for its system GUID it answered code {reply['code']:#04x} and "
                f"{len(reply['data']) // 2} bytes instead of 16. Set a GUID in the BMC, or update its firmware"
            )
        model = _model(bytes.fromhex(reply["device"]))
        return DeviceIdentity(system_uuid=reply["data"], model=model, identity=reply["identity"])

    async def close(self) -> None:
        """Close the session and end the worker. Returns when it is gone; after that nothing is sent."""
        async with self._lock:
            worker, self._worker = self._worker, None
            try:
                if worker is not None and worker.alive:
                    await worker.ask({"op": "log-out"}, self.clock.monotonic() + 0.2)
                    await worker.kill()
            finally:
                server, self._server = self._server, None
                if server is not None:
                    server.release()

    async def _control(self, outlet: str, operation: str, deadline: float, identity: str) -> None:
        what = f"power {operation}"
        self._refuse(outlet)
        async with self.turn(what, deadline):
            reply = await self._ask(operation, what, deadline, identity)
        if reply["code"] == INSUFFICIENT_PRIVILEGE:
            raise WrongCredentials(f"{self.label}: {what} was refused: the user needs privilege OPERATOR or above")
        if reply["code"] != 0:
            raise BadAnswer(
                f"{self.label}: {what} was answered by completion code {reply['code']:#04x} (IPMI 2.0, table 5-2): "
                "the power is as it was, or unknown. Read it; look into the BMC's event log"
            )

    async def _ask(self, operation: str, what: str, deadline: float, identity: str = "") -> dict[str, Any]:
        """Ask the worker, having one first. Raises FenceError; whatever is still under way then is dead."""
        worker = self._worker
        if worker is None or not worker.alive:
            worker = await self._start_worker(what, deadline)
        request = {"op": operation, "deadline": deadline - GIVE_UP_EARLY_SECONDS, "identity": identity}
        reply = await worker.ask(request, deadline) if worker.alive else None
        if reply is None or reply["kind"] == "silent":
            raise self._silent(what, reply)
        if reply["kind"] == "refused":
            raise WrongCredentials(
                f"{self.label}: {what} was refused while opening a session: {reply['text']}. "
                "Compare user and password in the Secret with the BMC's"
            )
        if reply["kind"] == "wrong-identity" and reply["sent"]:
            text = (
                f"its session was lost after the command was sent, and {reply['identity'] or 'another BMC'} answers now"
            )
            raise self._silent(what, {"text": text})
        if reply["kind"] == "wrong-identity":
            raise self.mismatch(what, identity, reply["identity"])
        if reply["kind"] != "ok":
            raise BadAnswer(f"{self.label}: {what}: the answer could not be read: {reply['text']}")
        return reply

    async def _start_worker(self, what: str, deadline: float) -> Worker:
        if self._server is None:
            self._server = ForkServer.acquire()
        try:
            async with asyncio.timeout_at(deadline):
                self._worker = worker = await self._server.fork()
        except TimeoutError:
            raise DeadlinePassed(
                f"{self.label}: {what} was NOT sent: no worker process was ready before the deadline. The machine is "
                "overloaded, or this is the first operation: call prepare ahead of need"
            ) from None
        await worker.ask(self._connect, deadline)
        return worker

    def _silent(self, what: str, reply: dict[str, Any] | None) -> DeviceSilent:
        trouble = f" ({reply['text']})" if reply is not None and reply["text"] else ""
        return DeviceSilent(
            f"{self.label}: {what}: no answer before the deadline{trouble}; whether a command arrived is not known. "
            "Read the power next; check that the BMC has current, its network, and that IPMI over LAN is enabled"
        )

    def _power_state(self, reply: dict[str, Any]) -> PowerState:
        data = bytes.fromhex(reply["data"])
        if reply["code"] != 0 or len(data) < 3:
            raise BadAnswer(
                f"{self.label}: asked for its chassis status it answered code {reply['code']:#04x} and {len(data)} "
                "bytes: that says nothing about the power. Look into the BMC's event log"
            )
        return PowerState.ON if data[0] & 1 else PowerState.OFF

    def _refuse(self, outlet: str) -> None:
        if outlet:
            raise NoSuchOutlet(
                f"{self.label}: a BMC has no outlets, yet {outlet!r} was asked for. Drop it from the feed"
            )


def _model(device_id: bytes) -> str:
    """Spell the answer to Get Device ID (IPMI 2.0, 20.1)."""
    if len(device_id) < 11:
        return ""
    version = f"{device_id[4] & 0xF}.{device_id[4] >> 4}"
    manufacturer = int.from_bytes(device_id[6:9], "little")
    product = int.from_bytes(device_id[9:11], "little")
    firmware = f"{device_id[2] & 0x7F}.{device_id[3] >> 4}{device_id[3] & 0xF}"
    return f"IPMI {version} manufacturer {manufacturer} product {product} firmware {firmware}"
