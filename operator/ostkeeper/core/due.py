"""What asks for the pair's one slot, the most urgent first, and which open question yields to it.

A question that waits for a person holds the slot, but holds nothing up: it ends as Aborted when something more urgent is
due, and is asked again afterwards. Not here: why something is due (`opening`, `orderly`, `drill`), what is done without
the slot (`plan`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ostkeeper.api.failover import Failover
from ostkeeper.core import drill, opening, orderly
from ostkeeper.core.able import cannot_release, desired, released
from ostkeeper.core.acts import ASKS_FOR, OVERDUE, Act
from ostkeeper.core.ending import valid_answer
from ostkeeper.core.events import Effect
from ostkeeper.core.view import View
from ostkeeper.core.writes import write_failover

YIELDS = "yields to"
"""How the message of a question begins that was ended for something more urgent. It is no dismissal."""


class Rank(enum.IntEnum):
    """How urgent something is: less is more urgent."""

    FAILED = 0
    """A server is dead, and its targets are not served."""
    UNCLEAR = 1
    """A server serves nothing and a person decides whether it is dead, or it is to be fenced since it cannot release."""
    ACT = 2
    """A drill, or a move that asks nobody."""
    RELEASE = 3
    """A person is asked about an overdue release of a target that is to be served elsewhere."""
    MOVE = 4
    """A person is asked whether targets leave a server."""
    UNWANTED = 5
    """A person is asked about an overdue release of targets that are not to be mounted: nobody waits for them."""
    HOME = 6
    """A person is asked whether targets go home. They are served meanwhile."""


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that asks for the slot."""

    rank: Rank
    type: str
    node: str
    why: str
    draft: Callable[[], Failover]


def due(view: View, now: float) -> list[Due]:
    """All that asks for the slot and may have it now, the most urgent first."""
    found = [*_questions(view, now), *_drills(view, now), *_moves(view, now)]
    return sorted(found, key=lambda d: d.rank)


def _questions(view: View, now: float) -> list[Due]:
    return [
        Due(
            _rank(view, q.node, q.verdict, now),
            "Failover",
            q.node,
            q.sentence,
            lambda q=q: opening.draft_of(view, q, now),  # type: ignore[misc]
        )
        for q in (*opening.failures(view, now), *opening.overdue(view, now))
        if opening.may_open(view, q.node, now)
    ]


def _drills(view: View, now: float) -> list[Due]:
    if not drill.pending(view, now):
        return []
    assert view.pair is not None
    assert view.pair.spec.drill is not None
    node = view.pair.spec.drill.node
    return [Due(Rank.ACT, "Drill", node, "a person asks for a drill", lambda: drill.draft_of(view, now))]


def _moves(view: View, now: float) -> list[Due]:
    return [
        Due(
            (Rank.HOME if g[0].type == "Failback" else Rank.MOVE) if g[0].asks else Rank.ACT,
            g[0].type,
            g[0].node,
            orderly.sentence_of(g),
            lambda g=g: orderly.draft_of(view, g, now),  # type: ignore[misc]
        )
        for g in orderly.moves(view, now)
    ]


def _rank(view: View, node: str, verdict: str, now: float) -> Rank:
    if verdict == OVERDUE:
        assert view.pair is not None
        if view.pair.spec.failover.release_failed == "Fence" and cannot_release(view, node, now):
            return Rank.UNCLEAR
        late = [a.target for a in view.held_by(node) if a.intent == "Release" and not released(view, a)]
        return Rank.RELEASE if any(desired(view, t) for t in late) else Rank.UNWANTED
    return Rank.FAILED if ASKS_FOR.get(verdict) is Act.FENCE else Rank.UNCLEAR


def rank_of(view: View, fo: Failover, now: float) -> Rank:
    """How urgent an open question is."""
    if fo.spec.type == "Failover":
        return _rank(view, fo.spec.node, fo.spec.evidence.verdict, now)
    return Rank.HOME if fo.spec.type == "Failback" else Rank.MOVE


def take(view: View, now: float, least: Rank = Rank.HOME) -> list[Effect]:
    """Take the slot for what is most urgent, if it is at least as urgent as `least`."""
    for d in due(view, now):
        return opening.reserve(view, d.node, d.why) if d.rank <= least else []
    return []


def give_way(view: View, fo: Failover, now: float) -> list[Effect]:
    """End a question that waits, when something more urgent is due. An answer is carried out first, unless a server failed.

    What becomes of a question about the same server when the evidence changes is decided where it is asked (`failover`).
    """
    mine = rank_of(view, fo, now)
    answered = valid_answer(view, fo, now) is not None
    for d in due(view, now):
        if d.rank >= mine or (answered and d.rank >= Rank.ACT):
            return []
        if (d.type, fo.spec.type, d.node) == ("Failover", "Failover", fo.spec.node):
            continue
        return write_failover(
            view, fo, f"{YIELDS} {d.type} of {d.node}: {d.why}; asked again afterwards", phase="Aborted"
        )
    return []


def held_up(view: View, fo: Failover, now: float) -> list[str]:
    """Other questions that a person is asked after this one: one is asked at a time."""
    return [
        f"{d.type} of {d.node}: {d.why}"
        for d in due(view, now)
        if d.rank >= rank_of(view, fo, now) and (d.type, d.node) != (fo.spec.type, fo.spec.node)
    ]
