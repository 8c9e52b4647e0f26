"""Locks on this server: one agent a host, and for each target one thing at a time that could write to its disk.

Here: flock(2) on files below a directory such as /run/ostkeeper/locks. Not here: the children that inherit a target's lock
(`agent.children`), the leases in the API (`agent`'s shell).

A flock belongs to the *open file*, not to a process: a child that inherits the descriptor holds it too, and the kernel
lets go when the last copy is closed, however the holders ended. So the lock tells the next agent that a mount, umount or
clear of its predecessor still lives. For the same reason nothing here ever calls LOCK_UN (it would unlock the child's
copy as well) nor unlinks a lock file (two openers would lock two files).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

DEFAULT_DIRECTORY = Path("/run/ostkeeper/locks")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who took a lock, as it wrote itself down; empty fields where it has not (yet). For people: the flock is the truth."""

    name: str
    pid: int = 0
    """Process, as numbered where it was started: the child once it runs, before that the agent."""
    verb: str = ""
    """`mount`, `umount`, `clear`, `agent`."""
    command: tuple[str, ...] = ()
    since: float = 0.0
    """Monotonic seconds of this boot."""

    def __str__(self) -> str:
        return f"{self.verb or 'somebody'} (pid {self.pid or '?'}) holds {self.name}"


class LockHeldError(Exception):
    """The lock is taken: by a child of ours or of an earlier agent, or by another agent. `holder` says who."""

    def __init__(self, holder: Holder, path: Path) -> None:
        super().__init__(f"{path}: {holder}; nothing was started. It goes on by itself when that process has ended")
        self.holder = holder


class Lock:
    """A lock that is held until `release`, and beyond that by each child that inherited it."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor

    @property
    def fileno(self) -> int:
        """The descriptor, to be inherited by a child. Raises ValueError once released."""
        if self._descriptor < 0:
            raise ValueError(f"the lock {self.name} was released already")
        return self._descriptor

    @property
    def held(self) -> bool:
        """Not released by us yet."""
        return self._descriptor >= 0

    def note(self, verb: str, pid: int = 0, command: tuple[str, ...] = ()) -> None:
        """Write down who holds it, for people and for the next agent's messages."""
        text = json.dumps({"pid": pid or os.getpid(), "verb": verb, "command": command, "since": time.monotonic()})
        os.ftruncate(self.fileno, 0)
        os.pwrite(self.fileno, text.encode(), 0)

    def duplicate(self) -> Lock:
        """A second handle on the same lock; it stays locked until both are released."""
        return Lock(self.name, fcntl.fcntl(self.fileno, fcntl.F_DUPFD_CLOEXEC, 3))

    def release(self) -> None:
        """Close our copy. May be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


TargetLock = Lock
"""The lock of one target; every child that can write to its disk inherits it."""


class Locks:
    """All locks of one server. `directory` is made if missing; it belongs on a tmpfs, so that a boot begins without locks."""

    def __init__(self, directory: Path = DEFAULT_DIRECTORY) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def take(self, target: str, verb: str = "agent") -> TargetLock:
        """Take a target's lock without waiting. Raises LockHeldError, ValueError for a name that is no file name."""
        return self._take(f"target-{_checked(target)}", verb)

    def take_agent(self) -> Lock:
        """Take the lock of the one agent of this host; hold it as long as the agent lives. Raises LockHeldError."""
        return self._take(_AGENT, "agent")

    def holder(self, target: str) -> Holder | None:
        """Who holds a target's lock: whatever could still write to its disk, of this or an earlier agent. None: nobody.

        It tries the lock for an instant, so it belongs in the same thread as `take`: the event loop's.
        """
        name = f"target-{_checked(target)}"
        if not (self._directory / f"{name}.lock").exists():
            return None
        try:
            self._open(name).release()
        except LockHeldError as held:
            return held.holder
        return None

    def _take(self, name: str, verb: str) -> Lock:
        lock = self._open(name)
        lock.note(verb)
        return lock

    def _open(self, name: str) -> Lock:
        path = self._directory / f"{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(name, descriptor)
            os.close(descriptor)
            raise LockHeldError(holder, path) from None
        except BaseException:
            os.close(descriptor)
            raise
        return Lock(name, descriptor)


def _checked(target: str) -> str:
    if not _NAME.fullmatch(target):
        raise ValueError(f"target name {target!r} cannot name a lock file: letters, digits, `.`, `_` and `-` only")
    return target


def _read_holder(name: str, descriptor: int) -> Holder:
    try:
        said = json.loads(os.pread(descriptor, 65536, 0))
        return Holder(name, int(said["pid"]), str(said["verb"]), tuple(map(str, said["command"])), float(said["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder(name)
