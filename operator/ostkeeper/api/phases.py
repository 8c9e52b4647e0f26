"""The phases of a Failover and the steps between them, once, as data.

Here: the table that the planner walks, that the API server's rule on `Failover.status.phase` is generated from, and that
the documentation draws. Not here: when a step is taken (`core`), how the rule is written (`rules`).

A Failover that shoots goes AwaitingApproval > Holding > Fencing > Relocating > Recovering > Complete. Whoever skips
Holding could shoot before the Hold is durable: no edge leads from AwaitingApproval to Fencing. Orderly types never hold
and never fence. A Drill holds nothing, for its server has no target, and so may start in Fencing.
"""

from typing import NamedTuple

SHOOTING = ("Failover", "Drill")
"""Types that may cut power."""
ORDERLY = ("Switchover", "Failback")
"""Types that ask a living server to let go; they never cut power."""
ALL_TYPES = (*SHOOTING, *ORDERLY)
TERMINAL = ("Observed", "Complete", "Aborted")
"""Phases that nothing follows."""
CERTIFIED = ("Relocating", "PoweringOn", "Recovering", "Complete")
"""Phases that a Failover of type Failover reaches with a death certificate only."""
ANSWERABLE = ("AwaitingApproval", "Blocked")
"""Phases in which a person's answer is taken."""


class Edge(NamedTuple):
    """One allowed step from phase to phase, and the types of Failover that it is for."""

    source: str
    target: str
    types: tuple[str, ...] = ALL_TYPES

    def __str__(self) -> str:
        return f"{self.source}>{self.target}"


FIRST = (
    Edge("", "AwaitingApproval"),
    Edge("", "Observed"),
    Edge("", "Holding", SHOOTING),
    Edge("", "Fencing", ("Drill",)),
    Edge("", "Relocating", ORDERLY),
)
"""Phases that may be written first."""
EDGES = (
    Edge("AwaitingApproval", "Holding", SHOOTING),
    Edge("AwaitingApproval", "Relocating", ORDERLY),
    Edge("AwaitingApproval", "Observed"),
    Edge("AwaitingApproval", "Aborted"),
    Edge("Holding", "Fencing", SHOOTING),
    Edge("Holding", "Blocked", SHOOTING),
    Edge("Holding", "Aborted", SHOOTING),
    Edge("Fencing", "Relocating", ("Failover",)),
    Edge("Fencing", "PoweringOn", SHOOTING),
    Edge("Fencing", "Blocked", SHOOTING),
    Edge("Fencing", "Aborted", SHOOTING),
    Edge("Fencing", "Complete", ("Drill",)),
    Edge("Blocked", "Fencing", SHOOTING),
    Edge("Blocked", "Holding", SHOOTING),
    Edge("Blocked", "Relocating", ("Failover",)),
    Edge("Blocked", "Aborted", SHOOTING),
    Edge("Relocating", "Recovering"),
    Edge("Relocating", "Complete"),
    Edge("Relocating", "Aborted", ORDERLY),
    Edge("PoweringOn", "Recovering", SHOOTING),
    Edge("PoweringOn", "Complete", SHOOTING),
    Edge("PoweringOn", "Aborted", SHOOTING),
    Edge("Recovering", "Complete"),
)
"""All steps after the first. Blocked > Relocating rests on a person's ConfirmDead."""


def may_follow(source: str, target: str, type_: str) -> bool:
    """Whether a Failover of `type_` may go from `source` ("": none yet) to `target`. To stay is always allowed."""
    return source == target or any(
        edge.source == source and edge.target == target and type_ in edge.types for edge in (*FIRST, *EDGES)
    )
