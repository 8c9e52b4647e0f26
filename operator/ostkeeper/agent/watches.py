"""Keeping up with some objects of one kind: list, watch, and again, for as long as the agent lives.

Here: list and watch with back-off, and what was seen or is gone, as events. Not here: which objects (`run`), what follows.
A watch is only a wake-up: acts rest on reads of their own (`pair_reader`). One that goes on from a version which a restored
etcd reaches only later brings nothing of what is written until then, nor ever after: whoever notices says `relist`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from ostkeeper.agent.api import RESOURCES, Api, ApiError, Json
from ostkeeper.api.common import Resource
from ostkeeper.core.events import Gone, Seen

log = logging.getLogger(__name__)
_LIST_WITHIN = 5.0
_BACKOFF_FIRST = 0.2
_BACKOFF_MOST = 5.0


class Expired(Exception):
    """The version to go on from is not kept any more (410), or the watch said so: list again."""


@dataclass(frozen=True, slots=True)
class What:
    """Objects of one kind, by field selector; namespace empty for what is cluster-wide."""

    kind: type[Resource]
    selector: str
    namespace: str = ""

    @property
    def path(self) -> str:
        """Path of the collection."""
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{RESOURCES}{place}/{self.kind.plural}"


@dataclass(slots=True)
class Watcher:
    """One list and watch. `emit` gets `Seen` and `Gone`; `listed` is called after each list with how many there are."""

    api: Api
    what: What
    emit: Callable[[Seen | Gone], None]
    listed: Callable[[int], None] = lambda count: None
    _known: dict[str, str] = field(default_factory=dict)
    """Key: resourceVersion."""
    _following: asyncio.Task[None] | None = None

    def relist(self) -> None:
        """etcd was restored: list anew, and show everything, for a version may come again with other content."""
        self._known = dict.fromkeys(self._known, "")
        if self._following:
            self._following.cancel()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self._following = asyncio.create_task(self._follow())
            try:
                await asyncio.wait({self._following})
            finally:
                self._following.cancel()
            if not self._following.cancelled():
                self._following.result()

    async def _follow(self) -> None:
        """List and watch. Errors are logged once in a row, and backed off from with jitter."""
        wait, complained = _BACKOFF_FIRST, ""
        while True:
            try:
                version = await self._list()
                wait, complained = _BACKOFF_FIRST, ""
                while True:
                    version = await self._watch(version)
            except Expired:
                continue
            except ApiError as error:
                if str(error) != complained:
                    complained = str(error)
                    log.warning("%s; tried again", error)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(_BACKOFF_MOST, wait * 2)

    async def _list(self) -> str:
        found = await self.api.get(self.what.path, _LIST_WITHIN, fieldSelector=self.what.selector)
        keys = {self._see(item) for item in found.get("items") or ()}
        for key in sorted(set(self._known) - keys):
            self._lose(key)
        self.listed(len(keys))
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """One watch to its end; the version to go on from."""
        async for event in self.api.watch(self.what.path, version, fieldSelector=self.what.selector):
            item = event.get("object") or {}
            if event.get("type") == "ERROR":
                raise Expired
            version = item.get("metadata", {}).get("resourceVersion", version)
            if event["type"] in ("ADDED", "MODIFIED"):
                self._see(item)
            elif event["type"] == "DELETED":
                self._lose(_key(item))
        return version

    def _see(self, item: Json) -> str:
        key, version = _key(item), str(item["metadata"].get("resourceVersion", ""))
        if self._known.get(key) == version:
            return key
        self._known[key] = version
        try:
            self.emit(Seen(self.what.kind.parse(item)))
        except ValidationError as error:
            log.error("%s %s cannot be understood and is ignored: %s", self.what.kind.kind, key, error)
        return key

    def _lose(self, key: str) -> None:
        self._known.pop(key, None)
        self.emit(Gone(self.what.kind.kind, key))


def _key(item: Json) -> str:
    meta = item["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])
