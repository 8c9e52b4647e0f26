"""A plain ext4 file system with MMP on a block device: to try it all without Lustre, and the ground ldiskfs stands on.

Here: the backend's own I/O, its mount command and what mount(8) says when it fails. Not here: MMP's format (`mmp`),
watching a disk (`agent.watch`), the decisions (`core.host`).
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ostkeeper.agent import mounts, unmount_child
from ostkeeper.agent.backends import direct, mmp
from ostkeeper.agent.backends.base import DiskError, DiskReader, Failure, ReleaseCheck
from ostkeeper.agent.backends.mmp import MmpBlock, MmpError
from ostkeeper.agent.backends.superblock import Superblock, SuperblockError
from ostkeeper.agent.children import Child, ChildExit, Children, NotStartedError
from ostkeeper.agent.locks import TargetLock
from ostkeeper.agent.mounts import MountEntry
from ostkeeper.agent.threads import Wanted, Worker
from ostkeeper.api.fieldrules import is_mount_option
from ostkeeper.core.diskview import Probe

_SUPERBLOCK_AGE = 1.0
"""Seconds for which a reader trusts the super block it read: MMP is read up to ten times as often."""
_MMP_WAIT_SECONDS = 3.0
"""A mount that failed as busy after this long had waited for MMP; busy at once means a holder on this server."""

_MOUNT_SAYS = (
    ("already mounted or mount point busy", "DeviceBusy"),
    ("special device", "DeviceMissing"),
    ("mount point does not exist", "MountPointMissing"),
    ("can't read superblock", "DeviceUnreadable"),
    ("wrong fs type, bad option, bad superblock", "MountRejected"),
    ("fsconfig() failed", "MountRejected"),
    ("needs cleaning", "FileSystemDamaged"),
    ("mount(2) system call failed: Structure needs cleaning", "FileSystemDamaged"),
    ("Connection timed out", "MmpInterrupted"),
    ("permission denied", "NotPermitted"),
    ("must be superuser", "NotPermitted"),
)
"""What util-linux's mount(8) prints, in the C locale, for the errno of the kernel; its exit code is 32 for them all."""
_UMOUNT_SAYS = (
    ("mounted over", "MountedOver"),
    ("another mount was put on top", "MountedOver"),
    ("Device or resource busy", "MountPointBusy"),
    ("not mounted", "NotMounted"),
    ("Invalid argument", "NotMounted"),
    ("No such file or directory", "NotMounted"),
    ("Operation not permitted", "NotPermitted"),
)
"""What `unmount_child` prints: its own refusals, and the errno of umount(2)."""


class Ext4Reader:
    """A `DiskReader`: O_DIRECT, one descriptor kept open between readings, the super block re-read once a second."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._descriptor = -1
        self._superblock: Superblock | None = None
        self._superblock_read = -math.inf
        self._block: MmpBlock | None = None

    def read(self) -> Probe:
        """See `DiskReader`."""
        began = time.monotonic()
        try:
            superblock = self._fresh_superblock(began)
            self._block = mmp.read_block(self._descriptor, superblock, self._block) if superblock.mmp else None
        except (OSError, SuperblockError, MmpError) as error:
            self.close()
            return Probe(device=self._device, began=began, ended=time.monotonic(), error=f"{self._device}: {error}")
        return _probe(self._device, superblock, self._block, began)

    def close(self) -> None:
        """See `DiskReader`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._superblock, self._superblock_read, self._block = -1, None, -math.inf, None

    def _fresh_superblock(self, now: float) -> Superblock:
        if self._superblock is not None and now - self._superblock_read < _SUPERBLOCK_AGE:
            return self._superblock
        self._open()
        fresh = mmp.read_superblock(self._descriptor)
        if fresh != self._superblock:
            self._block = None
        self._superblock, self._superblock_read = fresh, now
        return fresh

    def _open(self) -> None:
        """Open the device, anew if its path leads elsewhere by now: a link in /dev/disk may move while we hold the old one."""
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_rdev == os.stat(self._device).st_rdev:
            return
        self.close()
        self._descriptor = direct.open_direct(self._device)


def _probe(device: str, superblock: Superblock, block: MmpBlock | None, began: float) -> Probe:
    return Probe(
        device=device,
        began=began,
        ended=time.monotonic(),
        uuid=superblock.uuid,
        label=superblock.label,
        mmp_enabled=superblock.mmp,
        state=block.state if block else None,
        mark=block.mark if block else None,
        update_interval=float(superblock.mmp_update_interval),
        check_interval=float(block.check_interval if block else superblock.mmp_update_interval),
        raw_block=block.raw if block else b"",
        file_system_errors=superblock.errors,
        needs_recovery=superblock.needs_recovery,
    )


