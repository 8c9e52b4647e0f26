"""The phases of a Failover and the steps between them, once, as data.

Here: the table that the planner walks, that the API server's rule on `Failover.status.phase` is generated from, and that
the documentation draws. Not here: when a step is taken (`core`), how the rule is written (`rules`).

A Failover that shoots goes AwaitingApproval > Holding > Fencing > Relocating > Recovering > Complete. Whoever skips
Holding could shoot before the Hold is durable: no edge leads from AwaitingApproval to Fencing. Orderly types never hold
and never fence. A Drill starts in Fencing: it holds nothing, for its server has no target, asks nobody, and moves nothing.
What no plan writes is no edge, so that the API server refuses it.
"""

from typing import NamedTuple

SHOOTING = ("Failover", "Drill")
"""Types that may cut power."""
ORDERLY = ("Switchover", "Failback")
"""Types that ask a living server to let go; they never cut power."""
MOVING = ("Failover", *ORDERLY)
"""Types that move targets, or would."""
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
    types: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.source}>{self.target}"


FIRST = (
    Edge("", "AwaitingApproval", MOVING),
    Edge("", "Observed", MOVING),
    Edge("", "Holding", ("Failover",)),
    Edge("", "Fencing", ("Drill",)),
    Edge("", "Relocating", ORDERLY),
    Edge("", "Aborted", ALL_TYPES),
)
"""Phases that may be written first. Aborted at once is one whose slot was lost before anything was decided."""
EDGES = (
    Edge("AwaitingApproval", "Holding", ("Failover",)),
    Edge("AwaitingApproval", "Relocating", ORDERLY),
    Edge("AwaitingApproval", "Aborted", MOVING),
    Edge("Holding", "Fencing", ("Failover",)),
    Edge("Holding", "Blocked", ("Failover",)),
    Edge("Holding", "Aborted", ("Failover",)),
    Edge("Fencing", "Relocating", ("Failover",)),
    Edge("Fencing", "PoweringOn", ("Failover",)),
    Edge("Fencing", "Blocked", ("Failover",)),
    Edge("Fencing", "Aborted", SHOOTING),
    Edge("Fencing", "Complete", ("Drill",)),
    Edge("Blocked", "Holding", ("Failover",)),
    Edge("Blocked", "Fencing", ("Failover",)),
    Edge("Blocked", "Relocating", ("Failover",)),
    Edge("Blocked", "PoweringOn", ("Failover",)),
    Edge("Blocked", "Aborted", ("Failover",)),
    Edge("Relocating", "Recovering", MOVING),
    Edge("Relocating", "Blocked", ("Failover",)),
    Edge("Relocating", "Complete", ("Failover",)),
    Edge("Relocating", "Aborted", ORDERLY),
    Edge("PoweringOn", "Blocked", ("Failover",)),
    Edge("PoweringOn", "Recovering", ("Failover",)),
    Edge("PoweringOn", "Aborted", ("Failover",)),
    Edge("Recovering", "Complete", MOVING),
)
"""All steps after the first. Blocked > Relocating rests on a person's ConfirmDead, or on a certificate that was
written before. Holding, Relocating and PoweringOn lead to Blocked and back where an agent does not answer. Relocating > Complete
moved nothing."""


def may_follow(source: str, target: str, type_: str) -> bool:
    """Whether a Failover of `type_` may go from `source` ("": none yet) to `target`. To stay is always allowed."""
    return source == target or any(
        edge.source == source and edge.target == target and type_ in edge.types for edge in (*FIRST, *EDGES)
    )
