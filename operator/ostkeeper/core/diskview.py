"""One disk over time: what a reading is, and what follows from a sequence of them: advancing, or still, and since when.

Here: values and functions of readings. Not here: how a disk is read (`agent.backends`, `sim.disks`), when it is read again
(`agent.watch`), what stillness allows (`permission`).

All times are seconds on the reading host's monotonic clock. What is made anew with each reading is a NamedTuple: as frozen as
a dataclass, and made in a tenth of the time.
"""

from __future__ import annotations

import enum
import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

from ostkeeper.core.hostevents import Reading

FAST_INTERVAL = 0.1
"""Seconds between two readings while a nonce is open."""
_MAX_INTERVAL = 2.5
_STILL_AFTER = 2.0
"""An ordinary sequence that has not moved for this many update intervals is still."""
_MIN_CHECK_INTERVAL = 5


class MmpState(enum.StrEnum):
    """What the sequence in an MMP block says (kernel fs/ext4/ext4.h, EXT4_MMP_SEQ_*). One reading alone proves no more."""

    CLEAN = "Clean"
    """Unmounted in order: a mount does not wait."""
    FSCK = "Fsck"
    """e2fsck, or another tool that writes, holds it: always a veto."""
    SEQUENCE = "Sequence"
    """Mounted somewhere, or left behind by a server that died: only watching it tells which."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Who wrote an MMP block. The node name is that of the kernel's *first* namespace: only both together tell hosts apart."""

    node: str
    device: str

    def __str__(self) -> str:
        return f"{self.node}/{self.device}"


class Probe(NamedTuple):
    """One dated reading of one disk: super block and MMP block, past every cache. If `error` is set nothing else counts."""

    device: str
    """The path that was read."""
    began: float
    """When the reading began. What it shows may have been true from then on, so freshness is counted from here."""
    ended: float
    """When it was complete."""
    uuid: str = ""
    """UUID of the file system, lower case with dashes."""
    label: str = ""
    """Volume label; for Lustre the target's name."""
    mmp_enabled: bool = False
    """The file system has the feature `mmp`. Without it ostkeeper refuses the disk."""
    state: MmpState | None = None
    """None where MMP is off."""
    mark: Mark | None = None
    """Who wrote the block last."""
    update_interval: float = 5.0
    """Seconds between two writes of the owner: s_mmp_update_interval, or the kernel's default 5 where that is 0."""
    check_interval: float = 5.0
    """Seconds, as the owner stored them in the block; the kernel's own wait derives from it, see `kernel_wait`."""
    raw_block: bytes = b""
    """The whole MMP block, one file system block: what `clear_mmp` compares with."""
    file_system_errors: bool = False
    """The kernel has flagged errors in the super block (s_state EXT4_ERROR_FS or s_error_count): a health fact."""
    needs_recovery: bool = False
    """The journal was not closed: mounted somewhere, or not unmounted in order."""
    error: str = ""
    """Why it could not be read or not be trusted: I/O error, not ext4, odd checksum. Empty: the reading holds."""

    @property
    def ok(self) -> bool:
        """The reading is complete and consistent."""
        return not self.error

    @property
    def block_digest(self) -> str:
        """SHA-256 of the MMP block in hexadecimal; empty without one. A certificate names the block by it."""
        return hashlib.sha256(self.raw_block).hexdigest() if self.raw_block else ""


class Activity(enum.StrEnum):
    """What the readings so far say; the words of the OSS report."""

    CLEAN = "Clean"
    ADVANCING = "Advancing"
    """It moved, and then not long enough ago to be still."""
    STILL = "Still"
    """An ordinary sequence, unmoved for at least twice its update interval."""
    FSCK = "Fsck"
    UNREADABLE = "Unreadable"
    """The latest reading failed, or the file system has no MMP block to watch."""
    UNKNOWN = "Unknown"
    """Not watched for long enough to tell."""


