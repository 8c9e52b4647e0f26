"""What a verdict asks for, and how deadly that is: both are said here and nowhere else.

Not here: how a verdict comes about (`verdict`); what stands between the verdict and the act, so that a person is asked
first (`able`, `orderly`).
"""

from __future__ import annotations

import enum


class Act(enum.StrEnum):
    """What the pair does about a server, or would do."""

    NOTHING = "-"
    WAIT = "wait"
    """For more evidence. Time alone may turn it into anything."""
    TELL = "tell"
    """A condition, an Event, a Failover that ends as Observed; no question."""
    ASK_MOVE = "move?"
    """A person is asked whether its targets are to leave."""
    MOVE = "move"
    """Its targets leave in order: a living server lets go of each before another gets it."""
    ASK_FENCE = "fence?"
    """A person is asked whether its power is to be cut."""
    FENCE = "fence"
    """Its power is cut unasked, and its targets move by certificate."""


DEADLINESS: dict[Act, int] = {
    Act.NOTHING: 0,
    Act.WAIT: 0,
    Act.TELL: 0,
    Act.ASK_MOVE: 0,
    Act.MOVE: 0,
    Act.ASK_FENCE: 1,
    Act.FENCE: 2,
}
"""The order of deadliness: 0 its power is safe, 1 a person may have it cut, 2 it is cut unasked.

More evidence of life never leads to a server that is cut unasked. A question may be new (`FOUND_ALIVE`).
"""

FOUND_ALIVE = ("Isolated", "Sick")
"""The verdicts by which evidence of life adds a question: a server of which nothing was known turns out to live, and serves nobody.
Nothing else ends that outage, so a person is asked; it is never shot unasked."""

ASKS_FOR: dict[str, Act] = {
    "Healthy": Act.NOTHING,
    "Fenced": Act.NOTHING,
    "Degraded": Act.TELL,
    "Silent": Act.TELL,
    "SharedFault": Act.TELL,
    "Suspect": Act.WAIT,
    "Absent": Act.WAIT,
    "Sick": Act.MOVE,
    "Isolated": Act.ASK_FENCE,
    "Failed": Act.FENCE,
}
"""By verdict: the most that it asks for, in Automatic and with nothing against it."""

OVERDUE = "ReleaseOverdue"
"""What a Failover is about when a living server does not let go."""

OPENS: tuple[Act, ...] = (Act.ASK_FENCE, Act.FENCE)
"""Upon a verdict that asks for one of these, a Failover is opened."""
