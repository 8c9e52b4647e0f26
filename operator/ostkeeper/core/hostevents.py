"""What the host machine is told, and what it asks for: frozen, slotted values.

Here: events (facts in), effects (orders out), the values they carry. Not here: what follows from an event (`host`,
`permission`), how an effect is carried out (`agent`). Times are seconds on this server's monotonic clock.

BEFORE an effect of a step may be carried out: nothing, all effects of one step are independent of each other.
AFTER: exactly one answer event for each effect that has an `op`, also when it failed or was never tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS, OSSStatus
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.events import Gone, Seen, Tick

Activity = Literal["Clean", "Advancing", "Still", "Fsck", "Unreadable", "Unknown"]
"""The words of `DiskReport.state`."""

# --- facts that several events carry ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiskRef:
    """One disk of the pair, as its OST declares it: what there is to read, and where it is mounted."""

    target: str
    kind: str
    """ldiskfs, zfs or ext4."""
    source: str
    mount_point: str


class Reading(NamedTuple):
    """One disk after one more reading: what was read now, and what all readings so far say. See `diskview` for its kind."""

    target: str
    began: float
    """When the latest reading began. Freshness counts from here."""
    ok: bool = True
    """The latest reading succeeded. If not, what follows is of the latest that did."""
    error: str = ""
    """Why it did not, in words."""
    reason: str = ""
    """The same in one CamelCase word, where it is no fault of the disk."""
    activity: Activity = "Unknown"
    uuid: str = ""
    """UUID of the file system; empty before the first good reading."""
    label: str = ""
    mmp_enabled: bool = False
    ordinary: bool = False
    """The MMP block holds an ordinary sequence: neither CLEAN nor FSCK."""
    mark: str = ""
    """Who wrote the block: MMP's node and device name, as NODE/DEVICE."""
    digest: str = ""
    """SHA-256 of the MMP block."""
    update_interval: float = 5.0
    """Seconds between two writes of the owner."""
    still_since: float = 0.0
    """End of the first reading that showed the present block."""
    unmoved: float = 0.0
    """For how many seconds it was seen unchanged."""
    moves: int = 0
    """How often it was seen changed since the watch began. Never goes back."""
    file_system_errors: bool = False
    """The kernel has flagged errors in the super block."""


@dataclass(frozen=True, slots=True)
class MountFact:
    """One mount of a target's disk in this server's mount table, whoever made it."""

    mount_point: str
    read_only: bool = False
    mount_id: int = 0
    """The kernel's ID of this mount, from the mount table."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What the store remembers of a target that this server mounted or adopted: written before the mount."""

    disk: str
    """UUID of the file system."""
    boot_id: str
    """The boot in which that was: a mount does not outlive it."""
    epoch: int
    """Of the grant it rests on."""
    adopted: bool = False
    mark: str = ""
    """MMP's mark as read back after the mount; empty: begun, and nobody has read it back yet."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that the store held when the agent started."""

    epochs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The highest epoch seen: cluster UID, disk, epoch."""
    mounts: Mapping[str, Mounted] = field(default_factory=dict)
    """Target, record."""


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """What one consistent read returned, from the API server's quorum and no cache. What is absent was not found."""

    pair: OSSPair | None = None
    osts: tuple[OST, ...] = ()
    """All OSTs that name the pair."""
    partner: OSS | None = None
    failovers: tuple[Failover, ...] = ()
    """Those that a warrant names."""


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterKnown:
    """The UID of this cluster: epochs are remembered by it."""

    uid: str


@dataclass(frozen=True, slots=True)
class OSSMissing:
    """A consistent read found no OSS of this server's name: it belongs to no pair (yet)."""


@dataclass(frozen=True, slots=True)
class PairRead:
    """A consistent read ended; `snapshot` is None when any part of it failed, was forbidden, or timed out."""

    op: int
    began: float
    """When the read began."""
    snapshot: HostSnapshot | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """A disk was read."""

    reading: Reading


@dataclass(frozen=True, slots=True)
class OSTsListed:
    """All OSTs of the pair were shown: whichever was not does not exist."""


@dataclass(frozen=True, slots=True)
class MountsSeen:
    """The mount table, whole: replaces what was said before of the targets that were looked for."""

    mounts: Mapping[str, tuple[MountFact, ...]]
    """Target, its mounts. Targets without any may be missing."""
    obstacles: Mapping[str, str] = field(default_factory=dict)
    """Target, what else is mounted on its mount point."""
    targets: tuple[str, ...] = ()
    """Those that were looked for. Of all others nothing is said."""


@dataclass(frozen=True, slots=True)
class ChildrenSeen:
    """Targets whose lock is held: by a child of this or of an earlier agent. Whole: replaces what was said before of the
    targets that were looked for."""

    holders: Mapping[str, str]
    """Target, who holds it, in words."""
    targets: tuple[str, ...] = ()
    """Those whose lock was looked at, and those of which the machine has an act under way itself."""