class DiskView(NamedTuple):
    """One disk after one more reading. All times in monotonic seconds."""

    probe: Probe
    """The latest completed reading, failed or not."""
    good: Probe | None = None
    """The latest that succeeded."""
    still_since: float = math.inf
    """End of the first reading that showed the present block; it did not change from then to `good.began`. inf: none yet."""
    moves: int = 0
    """How often the block was seen changed since the watch began. Never goes back: remember it, and compare later."""
    digest: str = ""
    """`block_digest` of `good`, reckoned once for as long as the block stays the same."""

    @property
    def unmoved(self) -> float:
        """For how many seconds the block was seen unchanged; 0 with a single reading."""
        return max(0.0, self.good.began - self.still_since) if self.good else 0.0

    @property
    def activity(self) -> Activity:
        """What the readings say, as of the latest."""
        if not self.probe.ok or self.good is None or self.good.state is None:
            return Activity.UNREADABLE
        if self.good.state is MmpState.CLEAN:
            return Activity.CLEAN
        if self.good.state is MmpState.FSCK:
            return Activity.FSCK
        if self.unmoved >= _STILL_AFTER * self.good.update_interval:
            return Activity.STILL
        return Activity.ADVANCING if self.moves else Activity.UNKNOWN


def next_view(before: DiskView | None, probe: Probe) -> DiskView:
    """The view after one more reading. A failed one neither moves the block nor prolongs its stillness."""
    if before is None:
        return DiskView(probe, probe, probe.ended, digest=probe.block_digest) if probe.ok else DiskView(probe)
    if not probe.ok:
        return DiskView(probe, before.good, before.still_since, before.moves, before.digest)
    if before.good is not None and _same(before.good, probe):
        return DiskView(probe, probe, before.still_since, before.moves, before.digest)
    moves = before.moves if before.good is None else before.moves + 1
    return DiskView(probe, probe, probe.ended, moves, probe.block_digest)


def _same(one: Probe, other: Probe) -> bool:
    """The very same block on the very same file system: any byte that changed is a sign of life."""
    return one.raw_block == other.raw_block and one.uuid == other.uuid


def normal_interval(update_interval: float) -> float:
    """Seconds between two readings when nothing is suspected: half the owner's interval, at most 2.5."""
    return min(_MAX_INTERVAL, update_interval / 2)


def next_reading(view: DiskView, interval: float) -> float:
    """When to read again: an interval after the last, or in the moment in which the block may have stood still long enough.

    Without the latter a death would be seen up to one interval later than the disk shows it.
    """
    due = view.probe.began + interval
    if view.good is None or view.good.state is not MmpState.SEQUENCE:
        return due
    still_at = view.still_since + _STILL_AFTER * view.good.update_interval
    return min(due, still_at) if still_at > view.probe.began else due


def kernel_wait(check_interval: float, update_interval: float) -> float:
    """Seconds for which a mount of a block with an ordinary sequence waits: twice min(2c + 1, c + 60) (fs/ext4/mmp.c)."""
    c = max(check_interval, update_interval, _MIN_CHECK_INTERVAL)
    return 2 * min(2 * c + 1, c + 60)


def reading_of(target: str, view: DiskView) -> Reading:
    """A view as the machine takes it."""
    probe, good = view.probe, view.good
    if good is None:
        error = probe.error or "not read yet"
        return Reading(target, probe.began, False, error, activity="Unreadable")
    return Reading(
        target=target,
        began=probe.began,
        ok=probe.ok,
        error=probe.error,
        activity=view.activity.value,
        uuid=good.uuid,
        label=good.label,
        mmp_enabled=good.mmp_enabled,
        ordinary=good.state is MmpState.SEQUENCE,
        mark=str(good.mark) if good.mark else "",
        digest=view.digest,
        update_interval=good.update_interval,
        still_since=view.still_since,
        unmoved=view.unmoved,
        moves=view.moves,
        file_system_errors=good.file_system_errors,
    )
