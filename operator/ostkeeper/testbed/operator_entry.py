"""`python -m ostkeeper.testbed.operator_entry ARGS...`: the operator, which stops itself right after a chosen phase.

Phases that last 20 ms are missed by polling from outside, so the `Cluster` port is wrapped: OSTKEEPER_TESTBED_WHEN, as
`PHASE:kill` or `PHASE:stop`, sends SIGKILL or SIGSTOP to this very process, once, right after the write of that phase to a
Failover was acknowledged, and before anybody in here hears of it. Not here: anything else that the operator is.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, get_args

from ostkeeper.api.failover import FailoverStatus, Phase
from ostkeeper.cli import operator
from ostkeeper.controller.client import ConfigError
from ostkeeper.controller.run import main
from ostkeeper.core.events import Outcome
from ostkeeper.ports import Cluster, Written

WHEN = "OSTKEEPER_TESTBED_WHEN"
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass(slots=True)
class Trap:
    """A `Cluster` that passes everything on, and strikes once."""

    cluster: Cluster
    phase: str
    signal: signal.Signals
    sprung: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster, name)

    async def write_failover(self, key: str, version: str, status: FailoverStatus) -> Written:
        """Pass it on; then strike if this was the phase."""
        written = await self.cluster.write_failover(key, version, status)
        if status.phase == self.phase and written.outcome is Outcome.OK and not self.sprung:
            self.sprung = True
            os.kill(os.getpid(), self.signal)
        return written


def trap(cluster: Cluster, when: str) -> Cluster:
    """Wrap as `when` says; empty: not at all. Raises ValueError for what is no PHASE:kill or PHASE:stop."""
    if not when:
        return cluster
    phase, _, action = when.partition(":")
    if phase not in get_args(Phase) or action not in SIGNALS:
        raise ValueError(f"{WHEN}={when}: not PHASE:kill or PHASE:stop; phases are {', '.join(get_args(Phase))}")
    wrapped: Any = Trap(cluster, phase, SIGNALS[action])
    checked: Cluster = wrapped
    return checked


def start() -> int:
    """Parse as `ostkeeper operator` does, and run."""
    parser = argparse.ArgumentParser(prog="ostkeeper.testbed.operator_entry", description=__doc__)
    parser.add_argument("--log-level", default="info")
    operator.add_arguments(parser)
    chosen = parser.parse_args()
    logging.basicConfig(
        level=chosen.log_level.upper(),
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    try:
        when = os.environ.get(WHEN, "")
        main(operator.options(chosen), lambda cluster: trap(cluster, when))
    except (ConfigError, ValueError) as error:
        print(f"operator_entry: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(start())
