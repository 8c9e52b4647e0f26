"""The kernel's mount table. Here: parsing /proc/self/mountinfo, asking it, and hearing of changes at once.

Not here: mounting and unmounting (`agent.children`, `backends`). What mountinfo shows is this mount namespace only: whether
a disk is free, only O_EXCL and MMP tell (`backends`).

Format: proc_pid_mountinfo(5). Space, tab, newline and backslash stand there as octal escapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ostkeeper.agent.threads import post

MOUNTINFO = Path("/proc/self/mountinfo")
KNOWN_DEVICES = Path("/sys/dev/block")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo."""

    mount_id: int
    parent_id: int
    device_number: tuple[int, int]
    """Major and minor of the file system; for ext4 that of the block device, for Lustre an anonymous one."""
    root: str
    """What of the file system is mounted here: `/`, or a directory of it for a bind mount."""
    mount_point: str
    options: tuple[str, ...]
    """Of this mount point."""
    file_system: str
    source: str
    """As it was given to mount: compare device numbers instead where there are any."""
    super_options: tuple[str, ...]
    """Of the file system."""

    @property
    def read_only(self) -> bool:
        """By option of the mount point or of the file system (also after errors=remount-ro)."""
        return "ro" in self.options or "ro" in self.super_options


def unescape(field: str) -> str:
    r"""Undo the octal escapes: `\040` is a space. Bytes that are no UTF-8 survive as surrogates, as in `os.fsdecode`."""
    if "\\" not in field:
        return field
    raw = os.fsencode(field)
    return os.fsdecode(re.sub(_ESCAPE.pattern.encode(), lambda found: bytes([int(found[1], 8) & 0xFF]), raw))


def parse_line(line: str) -> MountEntry:
    """Parse one line. Raises ValueError with the line for anything that is not mountinfo."""
    before, found, after = line.rstrip("\n").partition(" - ")
    head, tail = before.split(" "), after.split(" ")
    if not found or len(head) < 6 or len(tail) < 3:
        raise ValueError(f"not a line of mountinfo: {line!r}")
    major, _, minor = head[2].partition(":")
    return MountEntry(
        mount_id=int(head[0]),
        parent_id=int(head[1]),
        device_number=(int(major), int(minor)),
        root=unescape(head[3]),
        mount_point=unescape(head[4]),
        options=tuple(head[5].split(",")),
        file_system=unescape(tail[0]),
        source=unescape(tail[1]),
        super_options=tuple(tail[2].split(",")),
    )


def parse(text: str) -> list[MountEntry]:
    """Parse a whole table, in its order: of two mounts on one mount point the later one is on top."""
    return [parse_line(line) for line in text.split("\n") if line]


def read_mounts(path: Path = MOUNTINFO) -> list[MountEntry]:
    """Read the table of this mount namespace now. Raises OSError."""
    return parse(os.fsdecode(path.read_bytes()))


def on_device(entries: Iterable[MountEntry], device_number: tuple[int, int]) -> list[MountEntry]:
    """All mounts of that device: every mount point of it, bind mounts included."""
    return [entry for entry in entries if entry.device_number == device_number]


def at(entries: Iterable[MountEntry], mount_point: str | Path) -> MountEntry | None:
    """What is mounted exactly there, the topmost if several are. `/mnt/ost1` is never `/mnt/ost10`. None: nothing."""
    wanted = os.path.normpath(mount_point)
    found = [entry for entry in entries if os.path.normpath(entry.mount_point) == wanted]
    return found[-1] if found else None


def device_is_gone(source: str, table: Path = MOUNTINFO, known: Path = KNOWN_DEVICES) -> bool:
    """Whether this server has no such device, and none that is mounted has vanished from the kernel: that could be this one."""
    try:
        os.stat(source)
        return False
    except FileNotFoundError:
        pass
    except OSError:
        return False
    try:
        entries = read_mounts(table)
    except (OSError, ValueError):
        return False
    numbers = {entry.device_number for entry in entries if entry.device_number[0] != 0}
    return all((known / f"{major}:{minor}").exists() for major, minor in numbers)


class MountWatch:
    """Calls back in the event loop with the whole table: once at the start, then at each change, whoever made it.

    The kernel marks mountinfo as POLLPRI when the table of the namespace changes (mounts_poll in fs/namespace.c). It is
    always readable too, so the loop's own `add_reader` would spin: a thread of its own waits for POLLPRI alone.
    """

    def __init__(self, on_change: Callable[[list[MountEntry]], None], path: Path = MOUNTINFO) -> None:
        self._on_change = on_change
        self._path = path
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closed = False

    def start(self) -> None:
        """Begin to watch; call it in the event loop that is called back. Raises OSError."""
        table = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._watch, args=(table, loop), name="mountinfo", daemon=True).start()

    def close(self) -> None:
        """Stop watching. May be repeated; no callback after it."""
        if not self._closed:
            self._closed = True
            os.eventfd_write(self._wake, 1)

    def _watch(self, table: int, loop: asyncio.AbstractEventLoop) -> None:
        poll = select.poll()
        poll.register(table, select.POLLPRI)
        poll.register(self._wake, select.POLLIN)
        while not self._closed:
            with contextlib.suppress(OSError):
                entries = read_mounts(self._path)
                post(loop, lambda entries=entries: self._deliver(entries))  # type: ignore[misc]
            poll.poll()
        os.close(table)
        os.close(self._wake)

    def _deliver(self, entries: list[MountEntry]) -> None:
        if not self._closed:
            self._on_change(entries)
