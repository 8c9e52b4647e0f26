"""Kubernetes Events: what `kubectl describe` shows under an object. The same one again counts, it is not shown twice.

Core v1 Events with count and times, because every kubectl understands those. Nothing ever waits for or depends on one.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from dataclasses import dataclass

from ostkeeper.api.common import API_VERSION
from ostkeeper.controller.client import Api, ApiError
from ostkeeper.core.events import Tell
from ostkeeper.ports import Clock

logger = logging.getLogger(__name__)
REPEAT_AFTER = 10.0
"""Seconds between two updates of one Event's count."""
FORGET_AFTER = 3000.0
"""Seconds after which a repetition is a new Event: the API server drops Events after an hour."""
REMEMBER = 2000
"""How many Events are remembered; then all are forgotten, and a repetition shows anew."""


@dataclass(slots=True)
class Shown:
    """One Event as it was last written."""

    path: str
    count: int
    at: float


class Notices:
    """Writes Events, aggregated by (object, reason, message)."""

    def __init__(self, api: Api, clock: Clock, reporter: str = "ostkeeper-operator") -> None:
        self._api, self._clock, self._reporter = api, clock, reporter
        self._shown: dict[str, Shown] = {}

    async def tell(self, tell: Tell) -> None:
        """Show or count. Failures are logged and forgotten."""
        digest = hashlib.sha256(f"{tell.kind} {tell.key} {tell.uid} {tell.reason} {tell.message}".encode()).hexdigest()
        now = self._clock.monotonic()
        known = self._shown.get(digest)
        try:
            if known and now - known.at < FORGET_AFTER:
                known.count += 1
                if now - known.at >= REPEAT_AFTER:
                    known.at = now
                    await self._api.patch(known.path, {"count": known.count, "lastTimestamp": self._seconds()})
                return
            await self._create(tell, digest, now)
        except ApiError as error:
            self._shown.pop(digest, None)
            logger.debug("the Event %s about %s %s was not written: %s", tell.reason, tell.kind, tell.key, error)

    async def _create(self, tell: Tell, digest: str, now: float) -> None:
        if len(self._shown) >= REMEMBER:
            self._shown.clear()
        namespace, _, name = tell.key.rpartition("/")
        collection = f"/api/v1/namespaces/{namespace or 'default'}/events"
        event = f"{name[:200]}.{uuid.uuid4().hex[:16]}"
        involved = {"apiVersion": API_VERSION, "kind": tell.kind, "name": name, "uid": tell.uid}
        self._shown[digest] = Shown(f"{collection}/{event}", 1, now)
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event, "namespace": namespace or "default"},
            "involvedObject": involved | ({"namespace": namespace} if namespace else {}),
            "type": tell.type,
            "reason": tell.reason[:128],
            "message": tell.message[:1024],
            "count": 1,
            "firstTimestamp": self._seconds(),
            "lastTimestamp": self._seconds(),
            "source": {"component": self._reporter},
            "reportingComponent": self._reporter,
            "reportingInstance": self._reporter,
        }
        log = logger.warning if tell.type == "Warning" else logger.info
        log("%s %s: %s: %s", tell.kind, tell.key, tell.reason, tell.message)
        await self._api.post(collection, body)

    def _seconds(self) -> str:
        """Event times of core v1 are RFC 3339 without fractions (metav1.Time)."""
        return self._clock.wall()[:19] + "Z"
