"""The MMP block that a killed e2fsck leaves behind: looking at it, and clearing it once both servers have looked.

e2fsck writes FSCK into the block while it runs, and refuses a block that says so; so does the kernel. A running e2fsck that
waits at a prompt does not write, so stillness proves nothing: on each server of the pair somebody has to see that no process
holds the device. `look` does that and gives words that the other server's `clear` takes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ostkeeper.agent.backends import direct, mmp
from ostkeeper.agent.backends.base import DiskError
from ostkeeper.agent.backends.mmp import MmpBlock, MmpError
from ostkeeper.agent.backends.superblock import Superblock, SuperblockError
from ostkeeper.core.diskview import MmpState

WORDS_VALID = 600.0
"""Seconds for which the words of one server count on the other."""
_E2FSCK_INTERVAL = 5
"""Seconds: a running e2fsck that is not at a prompt rewrites the block no more rarely than this, or than its interval."""
_READ_EVERY = 0.5
INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of /proc/self/ns/pid where all processes of the kernel are seen (PROC_PID_INIT_INO)."""
PROC, BLOCK_DEVICES = Path("/proc"), Path("/sys/dev/block")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Look:
    """What one server saw: the block stood still, says FSCK, and no process of this server has the device open."""

    device: str
    label: str
    node: str
    """Kernel name of the server that looked: e2fsck writes the same into the block."""
    boot_id: str
    block: MmpBlock
    wall: float
    """Seconds since 1970, when the look ended."""

    @property
    def digest(self) -> str:
        """SHA-256 of the block."""
        return hashlib.sha256(self.block.raw).hexdigest()

    @property
    def words(self) -> str:
        """For `--partner` on the other server."""
        return f"{self.node}/{self.boot_id}/{self.digest}/{self.wall:.0f}"


def look(device: str, watch: float | None = None, proc: Path = PROC) -> Look:
    """Watch the block and look for whoever holds the device. Raises `DiskError`: not FSCK, it moved, or somebody holds it.

    `watch`: seconds; None: two intervals of the block and of e2fsck, plus 2.
    """
    try:
        descriptor = direct.open_direct(device)
    except OSError as error:
        raise DiskError("DeviceUnreadable", f"{device}: {error}") from error
    try:
        of, first = _read(device, descriptor)
        if first.state is not MmpState.FSCK:
            raise DiskError(
                "NotFsck", f"{device}: MMP reads {first.state}, not Fsck: there is nothing of e2fsck to clear"
            )
        wait = 2 * max(first.check_interval, of.mmp_update_interval, _E2FSCK_INTERVAL) + 2 if watch is None else watch
        until = time.monotonic() + wait
        while time.monotonic() < until:
            time.sleep(min(_READ_EVERY, max(0.0, until - time.monotonic())))
            if _read(device, descriptor)[1].raw != first.raw:
                raise DiskError(
                    "FsckRunning", f"{device}: its MMP block is being rewritten by {first.mark}: e2fsck runs"
                )
        held = holders(device, proc)
    finally:
        os.close(descriptor)
    if not held and not _exclusive(device):
        held = ["a process or a mount that this shell does not see"]
    if held:
        raise DiskError("DeviceBusy", f"{device}: held by {', '.join(held)}: let it end, or end it, then look again")
    boot_id = BOOT_ID.read_text("ascii").strip()
    return Look(device, of.label, os.uname().nodename, boot_id, first, time.time())


def _exclusive(device: str) -> bool:
    """Whether nobody on this server has the device open exclusively, as e2fsck, a mount and a target daemon do.

    A shell without CAP_SYS_PTRACE cannot see whose descriptors are open; this needs no look into other processes.
    """
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise DiskError("DeviceUnreadable", f"{device}: {error}") from error
    return True


def _read(device: str, descriptor: int) -> tuple[Superblock, MmpBlock]:
    try:
        of = mmp.read_superblock(descriptor)
        if not of.mmp:
            raise DiskError("MmpDisabled", f"{device}: the file system has no MMP")
        return of, mmp.read_block(descriptor, of)
    except (OSError, SuperblockError, MmpError) as error:
        raise DiskError("DeviceUnreadable", f"{device}: {error}") from error


def holders(device: str, proc: Path = PROC) -> list[str]:
    """The processes of this server that have the device open, or one that it is made of or is part of. This one is not told.

    A mount is no process: O_EXCL tells of it when the block is written. Raises `DiskError` in a container that does not see
    the host's processes.
    """
    if os.stat(proc / "self" / "ns" / "pid").st_ino != INITIAL_PID_NAMESPACE:
        raise DiskError(
            "ProcessesHidden", f"{device}: this shell does not see all processes of the server: use one of the host"
        )
    numbers, found = _family(os.stat(device).st_rdev), []
    for process in sorted(proc.iterdir(), key=lambda entry: (len(entry.name), entry.name)):
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            opened = any(_is_one_of(link, numbers) for link in (process / "fd").iterdir())
        except OSError:
            continue  # it has ended
        if opened:
            name = (process / "comm").read_text("utf-8", "replace").strip() if (process / "comm").exists() else "?"
            found.append(f"{name} (pid {process.name})")
    return found


def _is_one_of(link: Path, numbers: set[int]) -> bool:
    try:
        status = link.stat()
    except OSError:
        return False
    return stat.S_ISBLK(status.st_mode) and status.st_rdev in numbers


def _family(number: int) -> set[int]:
    """The device and all that stack below or above it: multipath and its paths, a partition and its disk are not told apart."""
    todo, known = [number], set()
    while todo:
        one = todo.pop()
        if one in known:
            continue
        known.add(one)
        base = BLOCK_DEVICES / f"{os.major(one)}:{os.minor(one)}"
        for relation in ("holders", "slaves"):
            for other in (base / relation).glob("*"):
                major, _, minor = (other / "dev").read_text("ascii").strip().partition(":")
                todo.append(os.makedev(int(major), int(minor)))
    return known


def refusal(mine: Look, partner: str, partner_off: str) -> str:
    """Why the words of the other server, or a person's word that it is off, do not allow to clear; empty: they do."""
    other = partner_off
    if partner:
        parts = partner.strip().split("/")
        if len(parts) != 4 or not parts[3].isdigit():
            return f"--partner {partner!r}: these are not the words that `clear-fsck` printed on the other server"
        other, boot_id, digest, wall = parts
        if boot_id == mine.boot_id:
            return "--partner: these words are of this very server: run `clear-fsck` on the other one"
        if digest != mine.digest:
            return (
                "--partner: the other server saw another block: it has changed since, or its path leads to another disk"
            )
        if abs(mine.wall - float(wall)) > WORDS_VALID:
            return f"--partner: these words are older than {WORDS_VALID / 60:g} minutes: look again on the other server"
    author = mine.block.mark.node
    if author not in (mine.node, other):
        return (
            f"{mine.device}: the block was written by {author or '(no name)'}, which is neither this server ({mine.node}) nor "
            f"{other}: e2fsck may run there. Find that host and take the LUN away from it"
        )
    return ""


def clear(mine: Look, wanted: Callable[[], bool] = lambda: True) -> None:
    """Write CLEAN into the block that was looked at. Raises `DiskError` as `mmp.clear` does: nothing else is ever written."""
    mmp.clear(mine.device, mine.block.raw, wanted, over=MmpState.FSCK)
