"""The world's end of the line to a server's PID 1: messages, events, and commands with their output.

Here: the SEQPACKET socket, waiting for an event, `execute`. Not here: what the messages do (`hostinit`), power (`host`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

EventListener = Callable[[dict[str, Any]], None]
PACKET = 1 << 20
OUTPUT_SECONDS = 1.0
"""How long after the end of a command its output is still read."""


class HostGone(RuntimeError):
    """The server died before it answered. The text says which server and what was asked."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in a server ended."""

    code: int
    """Exit code; minus the signal's number when it was killed; 127: no such command."""
    out: str
    err: str


class HostControl:
    """One boot's line to PID 1. A new boot gets a new one."""

    def __init__(self, host: str, listener: EventListener) -> None:
        """`listener` hears `service` and `stop-machine` events."""
        self._host = host
        self._listener = listener
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PACKET)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._next_id = 0
        self._reader: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read what comes. Call it once PID 1 has its end, which is then closed here."""
        self.theirs.close()
        self._reader = asyncio.create_task(self._read())

    def close(self) -> None:
        """Hang up: PID 1 exits, if it still lives; whoever waits gets `HostGone`. May be repeated."""
        if self._reader is not None:
            self._reader.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(HostGone(f"{self._host} died before it answered"))
        self._waiting.clear()
        self._ours.close()
        self.theirs.close()

    def tell(self, op: str, fds: Sequence[int] = (), **fields: Any) -> None:
        """Send a message, with descriptors. Raises `HostGone`."""
        try:
            socket.send_fds(self._ours, [json.dumps({"op": op, **fields}).encode()], list(fds))
        except OSError as error:
            raise HostGone(f"{self._host} is not running, so it cannot be told: {op}") from error

    async def expect(self, event: str, seconds: float) -> dict[str, Any]:
        """Wait for an event. Raises `HostGone`, or `TimeoutError`."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[event] = future
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            self._waiting.pop(event, None)

    async def execute(self, argv: Sequence[str], seconds: float) -> Result:
        """Run a command as a child of PID 1. Raises `HostGone`, or `TimeoutError` once the command was killed."""
        self._next_id += 1
        number, pipes = self._next_id, [os.pipe(), os.pipe()]
        buffers = [bytearray(), bytearray()]
        readers = [_read_pipe(read, buffer) for (read, _), buffer in zip(pipes, buffers, strict=True)]
        outputs = asyncio.gather(*readers)
        try:
            self.tell("exec", fds=[write for _, write in pipes], id=number, argv=list(argv))
        except HostGone:
            outputs.cancel()
            raise
        finally:
            for _, write in pipes:
                os.close(write)
        try:
            code = (await self.expect(f"exit-{number}", seconds))["code"]
        except BaseException:
            outputs.cancel()
            with contextlib.suppress(HostGone):
                self.tell("kill", id=number)
            raise
        with contextlib.suppress(TimeoutError):  # a background child may keep the pipe open for as long as it likes
            await asyncio.wait_for(outputs, OUTPUT_SECONDS)
        return Result(code, *(buffer.decode(errors="replace") for buffer in buffers))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                raw = await loop.sock_recv(self._ours, PACKET)
            except OSError:
                return
            if not raw:
                return
            message = json.loads(raw)
            key = f"exit-{message['id']}" if message["event"] == "exit" else message["event"]
            future = self._waiting.pop(key, None)
            if future is not None and not future.done():
                future.set_result(message)
            elif future is None:
                self._listener(message)


async def _read_pipe(fd: int, into: bytearray) -> None:
    """Read a pipe until its last writer is gone; closes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
    try:
        while data := await reader.read(1 << 16):
            into.extend(data)
    finally:
        transport.close()
