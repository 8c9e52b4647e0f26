"""Carries out the effects of one simulated pair machine, and brings exactly one answer for each that has an `op`.

Here: what `controller.perform`, `controller.cluster` and `controller.power` do, on virtual time: the look at the leadership
right before, quorum reads whose parts arrive one after the other, orders that wait for a device's lock. Not here: links and
latency (`network`), devices (`power`), what an answer means (`core`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, OSSSpec
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e
from ostkeeper.core.power import Feed, PowerReading, PowerState
from ostkeeper.ports import Written

if TYPE_CHECKING:
    from ostkeeper.sim.process import Process

CALL_TIMEOUT = 2.0
"""Seconds that a call to the API server may take, as `controller.client` has it."""
PROBE_GRACE = 0.05
"""Seconds that a probe under way may still take when a shot arrives."""
HAND_OVER = 0.004
"""At most so many seconds pass between the last look at the leadership and the packet: time enough to be paused in."""
SPLIT = 0.2
"""Share of the quorum reads whose parts are seen to arrive at different moments; of the others all arrive at once."""
Write = e.WritePair | e.CreateFailover | e.WriteFailover | e.CreateOSS | e.WriteOSSReady | e.WriteOST | e.DeleteFailover


class Line:
    """One operator's way to one device: one exchange at a time, and probes give way."""

    __slots__ = ("busy", "probe", "waiting")

    def __init__(self) -> None:
        self.busy = False
        self.waiting: deque[Callable[[], None]] = deque()
        self.probe: list[bool] | None = None
        """A probe under way; its one word becomes False when it is cancelled."""

    def take(self, job: Callable[[], None]) -> None:
        """Run a job once the device is free. It ends with `free`."""
        if self.busy:
            self.waiting.append(job)
        else:
            self.busy = True
            job()

    def free(self) -> None:
        """The exchange is over."""
        if self.waiting:
            self.waiting.popleft()()
        else:
            self.busy = False


