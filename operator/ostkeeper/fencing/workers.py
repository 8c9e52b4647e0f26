"""Killable worker processes, seen from the operator: a fork server with pyghmi imported, and workers forked from it.

Here: starting, asking until a deadline, killing, and knowing that a worker is really gone. Not here: what a worker does
(`ipmi_worker`), what its answer means (`ipmi`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from ostkeeper.ports import FenceError

MESSAGE_BYTES = 65536
START_SECONDS = 30.0
"""How long the fork server may take to import pyghmi. Some 0.3 s are usual."""


class WorkerFailed(FenceError):
    """A worker process could not be started, or died by itself. Says nothing about the device."""

    reason = "WorkerFailed"


class Worker:
    """One worker process. `pidfd`: to kill it and to see it end, whatever its number is used for afterwards."""

    def __init__(self, channel: socket.socket, pidfd: int) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._pidfd = pidfd
        self._closed = False

    async def ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any] | None:
        """Ask; None when the deadline passed or the worker died. Then, or when cancelled, the worker is gone on return."""
        loop = asyncio.get_running_loop()
        answer = b""
        try:
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout_at(deadline):
                    self._channel.send(json.dumps(request).encode())
                    answer = await loop.sock_recv(self._channel, MESSAGE_BYTES)
        finally:
            if not answer:
                await self.kill()
        return json.loads(answer) if answer else None

    @property
    def alive(self) -> bool:
        """Whether it may be asked."""
        return not self._closed

    def discard(self) -> None:
        """Kill it without waiting. For a worker that was never told of a device."""
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._channel.close()
        os.close(self._pidfd)

    async def kill(self) -> None:
        """Kill it, and return when it is gone: a process that is gone sends nothing. May be repeated."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        cancelled = await _readable_whatever_happens(self._pidfd)
        self._channel.close()
        os.close(self._pidfd)
        if cancelled:
            raise asyncio.CancelledError


async def _readable_whatever_happens(fd: int) -> bool:
    """Wait until `fd` is readable, even if cancelled meanwhile; return whether that happened."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: None if ended.done() else ended.set_result(None))
    cancelled = False
    try:
        while not ended.done():
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError:
                cancelled = True
    finally:
        loop.remove_reader(fd)
    return cancelled


class ForkServer:
    """The process that workers are forked from. One an event loop, for as long as a device uses it."""

    _servers: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, ForkServer]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._users = 0

    @classmethod
    def acquire(cls) -> ForkServer:
        """Take the server of the running event loop; it runs until its last user gives it back by `release`."""
        loop = asyncio.get_running_loop()
        server = cls._servers.get(loop)
        if server is None:
            server = cls._servers[loop] = cls()
        server._users += 1
        return server

    def release(self) -> None:
        """Give it back. With its last user the process ends, and with it whatever worker is left."""
        self._users -= 1
        if self._users == 0:
            self._stop()

    async def fork(self) -> Worker:
        """Fork one worker; starts the server where there is none. Raises WorkerFailed. May be cancelled at any moment."""
        forking = asyncio.create_task(self._fork_in_turn())
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            forking.add_done_callback(_discard)
            raise

    async def _fork_in_turn(self) -> Worker:
        async with self._lock:
            try:
                async with asyncio.timeout(START_SECONDS):
                    if self._process is None or self._process.poll() is not None:
                        self._stop()
                        await self._start()
                    return await self._fork()
            except (OSError, TimeoutError) as error:
                self._stop()
                raise WorkerFailed(
                    f"no IPMI worker could be started: {error!r}; nothing was sent. Is the machine out of memory "
                    "or processes? It is tried again with the next operation"
                ) from error

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        with theirs:
            self._process = _spawn(theirs)
        if await asyncio.get_running_loop().sock_recv(ours, 64) != b"ready":
            raise OSError("the fork server ended while it started; its standard error says why")

    async def _fork(self) -> Worker:
        assert self._control is not None
        self._control.send(b"fork")
        await _readable(self._control.fileno())
        _, fds, _, _ = socket.recv_fds(self._control, 64, 2)
        if len(fds) != 2:
            raise OSError("the fork server ended")
        return Worker(socket.socket(fileno=fds[0]), fds[1])

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


def _spawn(control: socket.socket) -> subprocess.Popen[bytes]:
    """Start the fork server: a few ms in which the event loop stands still, once a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "ostkeeper.fencing.ipmi_worker", str(control.fileno())],
        pass_fds=[control.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _discard(forking: asyncio.Task[Worker]) -> None:
    if not forking.cancelled() and forking.exception() is None:
        forking.result().discard()
