"""What the pair machine knows: the objects as last seen, the clocks, and what this leader saw with its own eyes.

Here: indices and questions about them. Not here: what follows from the answers (`verdict`, `plan`, `failover`).
Who adds a question that depends on time, or on anything but the view: `signs` has the rule by which a plan wakes for it.
Everything in `View` but the objects dies with the leader's term: a new one starts every clock again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ostkeeper.api.common import DISK_READING_MAX_AGE, seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, DiskReport, OSSStatus, TargetReport
from ostkeeper.api.osspair import Assignment, OSSPair, OSSPairStatus
from ostkeeper.api.ost import OST
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.events import Beat, NodeState, Problem
from ostkeeper.core.heartbeats import Heartbeats, newer

T = TypeVar("T")


@dataclass(slots=True)
class Suspicion:
    """A server that a witness has missed. What concerns it is judged as it stood when this began."""

    since: float
    armed: bool
    reason: str
    """Why the pair was not armed then; empty when it was."""


def _named_by(beat: Beat, oss: OSS) -> OSSStatus | None:
    """The report, if it is of the lease's boot and not older than what the lease names, and no newer one is overdue."""
    status = oss.status
    if beat.overdue:
        return None
    if status is None or not beat.report or newer(beat.report, oss.version) or status.boot_id != beat.boot_id:
        return None
    return status


class Shown(NamedTuple):
    """A mirror write under way: its `op`, and what will be shown."""

    op: int
    what: object


class Declared(NamedTuple):
    """What the pair's object says of its servers, and their heartbeats' interval and time-out in seconds."""

    pair: OSSPair | None
    """The object, as long as it is this one."""
    servers: tuple[str, ...] = ()
    interval: float = 2.0
    timeout: float = 10.0


UNDECLARED = Declared(None)
"""Without the object."""


class Kept(NamedTuple):
    """What was made, and all that it rests on."""

    of: tuple[object, ...]
    made: Any


