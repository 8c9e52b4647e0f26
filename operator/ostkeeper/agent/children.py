"""Child processes that mount and unmount. They outlive the agent, and the target's lock tells of them.

Here: starting them, awaiting their end, hearing what they said. Not here: which command, and what its exit code means
(`backends`), the locks themselves (`agent.locks`).

A child is in a session of its own, writes its messages to a file and never to a pipe of ours, and inherits the target's
lock: the agent may be stopped, killed or restarted, and neither the mount nor the lock notices. So no asyncio subprocess:
its transport kills the child when the loop goes. A child that hangs in the kernel blocks its own target and nothing else.
"""

from __future__ import annotations

import asyncio
import math
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ostkeeper.agent.locks import Holder, Locks, TargetLock
from ostkeeper.agent.threads import Wanted, Worker

DEFAULT_DIRECTORY = Path("/run/ostkeeper/children")
_OUTPUT_LIMIT = 4096
"""Bytes of a child's messages that are kept: the last ones."""


class NotStartedError(Exception):
    """The permission to start a child ran out before it could be started; nothing was."""


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child ended."""

    returncode: int
    """Exit code; negative: the signal that ended it."""
    output: str
    """The end of what it wrote, standard output and error together, at most 4 KiB."""
    seconds: float


class Child:
    """A running mount or umount. Dropping this object, or the whole agent, does not touch the process."""

    def __init__(self, target: str, verb: str, argv: Sequence[str], pid: int, ended: asyncio.Future[ChildExit]) -> None:
        self.target = target
        self.verb = verb
        self.argv = tuple(argv)
        self.pid = pid
        self._ended = ended

    @property
    def running(self) -> bool:
        """It has not ended as far as we have heard."""
        return not self._ended.done()

    async def wait(self) -> ChildExit:
        """Wait for its end; may be awaited several times and cancelled freely. Our copy of the lock is let go by then."""
        return await asyncio.shield(self._ended)


class Children:
    """Starts the children of one server. `directory` holds their messages, one file a target and verb; made if missing."""

    def __init__(self, locks: Locks, directory: Path = DEFAULT_DIRECTORY) -> None:
        self._locks = locks
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def alive(self, target: str) -> Holder | None:
        """What can still write to this target's disk: a child of this or of an earlier agent, or a clear. None: nothing."""
        return self._locks.holder(target)

    async def start(
        self,
        target: str,
        verb: str,
        argv: Sequence[str],
        lock: TargetLock,
        *,
        make: Path | None = None,
        until: float = math.inf,
    ) -> Child:
        """Start `argv` (found through PATH) with the target's lock, after making the directory `make`.

        Takes `lock` over: it is held until the child ends, by the child itself even if the agent goes, and let go if
        nothing could be started. Raises OSError (no such command, directory cannot be made), `NotStartedError` (the
        monotonic second `until` had passed before it could be): nothing was started. If the caller is cancelled before
        the child was started, it never will be.
        """
        log, worker, wanted = self._directory / f"{target}.{verb}.log", Worker(f"child-{target}-{verb}"), Wanted(until)
        spawning = asyncio.ensure_future(worker.run(lambda: _spawn(argv, lock, log, make, wanted)))
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            wanted.no_longer()
            spawning.add_done_callback(lambda done: _let_go(done, lock))
            worker.close()
            raise
        except BaseException:
            lock.release()
            worker.close()
            raise
        lock.note(verb, process.pid, tuple(argv))
        ended = asyncio.ensure_future(_follow(worker, process, log, lock))
        return Child(target, verb, argv, process.pid, ended)


async def _follow(worker: Worker, process: subprocess.Popen[bytes], log: Path, lock: TargetLock) -> ChildExit:
    began = time.monotonic()
    try:
        code = await worker.run(process.wait)
        lock.release()
        return ChildExit(code, await worker.run(lambda: _tail(log)), time.monotonic() - began)
    finally:
        lock.release()
        worker.close()


def _let_go(done: asyncio.Future[subprocess.Popen[bytes]], lock: TargetLock) -> None:
    """The caller went while the child was being started: if it was, it holds the lock by itself from here on."""
    if not done.cancelled():
        done.exception()
    lock.release()


def _spawn(
    argv: Sequence[str], lock: TargetLock, log: Path, make: Path | None, wanted: Wanted
) -> subprocess.Popen[bytes]:
    """Runs in a thread: with a stalled root disk, making the directory and loading the program block."""
    if make is not None:
        make.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        if not wanted():
            raise NotStartedError(f"{spoken(argv)}: not started: its time had passed before it could be")
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
            pass_fds=(lock.fileno,),
        )


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _OUTPUT_LIMIT))
            return file.read().decode("utf-8", "replace").strip()
    except OSError as error:
        return f"({error})"


def spoken(argv: Sequence[str]) -> str:
    """A command as one would type it."""
    return shlex.join(argv)
