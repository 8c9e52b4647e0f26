"""A small honest world on virtual time around one real PairMachine: an API server, power, disks, two scripted agents.

Here: the operator's shell (what an effect does and when it is answered), watches, faults, the log. Not here: the floor
(`machines`), the API server's rules (`apistore`), the setup of a pair at rest (`pairs`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.agents import Agents
from core.apistore import ApiStore
from core.clockwork import Clockwork
from core.machines import Floor
from core.worldlog import WorldLog
from ostkeeper.api.common import Resource, seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, OSSStatus
from ostkeeper.api.osspair import OSSPair, OSSPairStatus
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e
from ostkeeper.core.heartbeats import Heartbeats, Server
from ostkeeper.core.identity import matches
from ostkeeper.core.pair import PairMachine
from ostkeeper.core.power import PowerReading, PowerState

PAIR, NAMESPACE = "pair-a", "scratch"
KEY = f"{NAMESPACE}/{PAIR}"
COMMIT, ANSWER, WATCH = 0.05, 0.1, 0.05
"""Seconds from a request to its commit, to its answer, and from a commit to the watches."""
ARRIVES, ACKNOWLEDGED, READ = 0.1, 0.5, 0.1
"""Seconds until an off arrives at a device, until it is acknowledged, until a reading is there."""
CALL_TIMEOUT = 2.0
NOT_OPENED = {"unopenable": "SecretMissing: no credentials", "unauthorized": "AuthenticationFailed: wrong password"}
"""Faults of a device with which no session is opened: nothing is ever sent."""
CANARY = 1.0

Write = e.WritePair | e.CreateFailover | e.WriteFailover | e.CreateOSS | e.WriteOSSReady | e.WriteOST | e.DeleteFailover


@dataclass
class Operator:
    """One life of the operator: a machine, its heartbeats, and what wakes it."""

    name: str
    heartbeats: Heartbeats
    machine: PairMachine
    alive: bool = True
    frozen: bool = False
    late: list[e.Event] = field(default_factory=list)
    """What arrived while it was frozen."""
    wake: int = 0
    shown: dict[tuple[str, str], str] = field(default_factory=dict)


class World:
    """All of it. `write_hook` sees every write before it is committed and may change what becomes of it."""

    def __init__(self, clock: Clockwork, store: ApiStore, floor: Floor) -> None:
        self.clock, self.store, self.floor = clock, store, floor
        self.log = WorldLog(self)
        self.zero = clock.now
        """The moment that the log calls 0."""
        self.api_up = True
        self.policies = True
        self.beats: Heartbeats | None = None
        """What all operators of this world share with those of other pairs; None: each has its own."""
        self.problems: tuple[e.Problem, ...] = ()
        self.nodes: dict[str, e.NodeState] = {}
        self.leader = ""
        self.operator: Operator | None = None
        self.sleeper: Operator | None = None
        """An operator that was frozen and still believes that it leads."""
        self.terms = 0
        self.read_question: dict[str, tuple[str, str]] = {}
        """By person: the Failover and the evidence that was read."""
        self.backup: dict[tuple[str, str], Resource] = {}
        """All objects as they stood when a backup was taken."""
        self.writes: list[Write | e.CutPower] = []
        """Every write that was committed and every off that left, in order."""
        self.write_hook: Callable[[Write], str] = lambda _: ""
        """Returns "" (go on), crash (committed, then the operator dies), lost (committed, the answer is lost), conflict,
        failed (not committed)."""
        self.cut_hook: Callable[[e.CutPower], str] = lambda _: ""
        """The same for an off that has arrived: crash, or nothing."""
        self.agents = Agents(self)
        store.watcher = self._committed
        floor.declared = lambda: {ost.target for ost in store.every(OST)}
        clock.every(CANARY, self._canary, first=0.4)

    # --- shortcuts for tests

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self.clock.now

    def run(self, until: float) -> None:
        """Let time pass until a second of the log's time."""
        self.clock.run(self.zero + until)

    def run_until(self, condition: Callable[[], bool], limit: float = 300.0) -> bool:
        """Let time pass until a condition holds, for at most so many seconds."""
        return self.clock.run_until(condition, limit)

    @property
    def pair(self) -> OSSPair:
        """The pair as stored."""
        return self.store.get(OSSPair, PAIR)

    @property
    def status(self) -> OSSPairStatus:
        """Its status."""
        assert self.pair.status is not None
        return self.pair.status

    @property
    def failovers(self) -> tuple[Failover, ...]:
        """All Failovers, oldest first."""
        return tuple(sorted(self.store.every(Failover), key=lambda f: f.spec.epoch))

    @property
    def last(self) -> Failover:
        """The newest Failover."""
        assert self.failovers, "no Failover was opened"
        return self.failovers[-1]

    def phase(self) -> str:
        """The phase of the newest Failover; empty: there is none."""
        return self.failovers[-1].phase if self.failovers else ""

    def mounted(self) -> dict[str, list[str]]:
        """Targets by the server that has them mounted."""
        return {
            s.name: sorted(t for t, m in s.mounts.items() if m.done)
            for s in self.floor.servers.values()
            if s.could_write
        }

    # --- operators

    def start_operator(self) -> Operator:
        """A new operator leads: it is told all there is, the leadership last."""
        self.terms += 1
        name = f"t{self.terms}"
        beats = self.beats or Heartbeats()
        op = self.operator = Operator(name, beats, PairMachine(KEY, beats))
        self.leader = name
        if self.beats is None:
            beats.restart(self.now)
        self._count(op)
        for beat in self.agents.leases.values():
            beats.seen(beat, self.now)
        events: list[e.Event] = [e.Claims(self.problems)]
        events += [e.Seen(o) for _, o in sorted(self.store.objects.items())]
        events += [e.NodeSeen(n) for _, n in sorted(self.nodes.items())]
        events += [e.Beaten(b) for _, b in sorted(self.agents.leases.items())]
        events += [e.PoliciesTried(self.policies), e.Led(name)]
        for event in events:
            self.tell(op, event)
        return op

    def crash_operator(self) -> None:
        """It is gone; what it sent is on its way."""
        if self.operator:
            self.operator.alive = False
        self.operator = None
        self.leader = ""

    def freeze_operator(self) -> Operator:
        """It stops, still believing that it leads."""
        assert self.operator is not None
        self.operator.frozen = True
        return self.operator

    def thaw_operator(self, op: Operator) -> None:
        """It goes on where it was."""
        op.frozen = False
        late, op.late = op.late, []
        for event in [*late, e.Tick()]:
            self.tell(op, event)

    def tell(self, op: Operator | None, event: e.Event) -> None:
        """Hand an event to an operator, and carry out what it asks for."""
        if op is None or not op.alive:
            return
        if op.frozen:
            op.late.append(event)
            return
        match event:
            case e.Beaten(beat):
                op.heartbeats.seen(beat, self.now)
            case e.Seen(OSSPair()):
                self._count(op)
            case _:
                pass
        effects = op.machine.step(event, self.now)
        self.log.stepped(event, effects)
        for effect in effects:
            self._perform(op, effect)
        self._wake(op)

    def _wake(self, op: Operator) -> None:
        op.wake += 1
        mine, at = op.wake, op.machine.wake_at
        if at == float("inf"):
            return

        def tick() -> None:
            if op.wake == mine:
                self.tell(op, e.Tick())

        self.clock.at(max(at, self.now + 0.001), tick)

    def _count(self, op: Operator) -> None:
        """What the supervisor tells the fuse."""
        pair = self.store.find(OSSPair, PAIR)
        if pair is None:
            return
        excused = {*pair.spec.maintenance, *(f.node for f in (pair.status.fenced if pair.status else ()))}
        for name in pair.servers:
            interval = seconds(pair.spec.heartbeat.interval)
            op.heartbeats.servers[name] = Server(interval, ("filesystem/scratch",), name in excused)

    # --- what the operator asks for

    def _perform(self, op: Operator, effect: e.Effect) -> None:
        match effect:
            case e.ReadAll():
                self._read(op, effect, self.now)
            case e.CutPower() | e.PowerOn():
                self._order(op, effect)
            case e.ReadPower():
                self._reading(op, effect)
            case e.ProveWatch():
                self._canary()
            case e.Prepare() | e.Tell():
                pass
            case _:
                self.clock.after(COMMIT, lambda: self._write(op, effect))

    def _answer(self, op: Operator, wait: float, event: e.Event) -> None:
        self.clock.after(wait, lambda: self.tell(op, event))

    def _write(self, op: Operator, effect: Write) -> None:
        word = self.write_hook(effect) if self.api_up else "failed"
        if word == "failed":
            self._answer(op, CALL_TIMEOUT, e.Wrote(effect.op, e.Outcome.FAILED, None, "no answer"))
            return
        if word == "conflict":
            self._touch(effect)
        outcome, stored, detail = self._commit(effect)
        if outcome is e.Outcome.OK:
            self.writes.append(effect)
        if word == "crash":
            self._kill(op)
        elif word == "lost":
            self._answer(op, CALL_TIMEOUT, e.Wrote(effect.op, e.Outcome.FAILED, None, "the answer was lost"))
        else:
            self._answer(op, ANSWER - COMMIT, e.Wrote(effect.op, outcome, stored, detail))

    def _kill(self, op: Operator) -> None:
        if self.operator is op:
            self.crash_operator()
        op.alive = False

    def _touch(self, effect: Write) -> None:
        """Somebody else writes the object first, without changing anything that matters."""
        kinds: dict[type[Any], type[Resource]] = {e.WritePair: OSSPair, e.WriteFailover: Failover, e.WriteOST: OST}
        kind = kinds.get(type(effect))
        if kind is not None and isinstance(effect, e.WritePair | e.WriteFailover | e.WriteOST):
            self.store.put(self.store.get(kind, effect.key.rsplit("/", 1)[-1]))

    def _commit(self, effect: Write) -> tuple[e.Outcome, Resource | None, str]:
        match effect:
            case e.WritePair():
                self._check_grants(effect.status)
                return self.store.replace(OSSPair, PAIR, effect.version, effect.status)
            case e.CreateFailover():
                return self.store.create(effect.failover)
            case e.WriteFailover():
                return self.store.replace(Failover, effect.key.rsplit("/", 1)[-1], effect.version, effect.status)
            case e.DeleteFailover():
                name = effect.key.rsplit("/", 1)[-1]
                gone = self.store.objects.pop((Failover.kind, name), None)
                if gone is None:
                    return e.Outcome.GONE, None, f"{name} does not exist"
                self.clock.after(WATCH, lambda: self.tell(self.operator, e.Gone(Failover.kind, effect.key)))
                return e.Outcome.OK, gone, ""
            case e.WriteOST():
                return self.store.replace(OST, effect.key.rsplit("/", 1)[-1], effect.version, effect.status)
            case e.CreateOSS():
                wire = {"metadata": {"name": effect.node}, "spec": {"pair": effect.pair.wire()}}
                return self.store.create(OSS.parse(wire))
            case e.WriteOSSReady():
                oss = self.store.get(OSS, effect.node)
                status = oss.status or OSSStatus()
                kept = tuple(c for c in status.conditions if c.type != effect.condition.type)
                after = status.model_copy(update={"conditions": (*kept, effect.condition)})
                return self.store.replace(OSS, effect.node, "", after)

    def _check_grants(self, after: OSSPairStatus) -> None:
        """A grant to one server while another could still write is the double mount, a moment before it happens."""
        before = self.pair.status
        for a in after.assignments:
            old = before.assignment(a.target) if before else None
            others = [n for n in self.floor.writers(a.target) if n != a.node]
            if a.intent == "Serve" and others and (old is None or old.node != a.node):
                self.floor.overlaps.append(
                    f"{self.now - self.zero:.1f}s: {a.target} granted to {a.node}; {others[0]} could write"
                )

    def _read(self, op: Operator, effect: e.ReadAll, began: float) -> None:
        def take() -> None:
            if not self.api_up:
                self._answer(op, CALL_TIMEOUT, e.Read(effect.op, began, None, "no answer"))
                return
            self._answer(op, ANSWER - COMMIT, e.Read(effect.op, began, self.snapshot(op)))

        self.clock.after(COMMIT, take)

    def snapshot(self, op: Operator) -> e.Snapshot:
        """What a quorum read gives."""
        pair = self.store.find(OSSPair, PAIR)
        servers = pair.servers if pair else ()
        return e.Snapshot(
            pair=pair,
            osts=self.store.every(OST),
            osses=tuple(o for o in self.store.every(OSS) if o.name in servers),
            devices=self.store.every(FenceDevice),
            failovers=self.store.every(Failover),
            beats=tuple(self.agents.leases[s] for s in servers if s in self.agents.leases),
            nodes=tuple(self.nodes[s] for s in servers if s in self.nodes),
            leading=self.leader == op.name,
        )

    def _order(self, op: Operator, effect: e.CutPower | e.PowerOn) -> None:
        declared = self.store.find(FenceDevice, effect.feed.device)
        device = self.floor.at(effect.feed.device)
        on = isinstance(effect, e.PowerOn)
        if declared is None:
            self._answer(op, 0.01, e.Acked(effect.op, effect.feed, False, False, "DeviceNotFound"))
            return
        if device.fault in NOT_OPENED:
            self._answer(op, 0.01, e.Acked(effect.op, effect.feed, False, False, NOT_OPENED[device.fault]))
            return
        if self.now + ARRIVES > effect.deadline:
            self._answer(op, 0.01, e.Acked(effect.op, effect.feed, False, False, "DeadlinePassed: not sent"))
            return

        answers = self.floor.identity(device)
        if not matches(effect.identity, answers) and not self.floor.silent(device):
            why = f"WrongIdentity: reports {answers or 'no identity'}, {effect.identity} is expected; NOT sent"
            self._answer(op, 0.01, e.Acked(effect.op, effect.feed, False, False, why))
            return

        def arrive() -> None:
            if isinstance(effect, e.CutPower):
                self.writes.append(effect)
                if self.cut_hook(effect) == "crash":
                    self._kill(op)
            if self.floor.switch(device, effect.feed.outlet, on):
                wait = 3.0 if device.fault == "slow" else ACKNOWLEDGED - ARRIVES
                self._answer(op, wait, e.Acked(effect.op, effect.feed, True, True))
            else:
                wait = max(0.0, effect.deadline - self.now)
                self._answer(op, wait, e.Acked(effect.op, effect.feed, False, True, "DeviceSilent: no answer"))

        self.clock.after(ARRIVES, arrive)

    def _reading(self, op: Operator, effect: e.ReadPower) -> None:
        device, began = self.floor.at(effect.feed.device), self.now
        declared = self.store.find(FenceDevice, effect.feed.device)
        wait = seconds(declared.spec.request_timeout) if declared else 5.0

        def look() -> None:
            reading = self.floor.read(device, effect.feed.outlet, began, self.now)
            if reading.state is PowerState.UNKNOWN:
                late = min(effect.deadline, began + wait)
                silent = PowerReading(PowerState.UNKNOWN, began, late, detail=reading.detail)
                self._answer(op, max(0.0, late - self.now), e.PowerRead(effect.op, effect.feed, silent))
            else:
                self._answer(op, 0.0, e.PowerRead(effect.op, effect.feed, reading))

        self.clock.after(READ, look)

    # --- watches

    def _canary(self) -> None:
        """The operator renews the canary; a moment later its watch shows it."""
        op, written = self.operator, self.now
        if op is None or not self.api_up or op.frozen:
            return

        def back() -> None:
            if self.api_up and op.alive and not op.frozen:
                op.heartbeats.proven(written, self.now)
                self.tell(op, e.Proven())

        self.clock.after(ANSWER, back)

    def _committed(self, obj: Resource) -> None:
        """A commit reaches the watches of the operator and of the agents."""
        if isinstance(obj, OSSPair):
            self.agents.shown(obj)
        self.clock.after(WATCH, lambda: self._show(obj))

    def _show(self, obj: Resource) -> None:
        if self.api_up:
            self.tell(self.operator, e.Seen(obj))

    def beat(self, beat: e.Beat) -> None:
        """A lease was renewed."""
        self.clock.after(WATCH, lambda: self._show_beat(beat))

    def _show_beat(self, beat: e.Beat) -> None:
        if self.api_up:
            self.tell(self.operator, e.Beaten(beat))

    def set_api(self, up: bool) -> None:
        """The API server goes away, or comes back and all watches list anew."""
        self.api_up = up
        if not up:
            return
        for _, obj in sorted(self.store.objects.items()):
            self._committed(obj)
        for _, beat in sorted(self.agents.leases.items()):
            self.beat(beat)

    def set_problems(self, *problems: e.Problem) -> None:
        """What is wrong between objects."""
        self.problems = problems
        self.tell(self.operator, e.Claims(problems))

    def set_node(self, node: e.NodeState) -> None:
        """A Kubernetes Node moved."""
        self.nodes[node.name] = node
        if self.api_up:
            self.tell(self.operator, e.NodeSeen(node))