class Ext4Backend:
    """See `Backend`. One object a target; all its own disk I/O runs in one thread, one thing after the other."""

    kind = "ext4"

    def __init__(self, target: str, source: str, children: Children) -> None:
        self.target = target
        self.source = source
        self._children = children
        self._disk = Worker(f"disk-{target}")

    def reader(self) -> DiskReader:
        """See `Backend`."""
        return Ext4Reader(self.source)

    async def probe(self) -> Probe:
        """See `Backend`."""
        return await self._disk.run(self._read_once)

    async def flush(self) -> None:
        """See `Backend`."""
        await self._disk.run(self._flush)

    async def exclusive(self) -> bool:
        """See `Backend`."""
        return await self._disk.run(self._exclusive)

    async def release_check(self) -> ReleaseCheck:
        """See `Backend`."""
        return await self._disk.run(lambda: ReleaseCheck(self._exclusive(), self._read_once()))

    async def clear_mmp(self, expected: bytes, lock: TargetLock, until: float = math.inf) -> Probe:
        """See `Backend`."""
        kept, wanted = lock.duplicate(), Wanted(until)
        lock.note("clear")

        def clear() -> Probe:
            mmp.clear(self.source, expected, wanted)
            return self._read_once()

        clearing = asyncio.ensure_future(self._disk.run(clear))
        clearing.add_done_callback(lambda _: kept.release())
        try:
            return await asyncio.shield(clearing)
        except asyncio.CancelledError:
            wanted.no_longer()
            clearing.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    def mounts(self, entries: Sequence[MountEntry]) -> list[MountEntry]:
        """See `Backend`."""
        return mounts.on_device(entries, device_number(self.source))

    async def mount(
        self, lock: TargetLock, mount_point: Path, options: Sequence[str], until: float = math.inf
    ) -> Child:
        """See `Backend`. Raises `DiskError` MountOptionRefused for options that are not on the list."""
        try:
            argv = mount_command(self.source, mount_point, options)
            await self.flush()
        except BaseException:
            lock.release()
            raise
        return await self._start("mount", argv, lock, mount_point, until)

    async def unmount(self, lock: TargetLock, mount: MountEntry) -> Child:
        """See `Backend`."""
        return await self._start("umount", unmount_command(mount), lock, None, math.inf)

    def mount_failure(self, ended: ChildExit) -> Failure | None:
        """See `Backend`. Busy after a long wait is `ActiveElsewhere`: the kernel saw the MMP sequence move."""
        failure = _failure(self.target, "mount", self.source, ended, _MOUNT_SAYS)
        if failure and failure.reason == "DeviceBusy" and ended.seconds >= _MMP_WAIT_SECONDS:
            return Failure("ActiveElsewhere", f"{failure.message} (the kernel's MMP check saw another server write)")
        return failure

    def unmount_failure(self, ended: ChildExit) -> Failure | None:
        """See `Backend`."""
        return _failure(self.target, "umount", self.source, ended, _UMOUNT_SAYS)

    def close(self) -> None:
        """See `Backend`."""
        self._disk.close()

    async def _start(self, verb: str, argv: Sequence[str], lock: TargetLock, make: Path | None, until: float) -> Child:
        try:
            return await self._children.start(self.target, verb, argv, lock, make=make, until=until)
        except OSError as error:
            raise DiskError("CommandMissing", f"{self.target}: {verb} could not be started: {error}") from error
        except NotStartedError as error:
            raise DiskError("TooLate", f"{self.target}: {error}") from error

    def _read_once(self) -> Probe:
        reader = Ext4Reader(self.source)
        try:
            return reader.read()
        finally:
            reader.close()

    def _flush(self) -> None:
        try:
            direct.flush_cache(self.source)
        except OSError as error:
            raise _unreadable(self.source, "its cache could not be flushed, so nothing is mounted", error) from error

    def _exclusive(self) -> bool:
        try:
            return direct.opens_exclusively(self.source)
        except OSError as error:
            raise _unreadable(self.source, "whether it is free cannot be told", error) from error


def device_number(device: str) -> tuple[int, int]:
    """Major and minor of a block device. Raises `DiskError` if there is none of that name."""
    try:
        found = os.stat(device)
        if not stat.S_ISBLK(found.st_mode):
            raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
    except OSError as error:
        raise _unreadable(device, "it cannot be compared with the mount table", error) from error
    return os.major(found.st_rdev), os.minor(found.st_rdev)


_PAST_MMP = {
    "ro": "a read-only mount replays the journal and takes no part in MMP: nobody would see that it is in use",
    **dict.fromkeys(("loop", "offset", "sizelimit"), "mount would put another device of its own in between"),
    **dict.fromkeys(("bind", "rbind", "move", "remount"), "it would change a mount that is there, and mount no device"),
}
"""Options past MMP. The kernel skips it for a read-only mount (tried on 6.18: mounted, journal replayed, block CLEAN)."""

_UNLISTED = "it is none of those that README lists, and an object from before that list may still have it"


def mount_command(device: str, mount_point: Path, options: Sequence[str]) -> list[str]:
    """`mount -t ext4 -o OPTIONS DEVICE DIR`. Raises `DiskError` MountOptionRefused for what is not on the list."""
    for option in (part for given in options for part in given.split(",")):
        why = _PAST_MMP.get(option.split("=")[0]) or ("" if is_mount_option(option) else _UNLISTED)
        if why:
            raise DiskError("MountOptionRefused", f"{device}: option {option!r} is refused: {why}; remove it")
    return ["mount", "-t", "ext4", "-o", ",".join(options) or "rw", device, str(mount_point)]


def unmount_command(mount: MountEntry) -> list[str]:
    """The child that unmounts this mount and no other (see `unmount_child`)."""
    device = f"{mount.device_number[0]}:{mount.device_number[1]}"
    return [sys.executable, "-I", "-S", unmount_child.__file__, str(mount.mount_id), device, mount.mount_point]


def _unreadable(device: str, consequence: str, error: OSError) -> DiskError:
    reason = "DeviceMissing" if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENOTBLK) else "DeviceUnreadable"
    return DiskError(reason, f"{device}: {consequence}: {error}")


def _failure(target: str, verb: str, device: str, ended: ChildExit, says: Sequence[tuple[str, str]]) -> Failure | None:
    if ended.returncode == 0:
        return None
    how = f"exit code {ended.returncode}" if ended.returncode > 0 else f"ended by signal {-ended.returncode}"
    output = " ".join(ended.output.split())
    reason = next(
        (word for text, word in says if text in output), "MountFailed" if verb == "mount" else "UnmountFailed"
    )
    return Failure(reason, f"{target}: {verb} of {device}: {output or 'said nothing'} ({how}, {ended.seconds:.1f}s)")
