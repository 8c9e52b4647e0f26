"""Probes all fence devices, read only, all the time, and writes down how far each can be trusted. The leader only.

Here: when a device is probed, what one probe asks, when FenceDevice.status is written. Not here: the judgement
(`core.trust`), opening devices and giving way to shots (`power`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from ostkeeper.api import FenceDevice, OSSPair
from ostkeeper.api.common import Condition, condition_of, seconds
from ostkeeper.api.fencedevice import FeedReading
from ostkeeper.controller.power import Devices, UnusableError
from ostkeeper.core.claims import device_key
from ostkeeper.core.events import Outcome, Problem, Tell
from ostkeeper.core.identity import matches
from ostkeeper.core.power import PowerReading, PowerState
from ostkeeper.core.trust import FEW, Sample, Trust, add, judge, ready_condition, restored, status_of
from ostkeeper.ports import Clock, Cluster, DeviceIdentity, FenceError, NoSuchOutlet, PowerDevice, WrongIdentity

logger = logging.getLogger(__name__)
QUICK = 0.2
"""Seconds between the first ten probes of a device, so that it is Ready in seconds."""
WRITE_EVERY = 10
"""A status that does not change is written once in so many intervals."""
TRY_OPENING_AGAIN = 5.0
"""Seconds, at most an interval, after which a device that could not be opened (Secret missing) is tried again."""
AT_ONCE = 32
"""Probes under way at the same time."""


NOBODY = DeviceIdentity()


@dataclass(slots=True)
class Subject:
    """One device under observation."""

    key: str
    stamp: tuple[str, int] = ("", -1)
    """UID and generation that the window is about."""
    window: tuple[Sample, ...] = ()
    identity: DeviceIdentity = NOBODY
    identified: PowerDevice | None = None
    """The session in which it was asked who it is."""
    boot: str = ""
    readings: tuple[FeedReading, ...] = ()
    unusable: UnusableError | None = None
    written: tuple[object, ...] = ()
    """What was written last, as far as it matters."""
    written_at: float = 0.0


class Prober:
    """Keeps one task for each FenceDevice while this operator leads."""

    def __init__(
        self,
        devices: Devices,
        cluster: Cluster,
        clock: Clock,
        find: Callable[[str], FenceDevice | None],
        problem_of: Callable[[str, str], Problem | None],
        leading: Callable[[float], bool],
    ) -> None:
        self._devices, self._cluster, self._clock = devices, cluster, clock
        self._find, self._problem_of, self._leading = find, problem_of, leading
        self._outlets: dict[str, tuple[str, ...]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._led = False

    def lead(self, led: bool) -> None:
        """Start, or stop, with the leadership."""
        self._led = led
        if not led:
            for task in self._tasks.values():
                task.cancel()
            self._tasks = {}

    def attend(self, declared: dict[str, FenceDevice], pairs: dict[str, OSSPair]) -> None:
        """These are the devices, and what pairs use of them."""
        used: dict[str, list[str]] = {}
        for pair in pairs.values():
            for feed in (feed for node in pair.spec.nodes for level in node.fencing for feed in level.feeds):
                used.setdefault(device_key(pair, feed), []).append(feed.outlet or "")
        self._outlets = {key: tuple(sorted(set(outlets))) for key, outlets in used.items()}
        for key in [key for key in self._tasks if key not in declared]:
            self._tasks.pop(key).cancel()
        for key in declared if self._led else ():
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._watch_over(key), name=f"probes of {key}")

    async def _watch_over(self, key: str) -> None:
        subject = Subject(key)
        try:
            while declared := self._find(key):
                slot = self._devices.slot(key)
                if slot.busy:  # shots and confirming reads come first
                    await asyncio.sleep(QUICK)
                    continue
                async with self._turns:
                    slot.probe = asyncio.create_task(self._once(subject, declared), name=f"probe of {key}")
                    try:
                        await asyncio.wait({slot.probe})
                    finally:
                        slot.probe.cancel()
                if not slot.probe.cancelled() and (error := slot.probe.exception()):
                    logger.error("probing %s failed by a bug of ours", key, exc_info=error)
                await self._publish(subject)
                await asyncio.sleep(self._pause(subject, declared))
        finally:
            if self._find(key) is None:
                await self._devices.drop(key)

    def _pause(self, subject: Subject, declared: FenceDevice) -> float:
        interval = seconds(declared.spec.probe.interval)
        if subject.unusable:
            return min(interval, TRY_OPENING_AGAIN)
        if len(subject.window) < min(FEW, declared.spec.probe.sample_count):
            return min(interval, QUICK)
        return interval * random.uniform(0.8, 1.2)

    # --- one probe

    async def _once(self, subject: Subject, declared: FenceDevice) -> None:
        """Ask once. Cancelled by a shot, it counts for nothing."""
        stamp = (declared.metadata.uid, declared.metadata.generation)
        if subject.stamp != stamp:
            first = subject.stamp[1] == -1
            kept = restored(declared.status, stamp[1], declared.spec.probe) if first else ()
            subject.stamp, subject.window, subject.identified, subject.identity = stamp, kept, None, NOBODY
        try:
            device = await self._devices.get(declared, fresh=True)
            subject.unusable = None
        except UnusableError as error:
            if error.reason != "ApiSilent":
                subject.unusable, subject.readings = error, ()
            return
        before = subject.identity.identity or _recorded(declared)
        sample = await self._ask(subject, device, declared)
        now = subject.identity.identity
        if before and now and not matches(before, now):
            subject.window = ()  # what was counted is about another device
            await self._tell_replaced(declared, before, now)
        elif before and not now and sample.ok:
            sample = _unidentified(declared, before, sample)
            subject.readings = tuple(FeedReading(outlet=reading.outlet) for reading in subject.readings)
        subject.window = add(subject.window, sample, declared.spec.probe)

    async def _ask(self, subject: Subject, device: PowerDevice, declared: FenceDevice) -> Sample:
        limit = seconds(declared.spec.request_timeout)
        readings: list[tuple[str, PowerReading]] = []
        try:
            began = self._clock.monotonic()
            await device.prepare(began + limit)
            for outlet in self._outlets.get(subject.key, () if declared.spec.has_outlets else ("",)):
                readings.append((outlet, await device.read(outlet, self._clock.monotonic() + limit)))
            boot = next((reading.boot for _, reading in readings if reading.boot), "")
            reported = next((reading.identity for _, reading in readings if reading.identity), "")
            another = subject.identified is not device or boot != subject.boot or reported != subject.identity.identity
            if another or not readings:
                subject.identity = await device.identify(self._clock.monotonic() + limit)
                subject.identified, subject.boot = device, boot
        except FenceError as error:
            subject.readings = tuple(FeedReading(outlet=outlet) for outlet in self._outlets.get(subject.key, ()))
            return Sample(False, self._clock.monotonic() - began, error.reason, str(error))
        subject.readings = tuple(_feed_reading(outlet, reading) for outlet, reading in readings)
        silent = next((reading for _, reading in readings if _device_failed(reading)), None)
        slowest = max((reading.ended - reading.began for _, reading in readings), default=0.0)
        if silent:
            return Sample(False, slowest, silent.reason or "DeviceSilent", silent.detail)
        return Sample(True, slowest)

    async def _tell_replaced(self, declared: FenceDevice, before: str, now: str) -> None:
        """Log and show an Event: the identity at this address changed."""
        message = (
            f"FenceDevice {declared.key}: {now} answers at {declared.spec.address} instead of {before}. Drills made with "
            "the former device are void. Was it replaced? If not, correct spec's address or the cabling"
        )
        logger.warning("%s", message)
        if self._leading(self._clock.monotonic()):
            await self._cluster.tell(
                Tell("FenceDevice", declared.key, declared.metadata.uid, "Warning", "IdentityChanged", message)
            )

    # --- what is written down

    async def _publish(self, subject: Subject) -> None:
        """Write the status when it says something new, or once in ten intervals."""
        declared = self._find(subject.key)
        if declared is None or subject.stamp != (declared.metadata.uid, declared.metadata.generation):
            return
        trust = judge(subject.window, declared.spec.probe)
        ready = self._ready(subject, declared, trust)
        feeds = tuple((reading.outlet, reading.state, reading.reason) for reading in subject.readings)
        matters = (ready.status, ready.reason, feeds, subject.identity, subject.stamp)
        now = self._clock.monotonic()
        due = subject.written_at + WRITE_EVERY * seconds(declared.spec.probe.interval)
        if (matters == subject.written and now < due) or not self._leading(now):
            return
        status = status_of(
            declared,
            trust,
            ready,
            subject.readings,
            subject.identity.system_uuid,
            subject.identity.model,
            self._clock.wall(),
            subject.identity.identity,
        )
        written = await self._cluster.write_device(subject.key, declared.version, status)
        if written.outcome is Outcome.OK:
            subject.written, subject.written_at = matters, now
            await self._tell_ready(declared, ready)
        elif written.outcome is not Outcome.CONFLICT:
            logger.warning("the status of FenceDevice %s was not written: %s", subject.key, written.detail)

    async def _tell_ready(self, declared: FenceDevice, ready: Condition) -> None:
        """An Event where a device stops or starts to be Ready."""
        before = condition_of(declared.status.conditions, "Ready") if declared.status else None
        if before is None or before.status == ready.status:
            return
        kind, reason = ("Normal", "Trusted") if ready.status == "True" else ("Warning", ready.reason)
        message = ready.message or f"FenceDevice {declared.key} answers"
        await self._cluster.tell(Tell("FenceDevice", declared.key, declared.metadata.uid, kind, reason, message))

    def _ready(self, subject: Subject, declared: FenceDevice, trust: Trust) -> Condition:
        problem = self._problem_of("FenceDevice", subject.key)
        against = (problem.reason, problem.message) if problem else None
        if against is None and subject.unusable:
            against = (subject.unusable.reason, str(subject.unusable))
        return ready_condition(trust, declared.metadata.generation, against)


def _recorded(declared: FenceDevice) -> str:
    """The identity in the status, where it was judged by the present spec: an edited address leads to another device."""
    status = declared.status
    return status.identity if status and status.observed_generation == declared.metadata.generation else ""


def _unidentified(declared: FenceDevice, before: str, sample: Sample) -> Sample:
    """The sample of a device that answered without the identity that is recorded of it, for an operator that is new to it."""
    text = (
        f"{declared.spec.address} answers and reports no identity; {before} is recorded: whether it is the same device is "
        "not known. If it was replaced by one without identity, delete the FenceDevice and create it again"
    )
    return Sample(False, sample.latency, WrongIdentity.reason, text)


def _device_failed(reading: PowerReading) -> bool:
    """Whether a reading says something against the device. An outlet that it does not have is a mistake of the pair."""
    return reading.state is PowerState.UNKNOWN and reading.reason != NoSuchOutlet.reason


def _feed_reading(outlet: str, reading: PowerReading) -> FeedReading:
    reason, message = "", ""
    if reading.reason == NoSuchOutlet.reason:
        reason, message = reading.reason, reading.detail[:512]
    return FeedReading(outlet=outlet, state=reading.state.value, watts=reading.watts, reason=reason, message=message)
