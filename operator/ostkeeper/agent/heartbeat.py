"""This server's lease, renewed every interval. Here: the lease and nothing else, in a task of its own.

Not here: whether it may be renewed (`core.permission`), and anything that could block: what the annotations say is handed
in. A frozen process renews nothing, and that is what a heartbeat is for.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from ostkeeper.agent.api import Api, ApiError
from ostkeeper.api.common import (
    HEARTBEAT_NAMESPACE,
    PENDING_ANNOTATION,
    REPORT_ANNOTATION,
    UNREAD_ANNOTATION,
    pending_word,
    unread_word,
)
from ostkeeper.core import hostevents as ev

log = logging.getLogger(__name__)
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HEARTBEAT_NAMESPACE}/leases"
_LEAST_WITHIN = 0.2


class Heartbeat:
    """Renews while it is allowed. `unread` gives the targets whose disk reading is overdue; None: no disk is read."""

    def __init__(
        self,
        api: Api,
        node: str,
        boot_id: str,
        unread: Callable[[], tuple[str, ...] | None],
        renewed: Callable[[float], None],
    ) -> None:
        self._api = api
        self._node, self._boot_id = node, boot_id
        self._unread, self._renewed = unread, renewed
        self._beat = ev.Beat(False, 2.0, 10.0)
        self._changed = asyncio.Event()
        self._complained = ""
        self._version = 0
        self.report = ""
        """resourceVersion of the last OSS report."""
        self.pending_since: float | None = None
        """When a newer OSS report was first tried that is not written yet, monotonic; None: there is none."""
        self.pending_why = ""
        """Why it is not written, as it was said last."""
        self.went_back: Callable[[], None] = lambda: None
        """Called when a renewal is stored at a lower resourceVersion than the one before: etcd was restored."""

    def set(self, beat: ev.Beat) -> None:
        """Begin, stop, or change the pace, at once."""
        self._beat = beat
        self._changed.set()

    async def run(self) -> None:
        """Go on until cancelled: every interval, or half of one after a failure; each try ends before the next is due."""
        while True:
            self._changed.clear()
            wait = math.inf
            if self._beat.allowed:
                began, interval = time.monotonic(), self._beat.interval
                kept = await self._renew(began, max(_LEAST_WITHIN, 0.8 * interval))
                wait = began + (interval if kept else interval / 2) - time.monotonic()
            if wait > 0:
                await self._pause(wait)

    async def _pause(self, wait: float) -> None:
        try:
            async with asyncio.timeout(None if wait == math.inf else wait):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _renew(self, began: float, within: float) -> bool:
        try:
            await self._write(within)
        except ApiError as error:
            if str(error) != self._complained:
                self._complained = str(error)
                log.warning("the heartbeat fails: %s; tried again", error)
            return False
        if self._complained:
            self._complained = ""
            log.warning("the heartbeat is back")
        self._renewed(began)
        return True

    async def _write(self, within: float) -> None:
        """Merge patch, which asks for no version: one agent a server, by its lock; 404: the first one creates it."""
        body = self._lease()
        try:
            stored = await self._api.patch(f"{LEASES}/{self._node}", body, within)
        except ApiError as error:
            if error.status == 404:
                stored = await self._api.create(
                    LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **body}, within
                )
            elif error.status == 409:
                stored = await self._api.patch(f"{LEASES}/{self._node}", body, within)
            else:
                raise
        self._compare(int(stored["metadata"]["resourceVersion"]))

    def _compare(self, version: int) -> None:
        before, self._version = self._version, version
        if version < before:
            log.warning("resourceVersions went back from %d to %d: etcd was restored", before, version)
            self.went_back()

    def _lease(self) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "metadata": {
                "name": self._node,
                "annotations": {
                    REPORT_ANNOTATION: self.report,
                    PENDING_ANNOTATION: pending_word(self.pending_since, self.pending_why, time.monotonic()),
                    UNREAD_ANNOTATION: unread_word(self._unread()),
                },
            },
            "spec": {
                "holderIdentity": f"{self._node}/{self._boot_id}",
                "leaseDurationSeconds": max(1, math.ceil(self._beat.timeout)),
                "renewTime": now,
            },
        }
