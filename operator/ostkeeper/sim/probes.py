"""Probes of the fence devices by a simulated leader: what `controller.prober` does, on virtual time.

Here: when a device is probed, what one probe asks, when FenceDevice.status is written. Not here: the judgement
(`core.trust`), devices (`power`), giving way to shots (`effects.Line`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ostkeeper.api.common import Condition, seconds
from ostkeeper.api.fencedevice import FeedReading, FenceDevice
from ostkeeper.core.events import Outcome
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.core.trust import FEW, Sample, Trust, add, judge, ready_condition, restored, status_of
from ostkeeper.ports import Written
from ostkeeper.sim.effects import CALL_TIMEOUT

if TYPE_CHECKING:
    from ostkeeper.sim.process import Process

QUICK = 0.2
"""Seconds between the first ten probes of a device."""
WRITE_EVERY = 10
"""A status that does not change is written once in so many intervals."""


class Subject:
    """One device under observation."""

    __slots__ = (
        "boot",
        "identified",
        "identity",
        "key",
        "readings",
        "stamp",
        "uuid",
        "window",
        "written",
        "written_at",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.stamp: tuple[str, int] = ("", -1)
        """UID and generation that the window is about."""
        self.window: tuple[Sample, ...] = ()
        self.uuid = self.boot = self.identity = ""
        self.identified = False
        self.readings: tuple[FeedReading, ...] = ()
        self.written: tuple[object, ...] = ()
        self.written_at = 0.0


class Prober:
    """Probes every declared device while its operator leads."""

    __slots__ = ("_process", "_subjects", "_turn")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._subjects: dict[str, Subject] = {}
        self._turn = 0
        """Which term's timers count."""

    def stop(self) -> None:
        """The leadership ended."""
        self._turn += 1
        self._subjects.clear()

    def attend(self) -> None:
        """These are the devices now; called while it leads."""
        known = self._process.index.devices
        for key in [key for key in self._subjects if key not in known]:
            del self._subjects[key]
        for key in known:
            if key not in self._subjects:
                self._subjects[key] = Subject(key)
                self._later(self._subjects[key], QUICK * self._process.world.kernel.random.random())

    def _later(self, subject: Subject, wait: float) -> None:
        self._process.world.kernel.after(wait, self._process.actor, self._probe, subject, self._turn)

    def _probe(self, subject: Subject, turn: int) -> None:
        declared = self._process.index.devices.get(subject.key)
        if turn != self._turn or declared is None or self._subjects.get(subject.key) is not subject:
            return
        line = self._process.line(subject.key)
        if line.busy:  # shots and confirming reads come first
            self._later(subject, QUICK)
            return
        self._restamp(subject, declared)
        line.busy = True
        line.probe = valid = [True]

        def ended(sample: Sample | None) -> None:
            if valid[0]:
                line.probe = None
                line.free()
                if sample is not None:
                    subject.window = add(subject.window, sample, declared.spec.probe)
            if turn == self._turn:
                self._publish(subject)
                self._later(subject, self._pause(subject, declared))

        _Probe(self._process, subject, declared, valid, ended).ask()

    def _restamp(self, subject: Subject, declared: FenceDevice) -> None:
        """The window is about one spec of one object; a new leader goes on with what its predecessor wrote down."""
        stamp = (declared.metadata.uid, declared.metadata.generation)
        if subject.stamp != stamp:
            first = subject.stamp[1] == -1
            kept = restored(declared.status, stamp[1], declared.spec.probe) if first else ()
            subject.stamp, subject.window, subject.identified = stamp, kept, False

    def _pause(self, subject: Subject, declared: FenceDevice) -> float:
        interval = seconds(declared.spec.probe.interval)
        if len(subject.window) < min(FEW, declared.spec.probe.sample_count):
            return min(interval, QUICK)
        return interval * self._process.world.kernel.random.uniform(0.8, 1.2)

    # --- what is written down

    def _publish(self, subject: Subject) -> None:
        """Write the status when it says something new, or once in ten intervals."""
        process = self._process
        declared = process.index.devices.get(subject.key)
        if declared is None or subject.stamp != (declared.metadata.uid, declared.metadata.generation):
            return
        trust = judge(subject.window, declared.spec.probe)
        ready = self._ready(subject, declared, trust)
        feeds = tuple((reading.outlet, reading.state) for reading in subject.readings)
        matters = (ready.status, ready.reason, feeds, subject.uuid, subject.identity, subject.stamp)
        now = process.now()
        due = subject.written_at + WRITE_EVERY * seconds(declared.spec.probe.interval)
        if (matters == subject.written and now < due) or not process.leading():
            return

        def answered(written: Written | None) -> None:
            if written is not None and written.outcome is Outcome.OK:
                subject.written, subject.written_at = matters, now

        told = {"system_uuid": subject.uuid, "identity": subject.identity}
        status, version = status_of(declared, trust, ready, subject.readings, **told), declared.version
        store, name = process.world.store, process.name
        process.client.call(
            lambda: store.replace_status(FenceDevice, subject.key, version, status, name), answered, CALL_TIMEOUT
        )

    def _ready(self, subject: Subject, declared: FenceDevice, trust: Trust) -> Condition:
        about = ("FenceDevice", subject.key)
        problems = (p for found in self._process.index.claims.values() for p in found if (p.kind, p.key) == about)
        problem = next(problems, None)
        against = (problem.reason, problem.message) if problem else None
        return ready_condition(trust, declared.metadata.generation, against)


