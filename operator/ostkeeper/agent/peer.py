"""The network witness: `NODE/BOOTID` on a TCP port, and asking the partner for its own.

Here: one line out, one line in. Read only: what a caller sends is not even read. Not here: what silence means (`core`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable

from ostkeeper.agent.threads import Worker

log = logging.getLogger(__name__)
PORT = 7845
_LINE_LIMIT = 256


async def serve(line: str, port: int) -> asyncio.Server:
    """Answer every connection with `line` and close it. Raises OSError when the port cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(line.encode() + b"\n")
            await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, None, port)


async def ask(address: str, port: int, node: str, within: float) -> str:
    """Give the boot ID that the server `node` answers; empty: no answer in time, or not that server's."""
    writer = None
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(address, port, limit=_LINE_LIMIT)
            said = (await reader.readline()).decode("ascii", "replace").strip()
    except (OSError, TimeoutError, ValueError):
        return ""
    finally:
        if writer:
            writer.close()
    name, _, boot_id = said.partition("/")
    return boot_id if name == node else ""


class PeerWatch:
    """Asks the partner every interval and hands on what came back."""

    def __init__(self, port: int, addresses: dict[str, str], seen: Callable[[str], None]) -> None:
        """`addresses`: how a server is reached, by name; its name where it is not in there."""
        self._port, self._addresses, self._seen = port, addresses, seen
        self._task: asyncio.Task[None] | None = None

    def set(self, node: str, interval: float) -> None:
        """Ask this one from now on."""
        if self._task:
            self._task.cancel()
        self._task = asyncio.create_task(self._run(node, interval))

    def close(self) -> None:
        """Ask nobody any more."""
        if self._task:
            self._task.cancel()

    async def _run(self, node: str, interval: float) -> None:
        """Look the name up in a thread of its own: a name server that hangs must not hold up the heartbeat's look-ups."""
        names = Worker("peer-name")
        while True:
            began, within = time.monotonic(), min(interval, 2.0)
            boot_id = ""
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(within):
                    address = await names.run(lambda: _address(self._addresses.get(node, node), self._port))
                boot_id = await ask(address, self._port, node, within)
            self._seen(boot_id)
            await asyncio.sleep(max(0.05, began + interval - time.monotonic()))


def _address(name: str, port: int) -> str:
    return str(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][4][0])
