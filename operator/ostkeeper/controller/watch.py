"""A plain watch: LIST, then JSON lines from its resourceVersion on, for ever.

For leases (and Nodes), of which there is so much news that kopf's ears cost five times as much. Here: resume, relist after
410 or a dead stream, back-off with jitter. Not here: what news means. What was deleted is reported only where `gone` is
given: absence orders nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ostkeeper.controller.client import Api, ApiError
from ostkeeper.controller.objects import Json
from ostkeeper.controller.once import Once

BACKOFF_FIRST = 0.2
BACKOFF_MOST = 5.0
LINE_LIMIT = 4 * 1024 * 1024


@dataclass(slots=True)
class Watch:
    """One collection. `seen(raw)` is called for each object listed, added or changed; it must not block or raise."""

    api: Api
    path: str
    seen: Callable[[Json], None]
    silence: float
    """Seconds without a byte after which the stream counts as dead. A collection that moves rarely needs bookmarks: those
    come about once a minute."""
    said: Once
    went_back: Callable[[], None] = field(default=lambda: None)
    """Called when a LIST is older than what was seen before: etcd was restored."""
    gone: Callable[[str], None] | None = None
    """Called with the name of each object that was deleted, also while the watch was away. None: nobody is told."""
    _names: set[str] = field(default_factory=set)
    """The objects that were seen, where `gone` is given."""
    _version: str = ""
    _highest: int = 0
    _backoff: float = BACKOFF_FIRST
    _following: asyncio.Task[None] | None = None

    def relist(self) -> None:
        """Whoever knows that this watch is stuck (a restored etcd serves a later resourceVersion in silence) says so."""
        self._version, self._highest = "", 0
        if self._following:
            self._following.cancel()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._following = asyncio.create_task(self._once())
            try:
                await asyncio.wait({self._following})
            finally:
                self._following.cancel()
            if self._following.cancelled():
                continue
            error = self._following.exception()
            if isinstance(error, ApiError):
                await self._back_off(error)
            elif error:
                raise error

    async def _once(self) -> None:
        if not self._version:
            await self._list()
        await self._follow()

    async def _back_off(self, error: ApiError) -> None:
        """A refusal is mended by a fresh LIST; a broken connection is taken up where it broke."""
        if error.status:
            self._version = ""
        if error.status != 410:
            self.said.say(f"watch of {self.path}: {error}")
        await asyncio.sleep(self._backoff * random.uniform(0.5, 1.0))
        self._backoff = min(BACKOFF_MOST, self._backoff * 2)

    async def _list(self) -> None:
        answer = await self.api.get(self.path)
        items = answer.get("items", ())
        for raw in items:
            self._note(raw)
        for name in self._names.difference([raw["metadata"]["name"] for raw in items]):
            self._lose(name)
        self._version = str((answer.get("metadata") or {}).get("resourceVersion", ""))
        number = int(self._version) if self._version.isdecimal() else 0
        highest, self._highest = self._highest, number
        if number < highest:
            self.went_back()

    async def _follow(self) -> None:
        """One stream, to its end. A server ends a stream every few minutes; that is no fault."""
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version}
        async with self.api.stream(self.path, self.silence, query) as lines:
            rest = b""
            while chunk := await lines.readany():
                self._backoff = BACKOFF_FIRST
                self.said.forget()
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    self._take(line)
                if len(rest) > LINE_LIMIT:
                    raise ApiError(0, "BadAnswer", f"a watch event longer than {LINE_LIMIT} bytes")

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            news = json.loads(line)
        except ValueError as error:
            raise ApiError(0, "BadAnswer", f"a watch event is not JSON: {line[:80]!r}") from error
        raw = news.get("object") or {}
        if news.get("type") == "ERROR":
            self._version = ""  # whatever it is, a fresh LIST mends it
            raise ApiError(int(raw.get("code") or 0), str(raw.get("reason", "")), str(raw.get("message", "")))
        self._version = str((raw.get("metadata") or {}).get("resourceVersion", "")) or self._version
        if self._version.isdecimal():
            self._highest = max(self._highest, int(self._version))
        if news.get("type") in ("ADDED", "MODIFIED"):
            self._note(raw)
        elif news.get("type") == "DELETED":
            self._lose(str((raw.get("metadata") or {}).get("name", "")))

    def _note(self, raw: Json) -> None:
        if self.gone is not None:
            self._names.add(raw["metadata"]["name"])
        self.seen(raw)

    def _lose(self, name: str) -> None:
        self._names.discard(name)
        if self.gone is not None:
            self.gone(name)
