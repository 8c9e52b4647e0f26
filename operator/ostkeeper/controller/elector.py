"""Leader election on a Lease, on the monotonic clock, with a deadline on every call.

Here: the calls that `core.election` asks for. An own implementation, because the library's compares wall clocks and calls
without time-outs: a paused leader would wake up and shoot. Not here: who leads (`core.election`), what a leader does.
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
from ostkeeper.core.election import DEFAULT_TERMS, Answer, Election, Record, Request, Terms, Verb
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
        self._lease, self._clock, self._terms = lease, clock, terms
        self._led, self._deposed = led, deposed
        self._election = Election(holder, terms, lambda: uuid.uuid4().hex[:8], self._on_led, self._on_deposed)
        self._raw: Json = {}
        """The lease as the last call gave it: what a write replaces."""
        self._complaint = ""
        """Why a call of this attempt failed; empty: none did."""
        self._said = Once(logger, clock)

    @property
    def term(self) -> str:
        """The term that we lead; empty: we do not."""
        return self._election.term

    def leading(self, now: float) -> bool:
        """Whether we lead at `now`, by our own clock alone. Ask right before each act, with the time of that moment."""
        return self._election.leading(now)

    def leads_until(self) -> float:
        """The monotonic second at which we stop leading unless a renewal succeeds; minus infinity: we do not lead."""
        return self._election.leads_until

    async def run(self) -> None:
        """Acquire, renew, lose, until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self.attempt()
            await asyncio.sleep(max(0.0, self._terms.retry - (self._clock.monotonic() - began)))

    async def attempt(self) -> None:
        """Renew or try to acquire, once."""
        self._complaint = ""
        request: Request | None = self._election.attempt(self._clock.monotonic())
        while request:
            answer = await self._ask(request)
            record = _record(self._raw) if answer is Answer.OK else None
            request = self._election.answered(request, answer, record, self._clock.monotonic())
        if self._complaint:
            self._said.say(f"leader lease: {self._complaint}")
        else:
            self._said.forget()

    async def release(self) -> None:
        """Stop leading, at once; then let others know, so that they need not wait. Raises nothing."""
        if not self.term:
            return
        self._election.end("it was asked to stop")
        spec = self._spec() | {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._lease.replace({**self._raw, "spec": spec})
        except ApiError as error:
            logger.info("the leader lease was not released, another waits for it to run out: %s", error)

    async def _ask(self, request: Request) -> Answer:
        try:
            self._raw = await self._call(request.verb) or {}
        except ApiError as error:
            if error.status == 409 and request.verb is Verb.RENEW:
                return Answer.CONFLICT
            if error.status == 404 and request.verb is Verb.RENEW:
                return Answer.GONE
            self._complaint = str(error)
            return Answer.FAILED
        return Answer.OK

    async def _call(self, verb: Verb) -> Json | None:
        """Make one call. `_raw` is the record that the request is about: the election asks about the last one only."""
        old = self._raw.get("spec") or {}
        match verb:
            case Verb.GET:
                return await self._lease.get()
            case Verb.CREATE:
                return await self._lease.create(self._spec())
            case Verb.RENEW:
                spec = old | {"holderIdentity": self._election.holder, "renewTime": self._clock.wall()}
            case Verb.TAKE:
                spec = self._spec() | {"leaseTransitions": int(old.get("leaseTransitions") or 0) + 1}
        return await self._lease.replace({**self._raw, "spec": spec})

    def _spec(self) -> Json:
        now = self._clock.wall()
        return {
            "holderIdentity": self._election.holder,
            "leaseDurationSeconds": max(1, round(self._terms.lease_duration)),
            "acquireTime": now,
            "renewTime": now,
        }

    def _on_led(self, term: str) -> None:
        logger.info("leading, term %s", term)
        self._led(term)

    def _on_deposed(self, why: str) -> None:
        logger.warning("no longer leading: %s", why)
        self._deposed()


def _record(raw: Json) -> Record | None:
    if not raw:
        return None
    spec = raw.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        version=raw["metadata"]["resourceVersion"],
        duration=float(spec.get("leaseDurationSeconds") or 0),
    )
