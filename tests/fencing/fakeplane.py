"""A power plane for the fence devices' tests: relays in a dict, behind the socket that the real one serves.

Here: what `testbed.powersocket` answers, without hosts that die. Not here: wiring, and what follows from a relay.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

RUNNING_WATTS = 210.0


class FakePlane:
    """Feeds are made on first sight, on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.feeds: dict[str, bool] = {}
        self.history: list[tuple[str, bool]] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakePlane":
        self._server = await asyncio.start_unix_server(self._serve, path=self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def on(self, feed: str) -> bool:
        return self.feeds.get(feed, True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        feed = request["feed"]
        if request["op"] == "set":
            self.feeds[feed] = request["on"]
            self.history.append((feed, request["on"]))
            return {"ok": True}
        return {"on": self.on(feed), "watts": RUNNING_WATTS if self.on(feed) else 0.0}
