"""What every backend promises, and the values it speaks in.

Here: the `Backend` and `DiskReader` protocols, and what can go wrong, as errors with a reason. Not here: any I/O (`ext4`,
`direct`), what a reading is (`core.diskview`), how a disk is watched over time (`agent.watch`), when anything may be mounted
or cleared (`core.host`).

All times are seconds on this host's monotonic clock (`time.monotonic`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ostkeeper.agent.children import Child, ChildExit
from ostkeeper.agent.locks import TargetLock
from ostkeeper.agent.mounts import MountEntry
from ostkeeper.core.diskview import MmpState, Probe


class DiskError(Exception):
    """A disk could not be used as asked. The text says what, where, why and what next.

    `reason` is one CamelCase word for conditions and reports.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BackendUnavailableError(DiskError):
    """This release does not serve targets of that kind; it refuses to touch them."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            "BackendNotServed",
            f"backend {kind}: not served by this release of the agent, so nothing of it is probed, mounted or unmounted "
            "here; use spec.backend.ext4, or mount the target by hand (it is then respected as a foreign mount)",
        )


class ClearRefusedError(DiskError):
    """MMP was not cleared, and nothing was written: the mount has to wait as the kernel does, or a person has to look."""


class ClearUncertainError(DiskError):
    """The write that clears MMP failed or did not read back: the block may hold the old or the new content. Re-read it."""


@dataclass(frozen=True, slots=True)
class ReleaseCheck:
    """Whether this server has let go of a disk, as far as the disk shows. The target's lock must be free as well."""

    exclusive: bool
    """`open(device, O_EXCL)` succeeded: no mount of it lives in any mount namespace of this kernel."""
    probe: Probe
    """Read after that."""

    @property
    def clean(self) -> bool:
        """Nobody on this kernel holds it, and its last owner unmounted it in order."""
        return self.exclusive and self.probe.ok and self.probe.state is MmpState.CLEAN


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a mount or umount failed: `reason` is one CamelCase word, `message` what a person reads."""

    reason: str
    message: str


class DiskReader(Protocol):
    """Reads one disk again and again. Blocks, for ever on a stalled disk: only for a thread that has nothing else to do."""

    def read(self) -> Probe:
        """Take one reading. Never raises for a fault of the disk: see `Probe.error`."""
        ...

    def close(self) -> None:
        """Close all descriptors. `read` opens them again."""
        ...


class Backend(Protocol):
    """One target's disk. No method blocks the event loop; a stalled disk blocks the one method, in the disk's own thread.

    Cancelling a call (a time-out) leaves its thread behind until the disk answers; later calls queue up behind it.
    """

    @property
    def kind(self) -> str:
        """`ext4`."""
        ...

    @property
    def source(self) -> str:
        """What is mounted: the path of the device."""
        ...

    def reader(self) -> DiskReader:
        """A new reader for `DiskWatch`."""
        ...

    async def probe(self) -> Probe:
        """Take one fresh reading: descriptors, super block and MMP block all anew."""
        ...

    async def flush(self) -> None:
        """Drop what this kernel has cached of the device (BLKFLSBUF). Right before each mount. Raises `DiskError`."""
        ...

    async def exclusive(self) -> bool:
        """`open(device, O_EXCL)` succeeds. Raises `DiskError` when the device cannot be opened at all."""
        ...

    async def release_check(self) -> ReleaseCheck:
        """`exclusive`, then `probe`. Raises `DiskError`."""
        ...

    async def clear_mmp(self, expected: bytes, lock: TargetLock, until: float = math.inf) -> Probe:
        """Write MMP CLEAN if the block, re-read just before, is byte for byte `expected`. Returns the reading after it.

        `lock` stays the caller's, and stays locked until the write has ended even if the caller is cancelled or lets it
        go. A clear that was cancelled, or that comes after the monotonic second `until`, never writes. Raises
        `ClearRefusedError` (nothing written), `ClearUncertainError`, `DiskError`.
        """
        ...

    def mounts(self, entries: Sequence[MountEntry]) -> list[MountEntry]:
        """Those entries that are this disk: the same device number, whoever mounted it and wherever. Raises `DiskError`."""
        ...

    async def mount(
        self, lock: TargetLock, mount_point: Path, options: Sequence[str], until: float = math.inf
    ) -> Child:
        """Flush the device's cache, then start the mount as a child that inherits the lock; takes the lock over.

        The mount point is made if missing. Raises `DiskError`: nothing was started, and nothing will be (also once the
        monotonic second `until` has passed, or if the caller is cancelled before).
        """
        ...

    async def unmount(self, lock: TargetLock, mount: MountEntry) -> Child:
        """Start a plain umount of this mount, never forced, never lazy, by its ID and device. Otherwise as `mount`.

        It fails, and nothing is unmounted, where the path shows another mount or something is mounted on top.
        """
        ...

    def mount_failure(self, ended: ChildExit) -> Failure | None:
        """Why the mount child failed; None when it succeeded. The mount table, not this, says what is mounted."""
        ...

    def unmount_failure(self, ended: ChildExit) -> Failure | None:
        """Why the umount child failed; None when it succeeded."""
        ...

    def close(self) -> None:
        """End the disk's thread, once it has nothing more to do. Children and mounts stay as they are."""
        ...
