"""Leader election on a Lease, on the monotonic clock, with a deadline on every call.

Here: who leads. An own implementation, because the library's compares wall clocks and calls without time-outs: a paused
leader would wake up and shoot. Whether we lead is a pure question of our own clock: the last renewal that succeeded *began*
less than `renew_deadline` ago. Another takes over only after it saw the record unchanged for `lease_duration` on its own
clock, so between the two lies the difference, and the core lets further time pass before the first shot.
Not here: what a leader does.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Protocol

from ostkeeper.controller.client import Api, ApiError
from ostkeeper.controller.objects import Json
from ostkeeper.controller.once import Once
from ostkeeper.controller.options import DEFAULT_TERMS, Terms
from ostkeeper.ports import Clock

logger = logging.getLogger(__name__)


class LeaseStore(Protocol):
    """The one lease. All raise ApiError."""

    async def get(self) -> Json | None:
        """The record; None when there is none (404)."""
        ...

    async def create(self, spec: Json) -> Json:
        """Create it (409: somebody was quicker)."""
        ...

    async def replace(self, record: Json) -> Json:
        """Replace it, guarded by its resourceVersion (409: it changed; 404: it is gone)."""
        ...


class KubeLease:
    """The lease on the API server; each call takes `timeout` seconds at most."""

    def __init__(self, api: Api, path: str, timeout: float) -> None:
        self._api, self._path, self._timeout = api, path, timeout

    async def get(self) -> Json | None:
        """Quorum read."""
        try:
            return await self._api.get(self._path, within=self._timeout)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, spec: Json) -> Json:
        """Create it."""
        collection, _, name = self._path.rpartition("/")
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return await self._api.post(collection, kind | {"metadata": {"name": name}, "spec": spec}, self._timeout)

    async def replace(self, record: Json) -> Json:
        """Replace it."""
        return await self._api.put(self._path, record, self._timeout)


class Elector:
    """Runs for leader. `led(term)` and `deposed()` are called as it changes; `leading(now)` may be asked at any moment."""

    def __init__(
        self,
        lease: LeaseStore,
        holder: str,
        clock: Clock,
        led: Callable[[str], None],
        deposed: Callable[[], None],
        terms: Terms = DEFAULT_TERMS,
    ) -> None:
        self._lease, self.holder, self._clock, self._terms = lease, holder, clock, terms
        self._led, self._deposed = led, deposed
        self._record: Json | None = None
        """What we wrote last, with its resourceVersion."""
        self._renewed = 0.0
        """When the last successful renewal began."""
        self.term = ""
        """The term that we lead; empty: we do not."""
        self._said = Once(logger, clock)
        self._observed = ("", 0.0)
        """The version of another's record, and when it was first seen."""

    def leading(self, now: float) -> bool:
        """Whether we lead at `now`, by our own clock alone. Ask right before each act, with the time of that moment."""
        return bool(self.term) and now < self._renewed + self._terms.renew_deadline

    async def run(self) -> None:
        """Acquire, renew, lose, until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self.attempt()
            await asyncio.sleep(max(0.0, self._terms.retry - (self._clock.monotonic() - began)))

    async def attempt(self) -> None:
        """Renew or try to acquire, once."""
        began = self._clock.monotonic()
        if self.term and not self.leading(began):
            self._end(f"its last renewal began {began - self._renewed:.1f}s ago")
        try:
            await (self._renew(began) if self.term else self._acquire(began))
        except ApiError as error:
            self._said.say(f"leader lease: {error}")
        else:
            self._said.forget()
        if self.term and not self.leading(now := self._clock.monotonic()):
            self._end(f"its last renewal began {now - self._renewed:.1f}s ago")

    async def release(self) -> None:
        """Stop leading, at once; then let others know, so that they need not wait. Raises nothing."""
        if not self.term:
            return
        self._end("it was asked to stop")
        spec = self._spec() | {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._lease.replace({**(self._record or {}), "spec": spec})
        except ApiError as error:
            logger.info("the leader lease was not released, another waits for it to run out: %s", error)

    async def _renew(self, began: float) -> None:
        try:
            await self._write(began)
        except ApiError as error:
            if error.status == 404:
                self._end("its lease was deleted")
            elif error.status == 409:
                await self._look_again(began)
            else:
                raise

    async def _look_again(self, began: float) -> None:
        """Our record changed under us: somebody edited it, or somebody else leads."""
        record = await self._lease.get()
        if record and _holder(record) == self.holder:
            self._record = record
            await self._write(began)
        else:
            self._end(f"{_holder(record) or 'nobody'} holds the lease now")

    async def _acquire(self, began: float) -> None:
        record = await self._lease.get()
        if record is None:
            stored = await self._lease.create(self._spec())
            self._start(stored, began)
        elif self._free(record, self._clock.monotonic()):
            began = self._clock.monotonic()
            spec = self._spec()
            spec["leaseTransitions"] = int((record.get("spec") or {}).get("leaseTransitions") or 0) + 1
            self._start(await self._lease.replace({**record, "spec": spec}), began)

    def _free(self, record: Json, now: float) -> bool:
        """Whether the record is nobody's, or has stood unchanged for its time as we saw it."""
        spec, version = record.get("spec") or {}, record["metadata"]["resourceVersion"]
        if _holder(record) in ("", self.holder):
            return True
        if self._observed[0] != version:
            self._observed = (version, now)
        duration = max(self._terms.lease_duration, float(spec.get("leaseDurationSeconds") or 0))
        return now - self._observed[1] > duration

    async def _write(self, began: float) -> None:
        record = self._record or {}
        spec = (record.get("spec") or {}) | {"holderIdentity": self.holder, "renewTime": self._clock.wall()}
        self._record = await self._lease.replace({**record, "spec": spec})
        self._renewed = began

    def _spec(self) -> Json:
        now = self._clock.wall()
        return {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self._terms.lease_duration)),
            "acquireTime": now,
            "renewTime": now,
        }

    def _start(self, record: Json, began: float) -> None:
        self._record, self._renewed = record, began
        self.term = uuid.uuid4().hex[:8]
        if self.leading(self._clock.monotonic()):
            logger.info("leading, term %s", self.term)
            self._led(self.term)
        else:
            self.term = ""

    def _end(self, why: str) -> None:
        logger.warning("no longer leading term %s: %s", self.term, why)
        self.term = ""
        self._deposed()


def _holder(record: Json | None) -> str:
    return str(((record or {}).get("spec") or {}).get("holderIdentity") or "")
