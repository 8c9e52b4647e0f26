"""The agents' leases by a plain watch, and the canary that proves that this watch lives.

Here: what comes in feeds `Heartbeats` and wakes the pairs; the canary is a lease of our own in the same collection, seen
on the same watch. When it cannot be written or is not seen, nothing accrues anywhere, by itself. Not here: what a late
heartbeat means (`core`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from ostkeeper.controller import objects
from ostkeeper.controller.client import Api, ApiError
from ostkeeper.controller.cluster import AGENT_LEASES
from ostkeeper.controller.objects import Json
from ostkeeper.controller.once import Once
from ostkeeper.controller.watch import Watch
from ostkeeper.core.events import Beat
from ostkeeper.core.heartbeats import CANARY_GAP, CANARY_INTERVAL, Heartbeats
from ostkeeper.ports import Clock

logger = logging.getLogger(__name__)
CANARY = "ostkeeper-canary-"
"""The admission policy lets the operator write no other lease there."""
CANARY_ANNOTATION = "ostkeeper.dev/canary"
ABANDONED = 600.0
"""Seconds without a renewal after which another operator's canary is deleted: its Pod is gone. One that lives creates its
canary again."""
SILENCE = 3.0
"""Seconds without a byte after which the stream is dead: the canary alone brings one event a second."""
CALL = 1.5
"""Seconds for one renewal of the canary. One that takes longer proves too little to wait for."""


class Leases:
    """Watch and canary of one operator. `run` until cancelled."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        heartbeats: Heartbeats,
        name: str,
        token: str,
        beaten: Callable[[Beat], None],
        proven: Callable[[], None],
        went_back: Callable[[], None],
    ) -> None:
        self._api, self._clock, self._heartbeats = api, clock, heartbeats
        self._path = f"{AGENT_LEASES}/{CANARY}{name}"
        self._name, self._token = CANARY + name, token
        self._beaten, self._proven, self._went_back = beaten, proven, went_back
        self._watch = Watch(api, AGENT_LEASES, self._seen, SILENCE, Once(logger, clock), went_back)
        self._count = 0
        self._version = 0
        """resourceVersion of the canary as it was stored last; 0: not known."""
        self._began: OrderedDict[str, float] = OrderedDict()
        """When each canary that was not seen yet began to be written."""
        self._others: dict[str, float] = {}
        """When the canary of each other operator was seen last."""
        self._asked = asyncio.Event()
        self._said = Once(logger, clock)

    async def run(self) -> None:
        """Watch and renew the canary until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(), name="lease watch")
            group.create_task(self._sing(), name="canary")

    def prove(self) -> None:
        """Renew the canary now; many who ask at once are served by one."""
        self._asked.set()

    # --- what comes in

    def _seen(self, raw: Json) -> None:
        name = (raw.get("metadata") or {}).get("name", "")
        now = self._clock.monotonic()
        if name == self._name:
            self._hear(raw, now)
        elif name.startswith(CANARY):
            self._others[name] = now
        else:
            beat = objects.beat(raw)
            self._heartbeats.seen(beat, now)
            self._beaten(beat)

    def _hear(self, raw: Json, now: float) -> None:
        """Our own canary: it proves everything committed before it began to be written."""
        song = ((raw["metadata"].get("annotations")) or {}).get(CANARY_ANNOTATION, "")
        began = self._began.get(song)
        if began is None:
            return
        for earlier in [key for key, at in self._began.items() if at <= began]:
            del self._began[earlier]
        self._heartbeats.proven(began, now)
        self._proven()

    # --- the canary

    async def _sing(self) -> None:
        while True:
            self._asked.clear()
            began = self._clock.monotonic()
            try:
                await self._write(began)
            except ApiError as error:
                self._said.say(f"the canary lease was not renewed, and nothing counts as late meanwhile: {error}")
            else:
                self._said.forget()
            self._check_watch(began)
            await self._sweep(began)
            rest = began + CANARY_INTERVAL - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.01, rest)):
                    await self._asked.wait()
            except TimeoutError:
                pass

    async def _write(self, began: float) -> None:
        self._count += 1
        song = f"{self._token}:{self._count}"
        self._began[song] = began
        metadata: Json = {"annotations": {CANARY_ANNOTATION: song}}
        spec = {"holderIdentity": self._token, "renewTime": self._clock.wall()}
        guard = {"resourceVersion": str(self._version)} if self._version else {}
        try:
            stored = await self._api.patch(self._path, {"metadata": metadata | guard, "spec": spec}, within=CALL)
        except ApiError as error:
            if error.status == 409:
                stored = await self._api.get(self._path, CALL)
                self._asked.set()  # the next renewal is guarded by what is stored
            elif error.status == 404:
                kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
                stored = await self._api.post(
                    AGENT_LEASES, kind | {"metadata": metadata | {"name": self._name}}, within=CALL
                )
            else:
                raise
        self._compare(int(stored["metadata"]["resourceVersion"]))

    def _compare(self, version: int) -> None:
        """The canary is at a lower version than it was: etcd was restored, also where its revision was raised.

        A restore with a raised revision (`etcdutl snapshot restore --bump-revision`) gives each object the version that it had in
        the backup, and only new writes a higher one. So the renewal is guarded by the last version, and a conflict is looked at.
        """
        before, self._version = self._version, version
        if version < before:
            logger.warning("the canary's resourceVersion went back from %d to %d: etcd was restored", before, version)
            self._watch.relist()
            self._went_back()

    async def _sweep(self, now: float) -> None:
        """Delete one canary that nobody has renewed for ABANDONED: each Pod of the operator has another name."""
        name = next((name for name, seen in self._others.items() if now - seen > ABANDONED), "")
        if not name:
            return
        del self._others[name]
        try:
            await self._api.delete(f"{AGENT_LEASES}/{name}", within=CALL)
        except ApiError as error:
            if error.status != 404:
                logger.info("the canary lease %s of an operator that is gone was not deleted: %s", name, error)

    def _check_watch(self, now: float) -> None:
        """A canary that was written and never came back: the watch is deaf, whatever else it brings."""
        oldest = next(iter(self._began.values()), now)
        if now - oldest > CANARY_GAP:
            self._began.clear()
            self._watch.relist()
