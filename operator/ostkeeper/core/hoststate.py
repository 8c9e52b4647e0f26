"""What the host machine knows: one server, its pair, and each target as this server has it.

Here: plain state, and the questions that are answered by looking at it. Not here: rules (`permission`), what is done next
(`host`). Only `host` changes any of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import MOST_TARGETS, OSS, NonceAnswer, PeerReport, Released, TargetReport
from ostkeeper.api.osspair import Assignment, Heartbeat, Nonce, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.hostevents import DiskRef, Mounted, MountFact, Reading, Remembered

STALLED_AFTER = 10.0
"""Seconds without a new reading after which a disk is reported as unreadable: the device hangs."""


@dataclass(frozen=True, slots=True)
class Server:
    """Who this server is, and which run of the agent this is."""

    node: str
    boot_id: str
    system_uuid: str
    agent_start: str
    version: str


@dataclass(slots=True)
class Wish:
    """A mount that the cached pair allows, and that waits for a fresh read and for the store."""

    epoch: int
    since: float
    """Only a read that began at or after this second counts."""
    read_began: float = -math.inf


@dataclass(slots=True)
class Target:
    """One target, as this server has it."""

    name: str
    ost: OST | None = None
    """As last seen, also after its object went: absence orders nothing."""
    ref: DiskRef | None = None
    """What there is to read, as `ost` says."""
    present: bool = False
    """Its object exists."""
    reading: Reading | None = None
    mounts: tuple[MountFact, ...] = ()
    mounts_seen: bool = False
    """The mount table was looked at for it."""
    lock_seen: bool = False
    obstacle: str = ""
    """What else is mounted on its mount point."""
    holder: str = ""
    """Who holds its lock, in words; empty: nobody."""
    busy: Literal["", "mount", "unmount", "check"] = ""
    op: int = 0
    """The effect under way, when busy."""
    busy_epoch: int = 0
    """The epoch that the effect under way rests on."""
    wish: Wish | None = None
    failures: int = 0
    retry_at: float = -math.inf
    failed: tuple[str, str] | None = None
    """Reason and message of the last failure."""
    refused: tuple[str, str] | None = None
    """Reason and message of why it is not mounted although it should be."""
    displaced: tuple[Mounted | None] | None = None
    """The record that stood where a mount's own was written, to be put back should that mount never come about."""
    hurried: float = -math.inf
    """When a reading was asked for because the disk may have stood still for long enough."""
    unclearable: str = ""
    """Digest of a block that could not be cleared: the mount waits as the kernel does."""
    granted: int = 0
    """Epoch of the assignment that failures and back-off belong to."""
    looked: int = 0
    """Epoch of the last grant for which a fresh read was made: objects in the caches may lag behind each other."""
    releasing: Released | None = None
    """Released, and reported once the store has forgotten the mount."""
    released: Released | None = None
    cleared: bool = False
    """MMP was cleared for the mount that is there, or is tried: also by an attempt that then failed."""
    mounted_at: float = math.inf
    """When the mount was first seen here, with `moves_then`: a mark is read back only after the kernel's thread wrote."""
    moves_then: int = 0
    errors_then: bool = False
    """The super block had errors flagged when the mount was first seen."""

    @property
    def uuid(self) -> str:
        """UUID of its file system; empty before the first good reading."""
        return self.reading.uuid if self.reading else ""

    @property
    def inspected(self) -> bool:
        """Whether its mounts and its lock were looked at: before that nothing is known of either."""
        return self.mounts_seen and self.lock_seen

    @property
    def child(self) -> bool:
        """A mount, umount or clear of it may still be running here."""
        return self.busy in ("mount", "unmount") or bool(self.holder)


@dataclass(slots=True)
class Base:
    """From when on movement counts for one failover and level: the first nonce of it that this agent saw."""

    since: float
    first: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Target: begin and `moves` of the first good reading that began after `since`."""


@dataclass(slots=True)
class Question:
    """The nonce that is being answered."""

    nonce: Nonce
    seen_at: float
    base: Base


@dataclass(slots=True)
class Forgotten:
    """An earlier agent of this server had reported epochs, and the store held none when this one started."""

    seen: int
    """The epoch that the earlier agent had reported last."""
    partner: tuple[str, int] = ("", 0)
    """Boot and uptime in the partner's report, as first seen."""
    pair_epoch: int = -1
    """Epoch of the pair, as first seen."""
    vouched: bool = False
    """The partner has reported since, or a leader has written an epoch: both know what a restored etcd does not."""