@dataclass(frozen=True, slots=True)
class MountEnded:
    """A mount ended, or was never begun. Nothing of it is under way any more."""

    op: int
    target: str
    ok: bool
    reason: str = ""
    """One CamelCase word. ClearRefused: the block was not what was certified, and nothing was written."""
    message: str = ""
    cleared: bool = False
    """MMP was cleared before."""


@dataclass(frozen=True, slots=True)
class UnmountEnded:
    """An unmount ended, or was never begun."""

    op: int
    target: str
    ok: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseChecked:
    """Whether this server has let go of a disk: lock free, O_EXCL opens, MMP CLEAN."""

    op: int
    target: str
    free: bool
    """No child lives and `open(device, O_EXCL)` succeeded."""
    clean: bool = False
    """MMP read CLEAN after that."""
    message: str = ""
    """Why not, in words."""
    absent: bool = False
    """There is no such device on this server, no child lives, and the kernel has no mount of a device that is gone."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was to be remembered is durable; or, not `ok`, may or may not be."""

    op: int
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Renewed:
    """This server's lease was renewed by a request that began then."""

    began: float


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """The partner was asked over the network; `boot_id` is empty when nothing came back in time."""

    boot_id: str


@dataclass(frozen=True, slots=True)
class HazardsSeen:
    """What else could mount a target here. Whole: replaces what was said before."""

    hazards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A report was written, or not."""

    op: int
    ok: bool


HostEvent = (
    Tick
    | Seen
    | Gone
    | ClusterKnown
    | OSSMissing
    | PairRead
    | DiskSeen
    | OSTsListed
    | MountsSeen
    | ChildrenSeen
    | MountEnded
    | UnmountEnded
    | ReleaseChecked
    | Stored
    | Renewed
    | PeerSeen
    | HazardsSeen
    | Reported
)


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """Renew this server's lease from now on, so often; or do not. Replaces the last Beat. Answers, as long as it goes on:
    Renewed."""

    allowed: bool
    interval: float
    timeout: float


@dataclass(frozen=True, slots=True)
class WatchDisks:
    """Read these disks from now on, and no others. Answers, as long as it goes on: DiskSeen, MountsSeen."""

    disks: tuple[DiskRef, ...]
    fast: bool
    """Every 100 ms; else at half the owner's update interval."""


@dataclass(frozen=True, slots=True)
class ReadDisksNow:
    """Take one reading of each disk that begins after this. Answers: DiskSeen."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WatchPeer:
    """Ask this server over the network every interval. Answers, as long as it goes on: PeerSeen."""

    node: str
    interval: float


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A consistent read (no resourceVersion) of the pair, its OSTs, the partner's OSS and these Failovers. Answer: PairRead."""

    op: int
    namespace: str
    pair: str
    partner: str
    failovers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remember:
    """Make durable: epochs (none goes back) and mount records (None forgets one). Answer: Stored."""

    op: int
    cluster: str
    epochs: Mapping[str, int]
    mounts: Mapping[str, Mounted | None]


@dataclass(frozen=True, slots=True)
class Mount:
    """Mount a target, with its lock, caches flushed and the disk read once more right before. Answer: MountEnded."""

    op: int
    target: str
    mount_point: str
    options: tuple[str, ...]
    uuid: str
    """Nothing is mounted unless the disk, read right before, is still this one,"""
    digest: str
    """and its MMP block still has this SHA-256."""
    clear: bool
    """Clear that block first: a certificate allows it."""
    until: float
    """Nothing is begun any more after this second: the lease may have run out."""
    why: str


@dataclass(frozen=True, slots=True)
class Unmount:
    """Unmount a target, with its lock; never forced, never lazy. Answer: UnmountEnded."""

    op: int
    target: str
    mount_point: str
    why: str
    mount_id: int = 0
    """The mount that is ours: nothing else on that path is unmounted."""


@dataclass(frozen=True, slots=True)
class CheckRelease:
    """See whether this server has let go of a disk. Answer: ReleaseChecked."""

    op: int
    target: str


@dataclass(frozen=True, slots=True)
class Report:
    """Write this server's OSS status. Answer: Reported."""

    op: int
    status: OSSStatus


@dataclass(frozen=True, slots=True)
class StopMachine:
    """Stop this machine at once, without syncing or unmounting anything: it must not write any more."""

    why: str


HostEffect = (
    Beat
    | WatchDisks
    | ReadDisksNow
    | WatchPeer
    | ReadPair
    | Remember
    | Mount
    | Unmount
    | CheckRelease
    | Report
    | StopMachine
)
