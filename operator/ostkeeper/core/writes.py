"""The writes of the pair machine.

Here: how a decision becomes an effect. One decision is under way at a time (`View.busy`); what rests on it comes from
the step in which its answer arrives. Not here: which decision (`plan`, `failover`, `orderly`, `adoption`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ostkeeper.api.common import Condition
from ostkeeper.api.failover import Failover, FailoverStatus, Phase, TimelineEntry
from ostkeeper.api.osspair import Assignment, Intent, OSSPairStatus, Warrant
from ostkeeper.api.phases import ANSWERABLE, TERMINAL
from ostkeeper.core.events import CreateFailover, Effect, ReadAll, Tell, WriteFailover, WritePair
from ostkeeper.core.view import View

TIMELINE = 64
"""The most entries that a timeline keeps; the oldest but the first go."""


def write_pair(view: View, why: str, **update: Any) -> list[Effect]:
    """Replace the pair's status, guarded by the resourceVersion that the decision rests on."""
    pair = view.pair
    assert pair is not None
    before = pair.status
    base = before or OSSPairStatus(epoch=0)
    after = base.model_copy(update={**update, "observed_generation": pair.metadata.generation})
    op = view.busy = view.next_op()
    view.writing = why
    return [WritePair(op, view.key, pair.version, after, why)]


def assign(
    assignments: Iterable[Assignment],
    targets: Iterable[str],
    epoch: int,
    *,
    intent: Intent,
    node: str = "",
    **warrant: Any,
) -> tuple[Assignment, ...]:
    """The assignments with those of `targets` at a new epoch: another intent, or another node with its warrant."""
    moving = tuple(targets)
    changed = []
    for a in assignments:
        if a.target not in moving:
            changed.append(a)
            continue
        update: dict[str, Any] = {"epoch": epoch, "intent": intent, "node": node or a.node}
        if warrant:
            update["warrant"] = Warrant(**warrant)
        changed.append(a.model_copy(update=update))
    return tuple(changed)


def write_failover(
    view: View, failover: Failover, message: str, *, phase: Phase, instead_of: int = 0, **update: Any
) -> list[Effect]:
    """Replace a Failover's status, with one more line in its timeline, and tell it as an Event when the phase changes.

    `instead_of`: how many of the last entries the new one replaces.
    """
    before = failover.status
    base = before or FailoverStatus(phase=phase)
    entry = TimelineEntry(time="", phase=phase, message=message[:1024])
    timeline = (*base.timeline[: len(base.timeline) - instead_of], entry)
    if len(timeline) > TIMELINE:
        timeline = (timeline[0], *timeline[-TIMELINE + 1 :])
    asks = still_asks(failover, phase, update.get("missing", base.missing))
    conditions = failover_conditions(phase, message, failover.metadata.generation, asks=asks)
    fields = {"phase": phase, "message": message[:4096], "timeline": timeline, "conditions": conditions}
    after = base.model_copy(update={**fields, **update, "observed_generation": failover.metadata.generation})
    op = view.busy = view.next_op()
    view.writing = f"{failover.name} {phase}"
    effects: list[Effect] = [WriteFailover(op, failover.key, failover.version, after, message)]
    if (before is None or before.phase != phase) and not instead_of and not asks:
        kind = "Warning" if phase in ("AwaitingApproval", "Blocked", "Fencing") else "Normal"
        effects += tell(view, failover, kind, phase, message)
    return effects


def still_asks(failover: Failover, phase: str, missing: tuple[str, ...]) -> bool:
    """Whether a level is tried again while a person is needed: the death is not proven, and what is missing stands."""
    return failover.spec.type == "Failover" and phase == "Fencing" and bool(missing)


def failover_conditions(phase: Phase, message: str, generation: int, *, asks: bool = False) -> tuple[Condition, ...]:
    """Ready: it has ended well. Stalled: a person is needed. Reconciling: it is being carried out."""
    stalled, ended = phase in ANSWERABLE or asks, phase in TERMINAL
    states = {"Ready": phase == "Complete", "Reconciling": not stalled and not ended, "Stalled": stalled}
    return tuple(
        Condition(
            type=type_,
            status="True" if true else "False",
            reason=phase,
            message=message[:4096],
            observed_generation=generation,
        )
        for type_, true in states.items()
    )


def tell(view: View, failover: Failover, kind: str, reason: str, message: str) -> list[Effect]:
    """The same Event about the Failover and about its pair."""
    assert view.pair is not None
    about = [("Failover", failover.key, failover.metadata.uid), ("OSSPair", view.key, view.pair.metadata.uid)]
    return [Tell(k, key, uid, kind, reason, message[:1000]) for k, key, uid in about]


def create_failover(view: View, failover: Failover, why: str) -> list[Effect]:
    """Create the Failover that the pair's activeFailover names."""
    op = view.busy = view.next_op()
    view.writing = f"create {failover.name}"
    return [CreateFailover(op, failover, why)]


def read_all(view: View) -> list[Effect]:
    """Quorum read of all that the pair is about."""
    op = view.busy = view.next_op()
    return [ReadAll(op, view.key)]
