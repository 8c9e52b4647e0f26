"""Carries out the effects of one pair's machine, and brings exactly one answer for each that has an `op`.

Here: which port serves which effect, and the look at the leadership right before. Not here: retries, order, meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ostkeeper.api import FenceDevice
from ostkeeper.controller.power import Power
from ostkeeper.core import events as e
from ostkeeper.core.power import Feed, PowerReading, PowerState
from ostkeeper.ports import Clock, Cluster, ReadFailedError, Written

logger = logging.getLogger(__name__)
Write = e.WritePair | e.CreateFailover | e.WriteFailover | e.DeleteFailover | e.CreateOSS | e.WriteOSSReady | e.WriteOST


@dataclass(slots=True)
class Performer:
    """`perform` of one pair's task: never blocks, answers into `inbox`. `close` cancels what is under way."""

    key: str
    inbox: asyncio.Queue[e.Event]
    cluster: Cluster
    power: Power
    clock: Clock
    leading: Callable[[float], bool]
    prove: Callable[[], None]
    device: Callable[[str], FenceDevice | None]
    """The FenceDevice as the watch showed it, until the first quorum read."""
    _declared: dict[str, FenceDevice] | None = None
    """The FenceDevices of the last quorum read."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __call__(self, effect: e.Effect) -> None:
        """Start carrying it out."""
        if isinstance(effect, e.ProveWatch):
            self.prove()
            return
        said = _said(effect)
        if said:
            logger.info("%s: %s", self.key, said)
        task = asyncio.create_task(self._perform(effect), name=f"{self.key} {type(effect).__name__}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Cancel everything: nobody waits for these answers any more."""
        for task in list(self._tasks):
            task.cancel()

    async def _perform(self, effect: e.Effect) -> None:
        try:
            answer = await self._carry_out(effect)
        except Exception as error:  # a bug of ours must not leave the machine waiting for ever
            logger.exception("%s: %s failed", self.key, type(effect).__name__)
            answer = _failed(effect, f"{type(error).__name__}: {error}", self.clock.monotonic())
        if answer is not None:
            self.inbox.put_nowait(answer)

    async def _carry_out(self, effect: e.Effect) -> e.Event | None:
        match effect:
            case e.ReadAll():
                return await self._read_all(effect)
            case e.CutPower() | e.PowerOn():
                return await self.power.order(self._find, effect)
            case e.ReadPower():
                return await self.power.read(self._find, effect)
            case e.Prepare():
                await self.power.prepare(self._find, effect)
            case e.Tell():
                await self._if_leading(self.cluster.tell(effect))
            case e.ProveWatch():
                self.prove()
            case _:
                return await self._write(effect)
        return None

    async def _write(self, effect: Write) -> e.Wrote:
        written = await self._if_leading(self._request(effect))
        if written is None:
            return e.Wrote(effect.op, e.Outcome.FAILED, None, "not written: this operator does not lead any more")
        return e.Wrote(effect.op, written.outcome, written.object, written.detail)

    def _request(self, effect: Write) -> Coroutine[Any, Any, Written]:
        match effect:
            case e.WritePair():
                return self.cluster.write_pair(effect.key, effect.version, effect.status)
            case e.CreateFailover():
                return self.cluster.create_failover(effect.failover)
            case e.WriteFailover():
                return self.cluster.write_failover(effect.key, effect.version, effect.status)
            case e.DeleteFailover():
                return self.cluster.delete_failover(effect.key, effect.version)
            case e.CreateOSS():
                return self.cluster.create_oss(effect.node, effect.pair)
            case e.WriteOSSReady():
                return self.cluster.write_oss_ready(effect.node, effect.condition)
            case e.WriteOST():
                return self.cluster.write_ost(effect.key, effect.version, effect.status)

    async def _if_leading(self, request: Coroutine[Any, Any, Any]) -> Any:
        """Await a request, or drop it unsent when this operator does not lead at this moment."""
        if self.leading(self.clock.monotonic()):
            return await request
        request.close()
        return None

    async def _read_all(self, effect: e.ReadAll) -> e.Read:
        began = self.clock.monotonic()
        try:
            snapshot = await self.cluster.snapshot(effect.key)
        except ReadFailedError as error:
            return e.Read(effect.op, began, None, str(error))
        self._declared = {device.key: device for device in snapshot.devices}
        return e.Read(effect.op, began, snapshot)

    def _find(self, feed: Feed) -> FenceDevice | None:
        """A feed's device as of the last quorum read: an edit after it is not followed by this machine's orders."""
        namespace = self.key.rpartition("/")[0]
        key = feed.device if "/" in feed.device else f"{namespace}/{feed.device}"
        return self._declared.get(key) if self._declared is not None else self.device(key)


def _said(effect: e.Effect) -> str:
    """What the log tells of an effect, so that a night can be read again: decisions and shots, but no mirrors."""
    match effect:
        case e.WritePair(why=why) if why != "conditions":
            return f"epoch {effect.status.epoch}: {why}"
        case e.CreateFailover():
            return f"create {effect.failover.name}: {effect.why}"
        case e.WriteFailover():
            return f"{effect.key.rpartition('/')[2]} {effect.status.phase}: {effect.why}"
        case e.CutPower():
            return f"cut {effect.feed}, by {effect.deadline:.3f} or not at all: {effect.why}"
        case e.PowerOn():
            return f"power on {effect.feed}: {effect.why}"
        case _:
            return ""


def _failed(effect: e.Effect, detail: str, now: float) -> e.Event | None:
    """The answer to an effect that we failed to carry out by a fault of our own."""
    match effect:
        case e.ReadAll():
            return e.Read(effect.op, now, None, detail)
        case e.CutPower() | e.PowerOn():
            return e.Acked(effect.op, effect.feed, ok=False, sent=True, detail=detail)
        case e.ReadPower():
            return e.PowerRead(effect.op, effect.feed, PowerReading(PowerState.UNKNOWN, now, now, detail=detail))
        case e.Prepare() | e.Tell() | e.ProveWatch():
            return None
        case _:
            return e.Wrote(effect.op, e.Outcome.FAILED, None, detail)