class Performer:
    """`perform` of one pair's machine. After `close` nobody is told anything any more; what was sent is on its way."""

    __slots__ = ("_declared", "_key", "_process", "_tell", "closed")

    def __init__(self, process: Process, key: str, tell: Callable[[e.Event], None]) -> None:
        self._process, self._key = process, key
        self._tell = tell
        self._declared: Mapping[str, FenceDevice] | None = None
        """The FenceDevices of the last quorum read."""
        self.closed = False

    def perform(self, effect: e.Effect) -> None:
        """Start carrying it out. Never answers before it returns."""
        match effect:
            case e.ReadAll():
                _QuorumRead(self, self._process, effect)
            case e.CutPower() | e.PowerOn():
                self._turn(effect.feed, effect, self._order)
            case e.ReadPower():
                self._turn(effect.feed, effect, self._read)
            case e.ProveWatch():
                self._process.canary.prove()
            case e.Prepare() | e.Tell():
                pass
            case _:
                self._write(effect)

    def close(self) -> None:
        """Nobody waits for these answers any more."""
        self.closed = True

    def answer(self, event: e.Event) -> None:
        """Hand an answer to the machine."""
        if not self.closed:
            self._tell(event)

    def answer_soon(self, event: e.Event) -> None:
        """Hand it over after what happens now."""
        self._process.world.kernel.after(0.0, self._process.actor, self.answer, event)

    def declared(self, devices: tuple[FenceDevice, ...]) -> None:
        """These FenceDevices a quorum read has shown: orders rest on them from now on."""
        self._declared = {device.key: device for device in devices}

    def _find(self, feed: Feed) -> FenceDevice | None:
        namespace = self._key.rpartition("/")[0]
        known = self._process.index.devices if self._declared is None else self._declared
        return known.get(f"{namespace}/{feed.device}")

    # --- writes

    def _write(self, effect: Write) -> None:
        if not self._process.leading():
            detail = "not written: this operator does not lead any more"
            self.answer_soon(e.Wrote(effect.op, e.Outcome.FAILED, None, detail))
            return

        def answered(written: Written | None) -> None:
            if written is None:
                self.answer(e.Wrote(effect.op, e.Outcome.FAILED, None, "no answer in time"))
            else:
                self.answer(e.Wrote(effect.op, written.outcome, written.object, written.detail))

        self._process.client.call(lambda: self._commit(effect), answered, CALL_TIMEOUT)

    def _commit(self, effect: Write) -> Written:
        """What the API server does with it, when it arrives there."""
        store, who = self._process.world.store, self._process.name
        match effect:
            case e.WritePair():
                return store.replace_status(OSSPair, effect.key, effect.version, effect.status, who)
            case e.CreateFailover():
                return store.create(effect.failover, who)
            case e.WriteFailover():
                return store.replace_status(Failover, effect.key, effect.version, effect.status, who)
            case e.DeleteFailover():
                found = store.find(Failover, effect.key)
                if found is not None and found.version != effect.version:
                    return Written(e.Outcome.CONFLICT, None, f"{effect.key} has changed")
                return store.delete(Failover, effect.key, who)
            case e.WriteOST():
                return store.replace_status(OST, effect.key, effect.version, effect.status, who)
            case e.CreateOSS():
                meta = {"name": effect.node}
                return store.create(OSS.model_validate({"metadata": meta, "spec": OSSSpec(pair=effect.pair)}), who)
            case e.WriteOSSReady():
                return store.oss_ready(effect.node, effect.condition, who)

    # --- devices

    def _turn(self, feed: Feed, effect: Any, then: Callable[[Any, FenceDevice, Line], None]) -> None:
        """Wait until a probe under way has ended, briefly; then cancel it."""
        device = self._find(feed)
        if device is None:
            self._unusable(effect, f"DeviceNotFound: feed {feed}: FenceDevice {feed.device} does not exist")
            return
        line = self._process.line(device.key)
        if line.probe is None:
            then(effect, device, line)
            return
        self._process.world.kernel.after(PROBE_GRACE, self._process.actor, self._interrupt, effect, device, line, then)

    def _interrupt(
        self, effect: Any, device: FenceDevice, line: Line, then: Callable[[Any, FenceDevice, Line], None]
    ) -> None:
        if line.probe is not None:
            line.probe[0] = False
            line.probe = None
            line.free()
        then(effect, device, line)

    def _unusable(self, effect: Any, why: str) -> None:
        if isinstance(effect, e.ReadPower):
            now = self._process.now()
            reading = PowerReading(PowerState.UNKNOWN, now, now, detail=why)
            self.answer_soon(e.PowerRead(effect.op, effect.feed, reading))
        else:
            self.answer_soon(e.Acked(effect.op, effect.feed, ok=False, sent=False, detail=why))

    def _order(self, effect: e.CutPower | e.PowerOn, device: FenceDevice, line: Line) -> None:
        """The last look at clock and leadership; then the driver's lock, and its own look at the deadline."""
        process = self._process
        now = process.now()
        if self.closed or now >= effect.deadline or not process.leading():
            why = "its deadline passed" if now >= effect.deadline else "this operator does not lead any more"
            self._unusable(effect, f"DeadlinePassed: {effect.feed} was NOT switched: {why}")
            return
        kernel = process.world.kernel

        def answered(ok: bool, sent: bool, detail: str) -> None:
            line.free()
            self.answer(e.Acked(effect.op, effect.feed, ok, sent, detail))

        def send() -> None:
            until = process.actor.when(effect.deadline)
            on = isinstance(effect, e.PowerOn)
            devices = process.world.devices
            devices.order(process.name, effect.feed, on, until, answered, process.actor, effect.identity)

        kernel.after(HAND_OVER * kernel.random.random(), process.actor, line.take, send)

    def _read(self, effect: e.ReadPower, device: FenceDevice, line: Line) -> None:
        process = self._process

        def ask() -> None:
            began = process.now()
            limit = min(effect.deadline, began + seconds(device.spec.request_timeout))

            def answered(state: PowerState, boot: str, watts: float | None, identity: str, detail: str) -> None:
                line.free()
                reading = PowerReading(state, began, process.now(), boot, watts, detail, identity)
                self.answer(e.PowerRead(effect.op, effect.feed, reading))

            process.world.devices.read(process.name, effect.feed, process.actor.when(limit), answered, process.actor)

        line.take(ask)


