"""Wall-clock times of statuses: the machines leave them empty, because they know no wall clock.

Here: filling empty time fields from what was stored before, else from `now`. Pure. Not here: any other field.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel

from ostkeeper.api.common import Condition
from ostkeeper.api.failover import TimelineEntry
from ostkeeper.api.osspair import ServerState, Wiring

StatusT = TypeVar("StatusT", bound=BaseModel)


def stamp(status: StatusT, before: BaseModel | None, now: str) -> StatusT:
    """Fill what is empty of conditions, timeline, servers and wiring of `status`.

    A condition keeps its time while its `status` stays, a server its `since` while its verdict stays, a result of a drill
    its time for good. `before` is the status as it was stored, None if there was none; `now` is RFC 3339.
    """
    changes: dict[str, object] = {}
    if conditions := getattr(status, "conditions", ()):
        changes["conditions"] = _conditions(conditions, getattr(before, "conditions", ()), now)
    if timeline := getattr(status, "timeline", ()):
        changes["timeline"] = _timeline(timeline, getattr(before, "timeline", ()), now)
    if servers := getattr(status, "servers", ()):
        changes["servers"] = _servers(servers, getattr(before, "servers", ()), now)
    if wiring := getattr(status, "wiring", ()):
        changes["wiring"] = _wiring(wiring, getattr(before, "wiring", ()), now)
    return status.model_copy(update=changes) if changes else status


def stamp_condition(condition: Condition, before: Iterable[Condition], now: str) -> Condition:
    """Fill lastTransitionTime of one condition."""
    return _conditions((condition,), before, now)[0]


def _conditions(new: Iterable[Condition], old: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    since = {(c.type, c.status): c.last_transition_time for c in old if c.last_transition_time}
    return tuple(
        c
        if c.last_transition_time
        else c.model_copy(update={"last_transition_time": since.get((c.type, c.status), now)})
        for c in new
    )


def _timeline(new: Iterable[TimelineEntry], old: Iterable[TimelineEntry], now: str) -> tuple[TimelineEntry, ...]:
    """By place, not by text: the same thing may happen twice."""
    times = [(e.phase, e.message, e.time) for e in old]

    def time(place: int, entry: TimelineEntry) -> str:
        known = times[place] if place < len(times) else ("", "", "")
        return known[2] if known[:2] == (entry.phase, entry.message) else now

    return tuple(e if e.time else e.model_copy(update={"time": time(i, e)}) for i, e in enumerate(new))


def _servers(new: Iterable[ServerState], old: Iterable[ServerState], now: str) -> tuple[ServerState, ...]:
    since = {(s.name, s.verdict): s.since for s in old if s.since}
    return tuple(s if s.since else s.model_copy(update={"since": since.get((s.name, s.verdict), now)}) for s in new)


def _wiring(new: Iterable[Wiring], old: Iterable[Wiring], now: str) -> tuple[Wiring, ...]:
    known = {(w.node, w.level, w.id, w.proven): w.time for w in old if w.time}
    return tuple(
        w if w.time else w.model_copy(update={"time": known.get((w.node, w.level, w.id, w.proven), now)}) for w in new
    )