@dataclass(slots=True)
class Host:
    """Everything this server's machine knows."""

    server: Server
    stored: Remembered
    corrupt: str = ""
    """Why the store cannot be trusted; empty: it can."""
    cluster: str = ""
    oss: OSS | None = None
    oss_missing: bool = False
    """A read found no OSS of this name."""
    partner: OSS | None = None
    pair: OSSPair | None = None
    pair_seen: float = -math.inf
    """When the watch showed it."""
    read: OSSPair | None = None
    """The pair as the last consistent read had it: what a mount rests on."""
    read_began: float = -math.inf
    """When that read began."""
    pair_missing: bool = False
    """A read found no such pair: then no board is pinned, either."""
    pinned: str = ""
    """System UUID that the pair pins under this server's name."""
    osts: dict[str, OST] = field(default_factory=dict)
    """By key."""
    failovers: dict[str, Failover] = field(default_factory=dict)
    """Of this pair, by name."""
    targets: dict[str, Target] = field(default_factory=dict)
    """By name, and in the order of names."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Durable: the highest epoch seen in this cluster, by disk."""
    records: dict[str, Mounted] = field(default_factory=dict)
    """Durable: what was mounted, by target."""
    osts_listed: bool = False
    """All OSTs of the pair were seen."""
    lease_until: float = -math.inf
    """Own lease counts as held until then."""
    peer: PeerReport = field(default_factory=PeerReport)
    peer_since: float = math.inf
    """When the partner last answered, or was first asked."""
    hazards: tuple[str, ...] = ()
    forgotten: Forgotten | None = None
    """The state store has vanished since the last run; None: it has not."""
    question: Question | None = None
    bases: dict[tuple[str, int], Base] = field(default_factory=dict)
    """By failover and level (0 or more)."""
    answer: NonceAnswer | None = None
    answered_mounted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Nonce: what this server said was mounted."""

    @property
    def heartbeat(self) -> Heartbeat:
        """The pair's, or its defaults before it is known."""
        return self.pair.spec.heartbeat if self.pair else Heartbeat()

    @property
    def interval(self) -> float:
        """Seconds between two renewals of the lease."""
        return seconds(self.heartbeat.interval)

    @property
    def timeout(self) -> float:
        """Seconds after which a lease that was not renewed speaks for a dead server."""
        return seconds(self.heartbeat.timeout)

    @property
    def silence(self) -> float:
        """Seconds without an answer after which the partner's network is silent: it has missed a question by then.

        Less than the heartbeat's time-out: this witness has a phase of its own, and would else often speak last of all.
        """
        interval, timeout = self.interval, self.timeout
        return max(2 * interval, timeout - interval)

    @property
    def partner_name(self) -> str:
        """The other server of the pair; empty before it is known, or if this one is not of it."""
        if self.pair is None or self.server.node not in self.pair.servers:
            return ""
        return self.pair.partner_of(self.server.node)

    def assignment(self, target: str) -> Assignment | None:
        """Who may mount a target, as the pair says."""
        return self.pair.status.assignment(target) if self.pair and self.pair.status else None

    def record(self, target: str) -> Mounted | None:
        """What this server mounted or adopted, or was about to, in this boot."""
        record = self.records.get(target)
        return record if record and record.boot_id == self.server.boot_id else None

    def disk_of(self, target: Target) -> str:
        """UUID of its file system, as read, or as the store knows it from a mount; empty where neither does."""
        record = self.records.get(target.name)
        return target.uuid or (record.disk if record else "")

    def seen_for(self, target: Target) -> int:
        """The highest epoch seen for its disk."""
        return max(self.epochs.get(self.disk_of(target), 0), self.epochs.get(target.name, 0))

    def memory_of(self, target: Target) -> str:
        """What an epoch is remembered by: its disk, or its name where a Release has no disk here. Empty: not yet."""
        grant = self.assignment(target.name)
        mine = grant is not None and (grant.node, grant.intent) == (self.server.node, "Release")
        nothing = mine and target.reading is not None and self.never_here(target)
        return self.disk_of(target) or (target.name if nothing else "")

    def never_here(self, target: Target) -> bool:
        """Whether this server cannot have the target mounted: nothing of it is mounted, no child may mount it, the store has
        no mount of it, and its disk was never read."""
        free = target.inspected and not target.mounts and not target.holder
        return free and target.name not in self.records and target.uuid == ""

    def ours(self, target: Target) -> bool:
        """It is mounted here, by this agent (or an earlier one of this boot), or as the pair adopted it."""
        return bool(target.mounts) and self.record(target.name) is not None

    def retired(self, target: Target) -> bool:
        """Whether its OST is gone, the pair has dropped its assignment, and nothing of it is left on this server.

        A pair without a status, or below an epoch that was seen, has dropped nothing.
        """
        status = self.pair.status if self.pair else None
        if status is None or target.present or not target.inspected or status.epoch < self.epoch_seen():
            return False
        left = target.mounts or target.child or target.busy or target.releasing or self.record(target.name)
        return not left and status.assignment(target.name) is None

    def told(self) -> list[Target]:
        """The targets that reports and answers name: at most MOST_TARGETS, those that are assigned or mounted first."""
        known = [target for target in self.targets.values() if target.ost is not None]
        if len(known) <= MOST_TARGETS:
            return known
        ours = [t for t in known if t.mounts or t.child or self.assignment(t.name) is not None]
        chosen = {t.name for t in [*ours, *(t for t in known if t not in ours)][:MOST_TARGETS]}
        return [target for target in known if target.name in chosen]

    def unseen(self) -> str:
        """What of this server was not looked at yet since the agent started; empty: everything was."""
        if not self.osts_listed:
            return "the pair's OSTs were not listed yet"
        for target in self.targets.values():
            if target.ost is not None and not target.inspected:
                return f"the mounts and the lock of {target.name} were not looked at yet"
        return ""

    def epoch_seen(self) -> int:
        """The highest epoch seen for any disk of the pair."""
        return max((self.seen_for(target) for target in self.targets.values()), default=0)

    def partner_target(self, target: str) -> TargetReport | None:
        """The partner's last report of a target."""
        status = self.partner.status if self.partner else None
        return next((report for report in status.targets if report.target == target), None) if status else None
