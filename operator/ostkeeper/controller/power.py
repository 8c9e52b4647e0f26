"""Carries out what the machines ask of fence devices: off, on, read, prepare. One answer each, always.

Here: opening devices from FenceDevice and Secret, whose turn probes and shots have, the last look at the clock and at the
leadership before a shot. Not here: any protocol (`fencing`), any decision, and no idea of what a reading proves.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ostkeeper.api.common import seconds
from ostkeeper.api.fencedevice import FenceDevice, FenceDeviceSpec
from ostkeeper.controller.client import Api, ApiError
from ostkeeper.core.events import Acked, CutPower, PowerOn, PowerRead, Prepare, ReadPower
from ostkeeper.core.power import Feed, PowerReading, PowerState
from ostkeeper.ports import Clock, DeadlinePassed, FenceError, PowerDevice, WrongIdentity

logger = logging.getLogger(__name__)
PROBE_GRACE = 0.05
"""Seconds that a probe under way may still take when a shot arrives; a healthy answer takes milliseconds. Then it is
cancelled: a new session costs less than a silent device's time-out."""
PREPARE_TIMEOUT = 5.0
"""Seconds for opening a session ahead of a shot."""


class UnusableError(Exception):
    """A device cannot be opened. `reason` is a CamelCase word for its Ready condition; the text names field and reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Secret:
    """The decoded keys of one Secret. Never shown, never logged: no repr."""

    version: str
    keys: Mapping[str, bytes] = field(repr=False)


class Secrets(Protocol):
    """Where credentials come from."""

    async def read(self, namespace: str, name: str) -> Secret:
        """Read one Secret. Raises UnusableError (SecretMissing)."""
        ...


class KubeSecrets:
    """Secrets of the API server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def read(self, namespace: str, name: str) -> Secret:
        """Read one Secret. Raises UnusableError: missing, not allowed, not base64; the API server silent."""
        where = f"Secret {namespace}/{name}"
        try:
            raw = await self._api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except ApiError as error:
            if error.status == 404:
                raise UnusableError("SecretMissing", f"credentialsSecretName: {where} does not exist") from error
            reason = "SecretMissing" if error.status else "ApiSilent"
            raise UnusableError(reason, f"credentialsSecretName: {where} cannot be read: {error}") from error
        try:
            keys = {key: base64.b64decode(value) for key, value in (raw.get("data") or {}).items()}
        except binascii.Error as error:
            raise UnusableError("SecretMissing", f"credentialsSecretName: {where} is not base64") from error
        return Secret(str((raw.get("metadata") or {}).get("resourceVersion", "")), keys)


Opener = Callable[[FenceDeviceSpec, Mapping[str, bytes], Clock, str], PowerDevice]
"""`fencing.registry.open_device`."""


@dataclass(slots=True)
class Opened:
    """One open device."""

    device: PowerDevice
    stamp: tuple[str, int, str]
    """UID, generation and the Secret's version that it was opened with."""


@dataclass(slots=True)
class Slot:
    """All that is known of one FenceDevice here."""

    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: Opened | None = None
    probe: asyncio.Task[None] | None = None
    """A probe under way; a shot pre-empts it."""
    busy: int = 0
    """Orders and confirming reads under way or waiting: no probe starts meanwhile."""


class Devices:
    """The open fence devices, by the key of their FenceDevice."""

    def __init__(self, secrets: Secrets, opener: Opener, clock: Clock) -> None:
        self._secrets, self._opener, self._clock = secrets, opener, clock
        self._slots: dict[str, Slot] = {}

    def slot(self, key: str) -> Slot:
        """The slot of a FenceDevice."""
        return self._slots.setdefault(key, Slot())

    async def get(self, declared: FenceDevice, fresh: bool = False) -> PowerDevice:
        """The device as declared, opened if need be; opened again when the declaration is another.

        `fresh`: look whether the Secret has changed. Raises UnusableError.
        """
        slot = self.slot(declared.key)
        async with slot.opening:
            known = slot.opened
            identity = (declared.metadata.uid, declared.metadata.generation)
            if known and known.stamp[:2] == identity and not fresh:
                return known.device
            return await self._open(slot, declared)

    async def _open(self, slot: Slot, declared: FenceDevice) -> PowerDevice:
        try:
            secret = await self._read_secret(declared)
        except UnusableError as error:
            if error.reason == "ApiSilent" and slot.opened and slot.opened.stamp[0] == declared.metadata.uid:
                return slot.opened.device  # not being able to look is no news about the credentials
            await self._close(slot)
            raise
        stamp = (declared.metadata.uid, declared.metadata.generation, secret.version)
        if slot.opened and slot.opened.stamp == stamp:
            return slot.opened.device
        await self._close(slot)
        try:
            device = self._opener(declared.spec, secret.keys, self._clock, declared.name)
        except FenceError as error:
            raise UnusableError(error.reason, str(error)) from error
        slot.opened = Opened(device, stamp)
        return device

    async def _read_secret(self, declared: FenceDevice) -> Secret:
        """Read the Secret; a device without a driver is told so whether it has one or not."""
        driven = declared.spec.ipmi or declared.spec.snmp_pdu
        if driven is None:
            return Secret("", {})
        return await self._secrets.read(declared.metadata.namespace, driven.credentials_secret_name)

    async def drop(self, key: str) -> None:
        """Close a device that is no longer declared."""
        slot = self._slots.pop(key, None)
        if slot:
            await self._close(slot)

    async def close(self) -> None:
        """Close all: after it nothing is sent."""
        for key in list(self._slots):
            await self.drop(key)

    async def _close(self, slot: Slot) -> None:
        opened, slot.opened = slot.opened, None
        if opened:
            await opened.device.close()


