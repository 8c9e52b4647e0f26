"""How far a fence device can be trusted, from its last probes. Pure.

Here: the window of samples and what it amounts to. Not here: probing (`controller.prober`), whether the wiring is what is
declared (drills), what a reading proves (`fencing`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ostkeeper.api.common import Condition, seconds
from ostkeeper.api.fencedevice import FeedReading, FenceDevice, FenceDeviceStatus, Probe
from ostkeeper.core.identity import matches

FEW = 10
"""Until there are `sampleCount` samples, as many are enough, if none of them failed."""
TRUSTED = "Trusted"


@dataclass(frozen=True, slots=True)
class Sample:
    """One probe."""

    ok: bool
    latency: float = 0.0
    """Seconds of its slowest question; nothing where it was not answered."""
    reason: str = ""
    """Why it failed, one CamelCase word."""
    detail: str = ""
    """The same in words."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the samples amount to."""

    ready: bool
    reason: str
    """Trusted, NotEnoughSamples, TooSlow, Unreliable, or what the last sample failed of."""
    message: str
    samples: int
    succeeded: int
    latency: float
    """Seconds of the slowest answer but one percent."""


def add(window: tuple[Sample, ...], sample: Sample, probe: Probe) -> tuple[Sample, ...]:
    """The window with one more sample; the oldest fall out."""
    return (*window, sample)[-probe.sample_count :]


def judge(window: tuple[Sample, ...], probe: Probe) -> Trust:
    """Judge a window of at most `sampleCount` samples, newest last."""
    succeeded = sum(1 for sample in window if sample.ok)
    failed = len(window) - succeeded
    latency = slowest_but_one_percent(sample.latency for sample in window if sample.ok)
    ready, reason, message = _verdict(window, probe, failed, latency)
    return Trust(ready, reason, message, len(window), succeeded, latency)


def _verdict(window: tuple[Sample, ...], probe: Probe, failed: int, latency: float) -> tuple[bool, str, str]:
    last = window[-1] if window else Sample(ok=True)
    full = len(window) >= probe.sample_count
    share = 100.0 * (len(window) - failed) / max(1, len(window))
    answered = f"{len(window) - failed} of the last {len(window)} probes were answered"
    reliable = share >= probe.min_success_percent if full else failed == 0
    if not reliable:
        wanted = f"{probe.min_success_percent}% of {probe.sample_count} are asked for"
        early = "" if full else f"; one that failed counts until {probe.sample_count} were made"
        reason = "Unreliable" if last.ok else last.reason or "DeviceSilent"
        detail = "" if last.ok else f": {last.detail}"
        return False, reason, f"{answered} ({wanted}{early}){detail}"
    needed = min(FEW, probe.sample_count)
    if len(window) < needed:
        return False, "NotEnoughSamples", f"{answered}; {needed} are needed before it can be trusted"
    if latency > seconds(probe.max_latency):
        return False, "TooSlow", f"the slowest answer but one percent took {latency:.3f}s, over {probe.max_latency}"
    return True, TRUSTED, f"{answered}; the slowest but one percent took {latency * 1000:.0f} ms"


def slowest_but_one_percent(latencies: Iterable[float]) -> float:
    """The 99th percentile, by nearest rank; 0 of nothing."""
    ranked = sorted(latencies)
    return ranked[math.ceil(0.99 * len(ranked)) - 1] if ranked else 0.0


def ready_condition(trust: Trust, generation: int, against: tuple[str, str] | None = None) -> Condition:
    """The device's Ready; `against`: reason and message of what stands against it, whatever its probes say."""
    ready, (reason, message) = (False, against) if against else (trust.ready, (trust.reason, trust.message))
    return Condition(
        type="Ready",
        status="True" if ready else "False",
        reason=reason,
        message=message,
        observed_generation=generation,
    )


def status_of(
    declared: FenceDevice,
    trust: Trust,
    ready: Condition,
    feeds: tuple[FeedReading, ...],
    system_uuid: str,
    model: str = "",
    probed: str = "",
    identity: str = "",
) -> FenceDeviceStatus:
    """The status of a device. `probed`: RFC 3339.

    A silent device (empty `identity`, `system_uuid` and `model`) keeps the values of its last answer. A device that reports
    another identity than the last one is another device: nothing of the last one is kept.
    """
    before = declared.status or FenceDeviceStatus()
    if before.identity and identity and not matches(before.identity, identity):
        before = FenceDeviceStatus()
    return FenceDeviceStatus(
        observed_generation=declared.metadata.generation,
        system_uuid=system_uuid or before.system_uuid,
        identity=identity or before.identity,
        model=model or before.model,
        samples=trust.samples,
        succeeded=trust.succeeded,
        latency_milliseconds=round(trust.latency * 1000),
        last_probe_time=probed,
        feeds=feeds,
        conditions=(ready,),
    )


def restored(status: FenceDeviceStatus | None, generation: int, probe: Probe) -> tuple[Sample, ...]:
    """The window that a new leader starts with: as many samples as its predecessor wrote down, those that failed last.

    A predecessor's judgement about another spec is worth nothing.
    """
    if status is None or status.observed_generation != generation:
        return ()
    latency = status.latency_milliseconds / 1000.0
    good = (Sample(ok=True, latency=latency),) * status.succeeded
    bad = (Sample(ok=False, reason="Unreliable", detail="before this operator led"),)
    return (good + bad * max(0, status.samples - status.succeeded))[-probe.sample_count :]
