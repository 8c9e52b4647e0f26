"""What the pair machine is told, and what it asks for: frozen, slotted values.

Events carry facts in, effects carry orders out; `op` ties an answer to its request. An effect says *why*, because the
reason goes into the object's timeline. What an event means is decided in `pair` and `plan`; how an effect is carried out,
in `controller`. Wall-clock time appears nowhere: empty `time` fields are stamped by whoever writes the object.

BEFORE an effect of a step may be carried out: nothing, all effects of one step are independent of each other.
AFTER: exactly one answer event for each effect that has an `op`, also when it failed or was never tried.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ostkeeper.api.common import REPORT_MAX_PENDING, Condition, Resource
from ostkeeper.api.failover import Failover, FailoverStatus
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, PairRef
from ostkeeper.api.osspair import OSSPair, OSSPairStatus
from ostkeeper.api.ost import OST, OSTStatus
from ostkeeper.core.power import Feed, PowerReading

# --- facts that several events carry ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """One state of one server's lease, as its watch or a quorum read gave it."""

    node: str
    boot_id: str
    """From the holder, NODE/BOOTID; empty when the holder is not of that form."""
    version: str
    """The lease's resourceVersion: a renewal always changes it."""
    report: str = ""
    """resourceVersion of the last OSS report that the agent made."""
    unread: tuple[str, ...] | None = None
    """The targets whose disk it has not read within DISK_READING_MAX_AGE (`*`: all of them); None: it reads no disk."""
    pending: float | None = None
    """Seconds for which a newer report was not written; None: the last report is its newest."""
    pending_why: str = ""
    """Why not, as the API server or the connection said."""

    @property
    def overdue(self) -> bool:
        """A newer report has been pending for so long that the last one says nothing any more."""
        return self.pending is not None and self.pending > REPORT_MAX_PENDING


NODE = "Node"
"""The kind of a Kubernetes Node in `Gone`."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """One Kubernetes Node: its kubelet's heartbeat and conditions."""

    name: str
    ready: str
    """Status of the Ready condition: True, False, Unknown."""
    heartbeat: str
    """The kubelet's last heartbeat and lease renewal, opaque: only its movement counts."""
    conditions: tuple[tuple[str, str], ...] = ()
    """(type, status) of all conditions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong between two objects: nothing of what it names is granted or shot."""

    kind: str
    key: str
    """The object that it is said of, `namespace/name`."""
    reason: str
    """One CamelCase word."""
    message: str
    targets: tuple[str, ...] = ()
    """Targets that get no grant."""
    nodes: tuple[str, ...] = ()
    """Servers that are not shot."""
    newcomer: bool = False
    """Of two OSTs with one identity: the other one is in service, and this one gets nothing."""
    devices: tuple[str, ...] = ()
    """Keys of FenceDevices that are not used: no feed of theirs proves anything, none is switched."""
    identities: tuple[str, ...] = ()
    """Identities (`identity.key`) that count as none: several boards report them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one quorum read returned: all that the pair is about, at one time, from the API server and no cache."""

    pair: OSSPair | None
    osts: tuple[OST, ...] = ()
    """All OSTs that name the pair."""
    osses: tuple[OSS, ...] = ()
    """The OSS of the pair's servers."""
    devices: tuple[FenceDevice, ...] = ()
    """All FenceDevices of the namespace."""
    failovers: tuple[Failover, ...] = ()
    """All Failovers of the pair."""
    beats: tuple[Beat, ...] = ()
    """The leases of the pair's servers."""
    nodes: tuple[NodeState, ...] = ()
    """The Nodes of the pair's servers."""
    leading: bool = False
    """Whether the leader lease still named this operator."""


class Outcome(enum.StrEnum):
    """How a write ended."""

    OK = "Ok"
    CONFLICT = "Conflict"
    """Somebody else wrote in between (409), or the object exists already."""
    GONE = "Gone"
    """The object does not exist (404)."""
    REFUSED = "Refused"
    """The API server refused it (400, 403, 422): trying the same again is of no use."""
    FAILED = "Failed"
    """No answer or a server error: it may or may not have been written."""


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """`wake_at` has passed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A watch showed an object of this pair: new or changed. A wake-up; acts rest on quorum reads."""

    object: Resource
    """An OSSPair, OST, OSS, FenceDevice or Failover."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A watch said that an object is gone. Absence orders nothing."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Beaten:
    """The lease watch showed a server's lease. `Heartbeats` has been told already."""

    beat: Beat


@dataclass(frozen=True, slots=True)
class Proven:
    """The canary came back: the lease watch lives. `Heartbeats` has been told already."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """The Node watch showed a server's Node."""

    node: NodeState