class _Probe:
    """One probe: read each outlet that pairs use, one after the other; then ask who it is, if that may be another."""

    __slots__ = (
        "_another", "_boot", "_declared", "_ended", "_outlets", "_process", "_readings", "_slowest", "_subject", "_valid",
    )  # fmt: skip

    def __init__(
        self,
        process: Process,
        subject: Subject,
        declared: FenceDevice,
        valid: list[bool],
        ended: Callable[[Sample | None], None],
    ) -> None:
        self._process, self._subject, self._declared = process, subject, declared
        self._valid, self._ended = valid, ended
        used = process.index.outlets.get(subject.key, () if declared.spec.has_outlets else ("",))
        self._outlets = list(used)
        self._readings: list[FeedReading] = []
        self._boot, self._slowest = "", 0.0
        self._another = False
        """A reading of another device than the one that was identified last."""

    def ask(self) -> None:
        """The next outlet, or who it is, or the end."""
        if not self._valid[0]:
            self._ended(None)
            return
        process, subject = self._process, self._subject
        until = process.actor.when(process.now() + seconds(self._declared.spec.request_timeout))
        if self._outlets:
            outlet, began = self._outlets.pop(0), process.now()
            feed = Feed(self._declared.name, outlet)
            process.world.devices.read(
                process.name,
                feed,
                until,
                lambda *answer: self._read(outlet, began, *answer),
                process.actor,
            )
        elif not subject.identified or self._boot != subject.boot or not self._readings or self._another:
            process.world.devices.identify(process.name, self._declared.name, until, self._identified, process.actor)
        else:
            self._end(Sample(True, self._slowest))

    def _read(
        self, outlet: str, began: float, state: PowerState, boot: str, watts: float | None, identity: str, why: str
    ) -> None:
        self._another = self._another or (identity != self._subject.identity and state is not PowerState.UNKNOWN)
        self._readings.append(FeedReading(outlet=outlet, state=state.value, watts=watts))
        self._slowest = max(self._slowest, self._process.now() - began)
        self._boot = self._boot or boot
        if state is PowerState.UNKNOWN:
            self._end(Sample(False, self._slowest, "DeviceSilent", why))
        else:
            self.ask()

    def _identified(self, uuid: str, identity: str, boot: str) -> None:
        if identity:
            self._subject.uuid, self._subject.identity = uuid, identity
        self._subject.identified, self._subject.boot = True, self._boot or boot
        self._end(Sample(True, self._slowest))

    def _end(self, sample: Sample) -> None:
        if self._valid[0]:
            self._subject.readings = tuple(self._readings)
        self._ended(sample)