Declared = Callable[[Feed], FenceDevice | None]
"""The FenceDevice of a feed, as of the quorum read that an order rests on: an edit that comes later is not followed."""


class LeadershipLost(FenceError):
    """The leadership ended while an order was under way. Nothing of it is sent any more; it may have been sent before."""

    reason = "LeadershipLost"


class Power:
    """Carries out the power effects of the pairs of this operator."""

    def __init__(self, devices: Devices, leads_until: Callable[[], float], clock: Clock) -> None:
        """`leads_until`: the monotonic second up to which this operator leads, as its last renewal allows."""
        self._devices, self._leads_until, self._clock = devices, leads_until, clock
        self._orders: set[asyncio.Task[None]] = set()

    def stop_orders(self) -> None:
        """The leadership ended: no packet of an order leaves any more, whatever its deadline."""
        for order in self._orders:
            order.cancel()

    async def order(self, declared: Declared, effect: CutPower | PowerOn) -> Acked:
        """Order one feed off or on. The driver sends no packet after the deadline or after the end of the leadership."""
        feed, sent = effect.feed, False
        try:
            async with self._turn(declared, feed) as (device, _):
                deadline = self._last_look(effect)
                sent = True
                switch = device.off if isinstance(effect, CutPower) else device.on
                await self._while_leading(feed, switch(feed.outlet, deadline, effect.identity))
        except (DeadlinePassed, WrongIdentity) as error:
            return Acked(effect.op, feed, ok=False, sent=False, detail=f"{error.reason}: {error}")
        except (UnusableError, FenceError) as error:
            return Acked(effect.op, feed, ok=False, sent=sent, detail=f"{error.reason}: {error}")
        return Acked(effect.op, feed, ok=True, sent=True)

    async def _while_leading(self, feed: Feed, order: Coroutine[Any, Any, None]) -> None:
        """Await an order that `stop_orders` may end. Returns when the driver can send nothing of it any more."""
        task = asyncio.create_task(order)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if task.cancelled():
            raise LeadershipLost(
                f"{feed}: stopped: this operator does not lead any more; a packet may have left before"
            )
        task.result()

    def _last_look(self, effect: CutPower | PowerOn) -> float:
        """Check deadline and leadership right before the driver takes over; return the second after which nothing leaves.

        The driver checks that second before each packet, repetitions included: a leadership that is not renewed ends the
        order, in the worker process as well.
        """
        until = self._leads_until()
        now, what = self._clock.monotonic(), f"{effect.feed}: {'off' if isinstance(effect, CutPower) else 'on'}"
        if now >= effect.deadline:
            raise DeadlinePassed(f"{what} was NOT sent: its deadline passed {now - effect.deadline:.2f}s ago")
        if now >= until:
            raise DeadlinePassed(f"{what} was NOT sent: this operator does not lead any more")
        return min(effect.deadline, until)

    async def read(self, declared: Declared, effect: ReadPower) -> PowerRead:
        """Read one feed, for at most the device's request time-out."""
        feed, began = effect.feed, self._clock.monotonic()
        try:
            async with self._turn(declared, feed) as (device, spec):
                deadline = min(effect.deadline, self._clock.monotonic() + seconds(spec.request_timeout))
                reading = await device.read(feed.outlet, deadline)
        except (UnusableError, FenceError) as error:
            reading = PowerReading(
                PowerState.UNKNOWN, began, self._clock.monotonic(), detail=f"{feed}: {error.reason}: {error}"
            )
        return PowerRead(effect.op, feed, reading)

    async def prepare(self, declared: Declared, effect: Prepare) -> None:
        """Open sessions, all at once. What fails shows when it matters."""
        await asyncio.gather(*(self._prepare(declared, feed) for feed in effect.feeds))

    async def _prepare(self, declared: Declared, feed: Feed) -> None:
        try:
            async with self._turn(declared, feed) as (device, _):
                await device.prepare(self._clock.monotonic() + PREPARE_TIMEOUT)
        except (UnusableError, FenceError) as error:
            logger.info("%s cannot be made ready for a shot: %s", feed, error)

    @asynccontextmanager
    async def _turn(self, declared: Declared, feed: Feed) -> AsyncIterator[tuple[PowerDevice, FenceDeviceSpec]]:
        """The open device of a feed, with probes kept off it."""
        found = declared(feed)
        if found is None:
            raise UnusableError("DeviceNotFound", f"feed {feed}: FenceDevice {feed.device} does not exist")
        slot = self._devices.slot(found.key)
        slot.busy += 1
        try:
            device = await self._devices.get(found)
            await _give_way(slot)
            yield device, found.spec
        finally:
            slot.busy -= 1


async def _give_way(slot: Slot) -> None:
    """Let a probe under way end, briefly; then cancel it. The driver's lock waits until it can send nothing any more."""
    probe = slot.probe
    if probe and not probe.done():
        await asyncio.wait({probe}, timeout=PROBE_GRACE)
        probe.cancel()