@dataclass(frozen=True, slots=True)
class Claims:
    """What is wrong between this pair's objects and any others, whole: replaces what was said before."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Led:
    """This operator became the leader. All clocks start again."""

    term: str
    """Names this term for one machine in one of its lives; never used twice. Part of each nonce."""


@dataclass(frozen=True, slots=True)
class Deposed:
    """This operator is no longer the leader, or cannot know."""


@dataclass(frozen=True, slots=True)
class PoliciesTried:
    """The operator tried, dry, to approve as itself: `in_force` when that was refused (403)."""

    in_force: bool


@dataclass(frozen=True, slots=True)
class Wrote:
    """A write ended. With OK, `object` is what the API server stored."""

    op: int
    outcome: Outcome
    object: Resource | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """A quorum read ended; `snapshot` is None when any part of it failed."""

    op: int
    began: float
    """When the read began, on the operator's monotonic clock."""
    snapshot: Snapshot | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Acked:
    """An off or on ended: acknowledged, or failed. Never a proof of anything. Nothing of it is under way any more."""

    op: int
    feed: Feed
    ok: bool
    sent: bool
    """False: the deadline came first, and it was never sent."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PowerRead:
    """A reading of one feed."""

    op: int
    feed: Feed
    reading: PowerReading


Event = (
    Tick
    | Seen
    | Gone
    | Beaten
    | Proven
    | NodeSeen
    | Claims
    | Led
    | Deposed
    | PoliciesTried
    | Wrote
    | Read
    | Acked
    | PowerRead
)


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WritePair:
    """Replace OSSPair.status, guarded by resourceVersion. Answer: Wrote."""

    op: int
    key: str
    version: str
    status: OSSPairStatus
    why: str


@dataclass(frozen=True, slots=True)
class CreateFailover:
    """Create the Failover that the pair's activeFailover names. Answer: Wrote (CONFLICT: it exists)."""

    op: int
    failover: Failover
    why: str


@dataclass(frozen=True, slots=True)
class DeleteFailover:
    """Delete a finished Failover, guarded by resourceVersion. Answer: Wrote."""

    op: int
    key: str
    version: str


@dataclass(frozen=True, slots=True)
class WriteFailover:
    """Replace Failover.status, guarded by resourceVersion. Answer: Wrote."""

    op: int
    key: str
    version: str
    status: FailoverStatus
    why: str


@dataclass(frozen=True, slots=True)
class CreateOSS:
    """Create the OSS of a server: the referee that no server is in two pairs. Answer: Wrote (CONFLICT: it exists)."""

    op: int
    node: str
    pair: PairRef


@dataclass(frozen=True, slots=True)
class WriteOSSReady:
    """Set the Ready condition of an OSS; the rest of its status is its agent's. Answer: Wrote."""

    op: int
    node: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class WriteOST:
    """Replace OST.status: a mirror, guarded by resourceVersion. Answer: Wrote."""

    op: int
    key: str
    version: str
    status: OSTStatus


@dataclass(frozen=True, slots=True)
class ReadAll:
    """Quorum read of all that the pair is about, and of the leader lease. Answer: Read."""

    op: int
    key: str


@dataclass(frozen=True, slots=True)
class Prepare:
    """Open sessions to these feeds' devices, so that an off is one packet. No answer."""

    feeds: tuple[Feed, ...]


@dataclass(frozen=True, slots=True)
class CutPower:
    """Order one feed off; not one packet after `deadline`. Answer: Acked."""

    op: int
    feed: Feed
    deadline: float
    """A second of the operator's monotonic clock, 2 s at most after the quorum read that it rests on began."""
    why: str
    identity: str = ""
    """Sent only in a session whose device has this identity (`core.identity.matches`); empty: none is pinned."""


@dataclass(frozen=True, slots=True)
class PowerOn:
    """Order one feed on. Answer: Acked."""

    op: int
    feed: Feed
    deadline: float
    why: str
    identity: str = ""
    """As of CutPower."""


@dataclass(frozen=True, slots=True)
class ReadPower:
    """Read one feed. Answer: PowerRead, at the latest when `deadline` has passed (UNKNOWN)."""

    op: int
    feed: Feed
    deadline: float


@dataclass(frozen=True, slots=True)
class ProveWatch:
    """Renew the canary now: a decision waits for the proof that the lease watch lives. No answer but Proven."""


@dataclass(frozen=True, slots=True)
class Tell:
    """A Kubernetes Event about an object. No answer."""

    kind: str
    key: str
    uid: str
    type: str
    """Normal or Warning."""
    reason: str
    message: str = field(default="")


Effect = (
    WritePair
    | CreateFailover
    | DeleteFailover
    | WriteFailover
    | CreateOSS
    | WriteOSSReady
    | WriteOST
    | ReadAll
    | Prepare
    | CutPower
    | PowerOn
    | ReadPower
    | ProveWatch
    | Tell
)
