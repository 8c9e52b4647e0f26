"""What stands between the world and the operator's eyes: observations are dropped, delayed, repeated, older, or reordered.

Here: how one event is told otherwise than it happened. Not here: which properties hold all the same (`test_properties`).
Answers to the operator's own requests are never lost here (`World.write_hook` does that): only what it watches.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.world import Operator, World
from ostkeeper.api.failover import Failover
from ostkeeper.api.phases import ANSWERABLE
from ostkeeper.core import events as e

WATCHED = ("Beat oss1", "Beat oss2", "OSSPair", "OSS oss1", "OSS oss2", "Failover", "OST", "FenceDevice", "Node")
"""What an operator watches, by the name that `subject` gives it."""
Tell = Callable[[Operator | None, e.Event], None]


def subject(event: e.Event) -> str:
    """What an observation is about; empty: the answer to a request, or no observation."""
    match event:
        case e.Beaten(beat):
            return f"Beat {beat.node}"
        case e.Seen(obj):
            return f"OSS {obj.name}" if obj.kind == "OSS" else obj.kind
        case e.NodeSeen():
            return "Node"
        case _:
            return ""


@dataclass(frozen=True)
class Window:
    """From one second to another, what becomes of one kind of observation.

    dropped: nothing is told. delayed: it is told later. old: what was told last before the window began is told again.
    """

    what: str
    begins: float
    ends: float
    fate: str


def stale(world: World, windows: list[Window], delay: float = 7.0) -> None:
    """The operator's watches are blind, late or show old versions, in these windows."""
    tell: Tell = world.tell
    last: dict[str, e.Event] = {}

    def told(op: Operator | None, event: e.Event) -> None:
        about = subject(event)
        if not about:
            tell(op, event)
            return
        key = f"{about} {event.object.name}" if isinstance(event, e.Seen) else about
        at = world.now - world.zero
        fate = next((w.fate for w in windows if w.what == about and w.begins <= at < w.ends), "")
        if fate == "dropped":
            return
        if fate == "delayed":
            world.clock.after(delay, lambda: tell(op, event))
            return
        if fate != "old":
            last[key] = event
        tell(op, last.setdefault(key, event))

    world.tell = told  # type: ignore[method-assign]


def repeating(world: World, seed: int) -> None:
    """Everything is told twice, and after it something that was told before: of no version is anything told anew."""
    tell: Tell = world.tell
    dice, past = random.Random(seed), list[e.Event]()

    def told(op: Operator | None, event: e.Event) -> None:
        tell(op, event)
        if op is None or not isinstance(event, e.Seen | e.Beaten | e.Wrote | e.Read | e.Acked | e.PowerRead):
            return
        past.append(event)
        tell(op, event)
        tell(op, dice.choice(past))
        tell(op, e.Tick())

    world.tell = told  # type: ignore[method-assign]


def reordering(world: World, seed: int) -> None:
    """What arrives at one moment arrives in any order; what is about one object, and answers, keep theirs."""
    tell: Tell = world.tell
    dice, waiting = random.Random(seed), list[tuple[Operator, e.Event]]()

    def flush() -> None:
        batch, waiting[:] = list(waiting), []
        queues: dict[str, list[tuple[Operator, e.Event]]] = {}
        for op, event in batch:
            about = f"{subject(event)} {event.object.name}" if isinstance(event, e.Seen) else subject(event)
            queues.setdefault(about, []).append((op, event))
        while queues:
            about = dice.choice(sorted(queues))
            tell(*queues[about].pop(0))
            if not queues[about]:
                del queues[about]

    def told(op: Operator | None, event: e.Event) -> None:
        if op is None:
            return
        if isinstance(event, e.Tick | e.Led):
            tell(op, event)
            return
        if not waiting:
            world.clock.after(0.0, flush)
        waiting.append((op, event))

    world.tell = told  # type: ignore[method-assign]


def lagging(world: World, lags: dict[str, float]) -> None:
    """Each watch is late by so many seconds and keeps its own order; answers to the operator's requests are not."""
    tell: Tell = world.tell

    def told(op: Operator | None, event: e.Event) -> None:
        wait = lags.get(subject(event), 0.0)
        if wait and op is not None:
            world.clock.after(wait, lambda: tell(op, event))
        else:
            tell(op, event)

    world.tell = told  # type: ignore[method-assign]


@dataclass(frozen=True)
class Loss:
    """The operator is lost so many seconds after a write or an off of its life, with it (0), and another leads later."""

    nth: int
    after: float
    away: float


def losing(world: World, losses: list[Loss]) -> None:
    """The operator is lost at these moments, one after the other."""
    left, count = list(losses), 0

    def again() -> None:
        if world.operator is None:
            world.start_operator()

    def lose(away: float) -> None:
        world.crash_operator()
        world.clock.after(away, again)

    def hook(effect: e.Effect) -> str:
        nonlocal count
        if not left or isinstance(effect, e.WriteOST | e.WriteOSSReady | e.CreateOSS):
            return ""
        count += 1
        if count != left[0].nth:
            return ""
        loss, count = left.pop(0), 0
        world.clock.after(loss.after, lambda: lose(loss.away))
        return "" if loss.after else "crash"

    world.write_hook = hook
    world.cut_hook = hook


def insisting(world: World) -> None:
    """Whoever has answered a question that is then asked anew, since the evidence changed, gives the same answer again."""

    def look() -> None:
        fo = world.failovers[-1] if world.failovers else None
        if fo is None or fo.status is None or fo.spec.approval is None or fo.phase not in ANSWERABLE:
            return
        if fo.spec.approval.evidence != fo.status.evidence and fo.status.answer != fo.spec.approval.answer:
            again = {**fo.spec.approval.wire(), "evidence": fo.status.evidence}
            world.store.edit(Failover, fo.name, approval=again)

    world.clock.every(1.0, look, first=0.5)


def conflicts(world: World) -> list[str]:
    """Writes that met a changed object, from here on: where nobody else writes, it was decided on what was known to be old."""
    met: list[str] = []
    commit = world._commit

    def committed(effect: Any) -> Any:
        answer = commit(effect)
        if answer[0] is e.Outcome.CONFLICT:
            met.append(f"{type(effect).__name__} at {world.now - world.zero:.1f}s: {answer[2]}")
        return answer

    world._commit = committed  # type: ignore[method-assign]
    return met


def idle_writes(world: World) -> list[str]:
    """Writes that are committed and change nothing: whoever plans on the state that they leave writes them again."""
    met: list[str] = []
    commit = world._commit

    def committed(effect: Any) -> Any:
        objects = dict(world.store.objects)
        answer = commit(effect)
        after = answer[1]
        before = objects.get((after.kind, after.name)) if after is not None else None
        if before is not None and after is not None and before.wire().get("status") == after.wire().get("status"):
            met.append(f"{type(effect).__name__} at {world.now - world.zero:.1f}s")
        return answer

    world._commit = committed  # type: ignore[method-assign]
    return met


def spurious(world: World) -> list[e.Effect]:
    """The operator is woken twice after each step; returns what it then asked for, which should be nothing."""
    asked: list[e.Effect] = []
    tell: Tell = world.tell

    def told(op: Operator | None, event: e.Event) -> None:
        tell(op, event)
        if op is None or not op.alive or op.frozen:
            return
        wake_at = op.machine.wake_at
        for _ in range(2):
            asked.extend(op.machine.step(e.Tick(), world.now))
        assert op.machine.wake_at >= min(wake_at, world.now), "a spurious wake-up made it wake earlier"

    world.tell = told  # type: ignore[method-assign]
    return asked