class _QuorumRead:
    """One ReadAll: all in parallel, so that its parts may be of different moments."""

    __slots__ = ("_began", "_began_truly", "_effect", "_failed", "_parts", "_performer", "_process")

    def __init__(self, performer: Performer, process: Process, effect: e.ReadAll) -> None:
        self._performer, self._process, self._effect = performer, process, effect
        self._began, self._began_truly = process.now(), process.world.kernel.now
        self._parts: dict[str, Any] = {}
        self._failed = False
        kernel, store = process.world.kernel, process.world.store
        if store.slow or kernel.random.random() < SPLIT:
            for part in (self._objects, self._pair, self._servers, self._leader):
                process.client.call(part, self._answered, CALL_TIMEOUT)
        else:
            process.client.call(self._all, self._answered, CALL_TIMEOUT)

    def _all(self) -> dict[str, Any]:
        return self._objects() | self._pair() | self._servers() | self._leader()

    def _pair(self) -> dict[str, Any]:
        return {"pair": self._process.world.store.find(OSSPair, self._effect.key)}

    def _objects(self) -> dict[str, Any]:
        store, key = self._process.world.store, self._effect.key
        namespace = key.rpartition("/")[0]
        devices = tuple(d for d in store.every(FenceDevice) if d.metadata.namespace == namespace)
        return {"osts": store.of_pair(OST, key), "failovers": store.of_pair(Failover, key), "devices": devices}

    def _servers(self) -> dict[str, Any]:
        store = self._process.world.store
        pair = store.find(OSSPair, self._effect.key)
        servers = pair.servers if pair else ()
        return {
            "osses": tuple(oss for name in servers if (oss := store.find(OSS, name))),
            "beats": tuple(beat for name in servers if (beat := store.beat_of(name))),
            "nodes": tuple(node for name in servers if (node := store.node_of(name))),
        }

    def _leader(self) -> dict[str, Any]:
        leader = self._process.world.store.leader
        return {"leading": leader is not None and leader.holder == self._process.token}

    def _answered(self, part: dict[str, Any] | None) -> None:
        if self._failed:
            return
        if part is None:
            self._failed = True
            self._performer.answer(e.Read(self._effect.op, self._began, None, "no answer in time"))
            return
        self._parts |= part
        if len(self._parts) == len(e.Snapshot.__dataclass_fields__):
            snapshot = e.Snapshot(**self._parts)
            self._performer.declared(snapshot.devices)
            self._process.world.store.whole_reads[self._process.name, self._effect.key] = self._began_truly
            self._performer.answer(e.Read(self._effect.op, self._began, snapshot))


def told(effect: e.Effect) -> str:
    """What a timeline tells of an effect: decisions and shots, but no mirrors."""
    match effect:
        case e.WritePair(why=why) if why != "conditions":
            return f"writes epoch {effect.status.epoch}: {why}"
        case e.CreateFailover():
            return f"creates {effect.failover.name}: {effect.why}"
        case e.WriteFailover():
            return f"writes {effect.key.rpartition('/')[2]} {effect.status.phase}: {effect.why}"
        case e.CutPower():
            return f"cuts {effect.feed}: {effect.why}"
        case e.PowerOn():
            return f"powers on {effect.feed}: {effect.why}"
        case e.Tell(type="Warning"):
            return f"tells {effect.reason}: {effect.message}"
        case _:
            return ""
