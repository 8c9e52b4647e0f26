"""What a verdict asks for, and how deadly that is: both are said here and nowhere else.

Not here: how a verdict comes about (`verdict`); what stands between the verdict and the act, so that a person is asked
first (`able`, `orderly`).
"""

from __future__ import annotations

import enum


class Act(enum.StrEnum):
    """What the pair does about a server, or would do."""

    NOTHING = "nothing"
    WAIT = "wait"
    """For more evidence. Time alone may turn it into anything."""
    TELL = "tell"
    """A condition, an Event, a Failover that ends as Observed; no question."""
    ASK = "ask"
    """A Failover waits for a person's answer."""
    MOVE = "move"
    """Its targets leave in order: a living server lets go of each before another gets it."""
    FENCE = "fence"
    """Its power is cut, and its targets move by certificate."""


DEADLINESS: dict[Act, int] = {
    Act.NOTHING: 0,
    Act.WAIT: 0,
    Act.TELL: 0,
    Act.ASK: 0,
    Act.MOVE: 1,
    Act.FENCE: 2,
}
"""The order of deadliness, by what is done unasked: 0 nothing is touched, 1 targets leave a living server, 2 power is cut.

More evidence of life never leads to a deadlier act; but only a server that lives can let go, so a heartbeat makes a move
possible. A question harms nobody, whatever may be answered.
"""

ASKS_FOR: dict[str, Act] = {
    "Healthy": Act.NOTHING,
    "Fenced": Act.NOTHING,
    "Degraded": Act.TELL,
    "SharedFault": Act.TELL,
    "Suspect": Act.WAIT,
    "Absent": Act.WAIT,
    "Sick": Act.MOVE,
    "Isolated": Act.ASK,
    "Failed": Act.FENCE,
}
"""By verdict: the most that it asks for, in Automatic and with nothing against it."""

OPENS: tuple[Act, ...] = (Act.ASK, Act.FENCE)
"""Upon a verdict that asks for one of these a Failover is opened."""
