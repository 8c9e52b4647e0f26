"""The power plane for other processes: BMC and PDU simulators run scripts that are not in our event loop.

One JSON request a line, one JSON reply a line, over a Unix socket:

    {"op": "get", "feed": "pdu-left/1"}               → {"on": true, "watts": 105.0}
    {"op": "get", "feed": "bmc:oss1"}                 → {"on": true, "watts": 210.0, "ac": true}
    {"op": "set", "feed": "pdu-left/1", "on": false}  → {"ok": true}    (off: when the server is really dead)
    {"op": "reset", "feed": "bmc:oss1"}               → {"ok": true}
    {"op": "feeds"}                                   → {"feeds": ["bmc:oss1", ..., "pdu-left/1", ...]}

What could not be done is answered by {"error": "TEXT"}. Here: that server, and a blocking client for scripts.
Not here: what a relay does (`power`), what a lying device answers instead (`bmc`, `pdu`).
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from ostkeeper.core.power import Feed
from ostkeeper.testbed.power import BMC_PREFIX, PowerPlane, UnknownFeed


def parse_feed(text: str) -> Feed:
    """`PDU/OUTLET` → that outlet. Raises `UnknownFeed` for anything else, a BMC included."""
    device, slash, outlet = text.partition("/")
    if not (device and slash and outlet):
        raise UnknownFeed(f"{text!r} names no outlet; write PDU/OUTLET, such as pdu-left/1")
    return Feed(device, outlet)


class PowerSocket:
    """Serves one plane on one Unix socket. A request that fails is answered, and costs no other request anything."""

    def __init__(self, plane: PowerPlane, path: Path) -> None:
        """`path` may be 107 bytes long at most (`sockaddr_un`)."""
        self._plane = plane
        self._path = path
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises `OSError` when the path is too long or taken."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=self._path)

    async def stop(self) -> None:
        """Stop listening, and remove the socket. Open connections end with their clients."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass  # a simulator that was killed in between: nobody is left to tell
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return await self._do(request)
        except (UnknownFeed, ValueError, KeyError, TypeError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request["op"]
        if op == "feeds":
            hosts = self._plane.hosts()
            outlets = {str(feed) for host in hosts for feed in self._plane.feeds(host)}
            return {"feeds": [f"{BMC_PREFIX}{host}" for host in hosts] + sorted(outlets)}
        feed = str(request["feed"])
        if feed.startswith(BMC_PREFIX):
            return await self._bmc(op, feed.removeprefix(BMC_PREFIX), request)
        outlet = parse_feed(feed)
        if op == "get":
            watts = self._plane.watts(outlet.device, outlet.outlet)
            return {"on": self._plane.outlet(outlet.device, outlet.outlet), "watts": watts}
        if op == "set":
            await self._plane.set_outlet(outlet.device, outlet.outlet, _flag(request))
            return {"ok": True}
        raise ValueError(f"no operation {op!r} on an outlet; there are get and set")

    async def _bmc(self, op: str, host: str, request: dict[str, Any]) -> dict[str, Any]:
        on = self._plane.bmc(host)
        if op == "get":
            watts = sum(self._plane.host_watts(host).values())
            return {"on": on, "watts": watts, "ac": self._plane.ac(host)}
        if op == "set":
            await self._plane.set_bmc(host, _flag(request))
        elif op == "reset":
            await self._plane.reset(host)
        else:
            raise ValueError(f"no operation {op!r} on a BMC; there are get, set and reset")
        return {"ok": True}


def _flag(request: dict[str, Any]) -> bool:
    on = request["on"]
    if not isinstance(on, bool):
        raise ValueError(f"on: {on!r} is neither true nor false")
    return on


def ask(path: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Ask a plane from a script, blocking. `timeout` in seconds. Raises `OSError`, or `TimeoutError` (an `OSError`)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer: dict[str, Any] = json.loads(stream.readline() or b'{"error": "the plane hung up"}')
    return answer