@dataclass(slots=True)
class View:
    """All that one pair machine knows."""

    key: str
    heartbeats: Heartbeats
    term: str = ""
    """Names this leader's term; empty: not leading."""
    led_at: float = 0.0
    pair: OSSPair | None = None
    osts: dict[str, OST] = field(default_factory=dict)
    osses: dict[str, OSS] = field(default_factory=dict)
    devices: dict[str, FenceDevice] = field(default_factory=dict)
    failovers: dict[str, Failover] = field(default_factory=dict)
    nodes: dict[str, NodeState] = field(default_factory=dict)
    node_moved: dict[str, float] = field(default_factory=dict)
    """When a kubelet's heartbeat was last seen to move."""
    uptime_seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By server: version of the report that told its uptime, and when it was first seen."""
    report_moved: dict[str, float] = field(default_factory=dict)
    """When a server's agent was last seen to report anew in this term; the first sight of a report is no movement."""
    reopen_at: dict[str, float] = field(default_factory=dict)
    """Not before this second is another Failover of the server opened: the last one was aborted."""
    well_since: dict[str, float] = field(default_factory=dict)
    """Since when a server is Healthy without a break, and in which boot it is (`well_boot`)."""
    well_boot: dict[str, str] = field(default_factory=dict)
    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    trust: tuple[tuple[float, str], ...] = ()
    """Since when the pair was not armed for which reasons (empty: it was armed), oldest first; the last sixteen."""
    powered_on: dict[str, float] = field(default_factory=dict)
    """When this leader powered a server on."""
    problems: tuple[Problem, ...] = ()
    policies: bool | None = None
    """Whether the admission policies are in force; None: not tried yet."""
    campaign: Campaign | None = None
    """What this leader saw of the failover that is under way."""
    nonces: int = 0
    """How many nonces this term has asked."""
    approvals: dict[str, float] = field(default_factory=dict)
    """When a person's answer was first seen, by the evidence that it names."""
    moving: dict[str, float] = field(default_factory=dict)
    """Since when a Release is seen that its server has not reported as carried out, by target."""
    motionless: dict[tuple[str, str], float] = field(default_factory=dict)
    """By server and target: since when a disk stands still, or is unreadable, under the living server that has it mounted."""
    unhealthy: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """By server, type and status: since when its Node has a condition that `unhealthyConditions` names."""
    ailing: dict[str, float] = field(default_factory=dict)
    """Since when a server lives and cannot serve."""
    unread: dict[str, float] = field(default_factory=dict)
    """Since when a living server's lease names a report that was not seen yet: two watches, one of which is late."""
    noted_at: dict[str, float] = field(default_factory=dict)
    """When this leader first saw that a sick server was emptied, by the Failover that did it."""
    refused: str = ""
    """What the API server refused to store last; empty when all is well."""
    writing: str = ""
    """What the last write of the pair was for."""
    unshown: bool = False
    """Whether what it refused last were the conditions: then they are not written before `retry_at`, either."""
    memo: dict[str, Any] | None = None
    """What was made in this one step, in which nothing that it rests on changes (`once`); None outside of a step."""
    kept: dict[str, Kept] = field(default_factory=dict)
    """What was made of objects, as long as it is these objects (`keep`)."""
    declared: Declared = UNDECLARED
    """What the pair's object says, as it was read last."""
    ops: int = 0
    busy: int = 0
    """The one write or quorum read that decisions wait for; 0: none is under way."""
    mirrors: dict[str, Shown] = field(default_factory=dict)
    """Mirror writes under way, by `Kind key`."""
    showing: int = 0
    """The write that is under way when it only shows conditions and the last plan asked for it; else 0."""
    shown_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """When the watch last showed an object, or that it is gone, by kind and name: a read that began before is behind it."""
    stale: bool = False
    """A write met a changed object: read everything before deciding anything."""
    retry_at: float = 0.0
    """Nothing is written before this second: the last write failed."""
    slot_known: str = ""
    """The slot for which it is known whether its Failover exists: this leader took it, or has read everything since."""
    prove_at: float = 0.0
    """Not before this second is the canary asked for again."""
    proving: bool = False
    """Whether the last plan waits for the canary: it is asked for again and again, without another plan."""
    rejoin: Campaign | None = None
    """The powering on of a fenced server after its relocation."""
    unserved: dict[str, float] = field(default_factory=dict)
    """Since when this leader has seen a target that is to be mounted not served."""
    adopt_at: float = 0.0
    """Not before this second are the agents asked again where the targets are that could not be placed."""
    retire_at: float = 0.0
    """Not before this second are the agents asked again about targets of deleted OSTs."""
    retire_nonce: str = ""
    """The nonce that this leader asked last about targets of deleted OSTs."""
    mirror_retry: dict[str, float] = field(default_factory=dict)
    reports: dict[str, tuple[OSS, Beat, OSSStatus | None]] = field(default_factory=dict)
    """What `report` made of a server's object and lease, as long as it is these two."""
    wake: float = math.inf
    """When something is due, set anew by each plan. Whose renewal will be overdue when is not part of it: `signs`."""
    awake: bool = False
    """Whether the last plan rests on what neither an event, nor `wake`, nor a sign of a lease tells: see `signs`."""

    def next_op(self) -> int:
        """A number that no request of this machine had before."""
        self.ops += 1
        return self.ops

    def wake_by(self, at: float) -> None:
        """Plan again at this second, at the latest."""
        self.wake = min(self.wake, at)

    def note_powered_on(self, node: str, now: float) -> None:
        """This leader has powered a server on: what this step made of it before does not hold any more."""
        self.powered_on[node] = now
        if self.memo is not None:
            self.memo.clear()

    def once(self, what: str, make: Callable[[View, float], T], now: float) -> T:
        """Made of the view once a step, however many ask for it. `what` names it in the step."""
        if self.memo is None:
            return make(self, now)
        if what not in self.memo:
            self.memo[what] = make(self, now)
        made: T = self.memo[what]
        return made

    def keep(self, what: str, of: tuple[object, ...], make: Callable[[View], T]) -> T:
        """Made of the view once, and again only when `of` is not the same any more: that is ALL that `make` looks at."""
        kept = self.kept.get(what)
        if kept is None or kept.of != of:
            kept = self.kept[what] = Kept(of, make(self))
        made: T = kept.made
        return made

    def stay_awake(self) -> None:
        """Plan on the next event, whatever it is: what was made of the view may change without a sign (see `signs`)."""
        self.awake = True

    @property
    def status(self) -> OSSPairStatus | None:
        """The pair's status, if it has one."""
        return self.pair.status if self.pair else None

    @property
    def servers(self) -> tuple[str, ...]:
        """The pair's two servers."""
        return (self.declared if self.declared.pair is self.pair else self._read_pair()).servers

    @property
    def active(self) -> Failover | None:
        """The open Failover, if it was seen."""
        status = self.status
        return self.failovers.get(status.active_failover) if status and status.active_failover else None

    def interval(self) -> float:
        """Heartbeat interval, seconds."""
        return (self.declared if self.declared.pair is self.pair else self._read_pair()).interval

    def timeout(self) -> float:
        """Heartbeat time-out, seconds."""
        return (self.declared if self.declared.pair is self.pair else self._read_pair()).timeout

    def _read_pair(self) -> Declared:
        pair = self.pair
        if pair is None:
            self.declared = UNDECLARED
        else:
            beat = pair.spec.heartbeat
            self.declared = Declared(pair, pair.servers, seconds(beat.interval), seconds(beat.timeout))
        return self.declared

    def beat(self, node: str) -> Beat | None:
        """The server's lease as last seen."""
        pulse = self.heartbeats.pulses.get(node)
        return pulse.beat if pulse else None

    def boot(self, node: str) -> str:
        """The boot ID that the server's lease names; empty: none was ever seen."""
        beat = self.beat(node)
        return beat.boot_id if beat else ""

    def fresh(self, node: str, now: float) -> bool:
        """Whether the server was seen alive just now: its lease was seen to move in this term and is not late."""
        pulse = self.heartbeats.pulses.get(node)
        return pulse is not None and pulse.moved and not pulse.late(self.interval(), now)

    def watched(self, node: str) -> bool:
        """Whether anything can be said of a server: it was seen to move in this term, or proven to stand still for so long."""
        pulse = self.heartbeats.pulses.get(node)
        return (pulse is not None and pulse.moved) or self.silent(node)

    def silent(self, node: str) -> bool:
        """Whether the server's lease is proven to have stood still for the time-out."""
        return self.heartbeats.stale_for(node) >= self.timeout()

    def waited(self, since: float, now: float) -> float:
        """Seconds for which something is waited for, without those in which nobody could be heard."""
        return 0.0 if self.heartbeats.blind(now) else now - max(since, self.heartbeats.started)

    def outlived(self, node: str, partner: str) -> bool:
        """Whether a renewal of the partner was seen that began after the first one that the server missed."""
        pulse = self.heartbeats.pulses.get(node)
        missed = (pulse.changed_at if pulse else self.heartbeats.started) + self.interval()
        return self.heartbeats.renewed_since(partner, missed)

    def report(self, node: str) -> OSSStatus | None:
        """What the server's agent reported, if we have at least the report that its lease names."""
        oss, pulse = self.osses.get(node), self.heartbeats.pulses.get(node)
        if oss is None or pulse is None:
            return None
        beat, known = pulse.beat, self.reports.get(node)
        if known is None or known[0] is not oss or known[1] is not beat:
            known = self.reports[node] = (oss, beat, _named_by(beat, oss))
        return known[2]

    def unreported(self, node: str) -> str:
        """Empty unless a newer report of the server's agent is overdue; else that, and why. It carries no age."""
        beat = self.beat(node)
        if beat is None or not beat.overdue:
            return ""
        return f"the agent of {node} cannot write its report: {beat.pending_why or 'no answer of the API server'}"

    def overdue_disks(self, node: str) -> tuple[str, ...] | None:
        """The targets of which a server's lease says that their readings are overdue; None: it reads no disk."""
        beat = self.beat(node)
        return beat.unread if beat else None

    def disks(self, node: str) -> dict[str, DiskReport]:
        """The shared disks as a server reads them; without those whose readings are overdue."""
        report, unread = self.report(node), self.overdue_disks(node)
        if report is None or unread is None or "*" in unread:
            return {}
        return {disk.target: disk for disk in report.disks if disk.target not in unread}

    def unreadable(self, node: str, target: str) -> bool:
        """Whether a server says that it cannot read a disk. Not where it says nothing, or has not read for long enough."""
        report, unread = self.report(node), self.overdue_disks(node)
        if report is None or unread is None:
            return False
        disk = self.disks(node).get(target)
        return disk is None or disk.state == "Unreadable"

    def target_report(self, node: str, target: str) -> TargetReport | None:
        """One target as one server has it, from its last report."""
        oss = self.osses.get(node)
        if oss is None or oss.status is None:
            return None
        for report in oss.status.targets:
            if report.target == target:
                return report
        return None

    def held_by(self, node: str) -> tuple[Assignment, ...]:
        """The targets that are this server's, whatever it is told about them."""
        status = self.status
        return tuple([a for a in status.assignments if a.node == node]) if status else ()

    def ost(self, target: str) -> OST | None:
        """The object that declares a target."""
        newcomers = self.newcomers()
        for ost in self.osts.values():
            if ost.target == target and ost.key not in newcomers:
                return ost
        return None

    def newcomers(self) -> set[str]:
        """Keys of OSTs that claim what another OST in service has."""
        return {problem.key for problem in self.problems if problem.newcomer}

    def undeclared(self) -> tuple[Assignment, ...]:
        """Assignments of targets that no OST declares any more. A target of an OST that cannot be read counts as declared."""
        if self.status is None or not self.status.assignments:
            return ()
        declared = {ost.target for ost in self.osts.values()}
        lost = [a for a in self.status.assignments if a.target not in declared]
        blocked = self.blocked_targets() if lost else set()
        return tuple([a for a in lost if a.target not in blocked])

    def reads_all(self, node: str, targets: tuple[str, ...]) -> str:
        """Empty when the server reads all these disks; else what it cannot read."""
        disks = self.disks(node)
        if not disks and targets:
            return f"{node} has no disk reading younger than {DISK_READING_MAX_AGE:g}s"
        blind = [t for t in targets if t not in disks or disks[t].state in ("Unreadable", "Unknown")]
        return f"{node} cannot read {', '.join(blind)}" if blind else ""

    def reads_some(self, node: str, targets: tuple[str, ...]) -> str:
        """Empty when the server reads one of these disks in service, and says of each other one that it cannot; else why not."""
        if not targets:
            return ""
        rest = tuple([t for t in self.in_service(targets) if not self.unreadable(node, t)])
        return self.reads_all(node, rest or targets)

    def in_service(self, targets: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the targets that are to be mounted; where none is, all of them."""
        wanted = tuple([t for t in targets if (ost := self.ost(t)) is None or ost.spec.desired == "Mounted"])
        return wanted or targets

    def in_maintenance(self, node: str) -> bool:
        """Whether a person is emptying the server."""
        return self.pair is not None and node in self.pair.spec.maintenance

    def wanted_at(self, ost: OST) -> str:
        """Where a target ought to be served: home, or the partner by serveFrom, or while that server is in maintenance."""
        assert self.pair is not None
        home = ost.spec.home_node
        want = self.pair.partner_of(home) if ost.spec.serve_from == "Partner" else home
        other = self.pair.partner_of(want)
        return other if self.in_maintenance(want) and not self.in_maintenance(other) else want

    def blocked_targets(self) -> set[str]:
        """Targets that get no grant, since two objects contradict each other."""
        return {target for problem in self.problems for target in problem.targets}

    def board_refusal(self, node: str) -> str:
        """Empty when the machine under this name is the pinned one, or none is pinned yet."""
        status, oss = self.status, self.osses.get(node)
        uuid = oss.status.system_uuid if oss and oss.status else ""
        pinned = [board.system_uuid for board in status.boards if board.node == node] if status else []
        if not uuid or not pinned or uuid == pinned[0]:
            return ""
        return f"{node} is another machine: its board is {uuid}, {pinned[0]} is pinned"
