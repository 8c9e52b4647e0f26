"""OSTs that name a pair which does not exist: no pair machine speaks for them, so the operator itself says why.

Here: their one condition. Not here: OSTs of a pair; their mirror is their machine's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from ostkeeper.api import OST
from ostkeeper.api.common import Condition
from ostkeeper.api.ost import OSTStatus
from ostkeeper.core.events import Outcome, Problem
from ostkeeper.ports import Cluster

logger = logging.getLogger(__name__)
REASON = "PairNotFound"


class Orphans:
    """Says on each orphan that it is one; writes nothing that stands there already."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, problems: Iterable[Problem], osts: dict[str, OST]) -> None:
        """These are the problems; called while this operator leads."""
        for problem in problems:
            ost = osts.get(problem.key)
            if problem.kind == "OST" and problem.reason == REASON and ost and not _stands(ost, problem):
                task = asyncio.create_task(self._write(ost, problem), name=f"orphan {ost.key}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _write(self, ost: OST, problem: Problem) -> None:
        generation = ost.metadata.generation
        ready = Condition(
            type="Ready",
            status="False",
            reason=problem.reason,
            message=problem.message,
            observed_generation=generation,
        )
        before = ost.status or OSTStatus(target=ost.target)
        status = before.model_copy(update={"observed_generation": generation, "conditions": (ready,)})
        written = await self._cluster.write_ost(ost.key, ost.version, status)
        if written.outcome is not Outcome.OK:
            logger.info("the status of OST %s was not written: %s", ost.key, written.detail)


def _stands(ost: OST, problem: Problem) -> bool:
    conditions = ost.status.conditions if ost.status else ()
    return any((c.type, c.reason, c.message) == ("Ready", problem.reason, problem.message) for c in conditions)
