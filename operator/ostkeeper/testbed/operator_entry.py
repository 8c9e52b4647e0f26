"""`python -m ostkeeper.testbed.operator_entry ARGS...`: the operator, which stops itself right after a chosen phase.

Phases that last 20 ms are missed by polling from outside, so the `Cluster` port is wrapped: OSTKEEPER_TESTBED_WHEN, as
`PHASE:kill` or `PHASE:stop`, sends SIGKILL or SIGSTOP to this very process group, once, right after the write of that phase
to a Failover was acknowledged, and before anybody in here hears of it. The same text in the file that
OSTKEEPER_TESTBED_WHEN_FILE and the phase name (`order_file`) does so at any time; it is removed by whoever obeys. Not here:
anything else that the operator is.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ostkeeper.api.failover import FailoverStatus, Phase
from ostkeeper.controller.client import ConfigError
from ostkeeper.controller.options import add_arguments, options
from ostkeeper.controller.run import main
from ostkeeper.core.events import Outcome
from ostkeeper.ports import Cluster, Written
from ostkeeper.testbed.operators import WHEN, WHEN_FILE, order_file

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass(slots=True)
class Trap:
    """A `Cluster` that passes everything on, and strikes once for each order."""

    cluster: Cluster
    order: str
    """PHASE:kill or PHASE:stop; empty once obeyed."""
    file: Path | None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster, name)

    async def write_failover(self, key: str, version: str, status: FailoverStatus) -> Written:
        """Pass it on; then strike if this was the phase."""
        written = await self.cluster.write_failover(key, version, status)
        if written.outcome is Outcome.OK and (action := self._ordered(status.phase)):
            strike(action)
        return written

    def _ordered(self, phase: str) -> signal.Signals | None:
        """What to do in this phase; an order is obeyed once."""
        if self.order.startswith(f"{phase}:"):
            action, self.order = parse(self.order)[1], ""
            return action
        if self.file is None:
            return None
        file = order_file(self.file, phase)
        try:
            ordered = file.read_text().strip()
            file.unlink()
        except FileNotFoundError:
            return None  # there was none, or another operator was quicker
        return parse(ordered)[1]


def strike(action: signal.Signals) -> None:
    """With its workers, as a container is killed and a machine suspended; alone where it leads no group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), action)
    else:
        os.kill(os.getpid(), action)


def parse(order: str) -> tuple[str, signal.Signals]:
    """Phase and signal of an order. Raises ValueError for what is no PHASE:kill or PHASE:stop."""
    phase, _, action = order.partition(":")
    if phase not in get_args(Phase) or action not in SIGNALS:
        raise ValueError(f"{WHEN}={order}: not PHASE:kill or PHASE:stop; phases are {', '.join(get_args(Phase))}")
    return phase, SIGNALS[action]


def trap(cluster: Cluster) -> Cluster:
    """Wrap as the environment says; without its variables: not at all. Raises ValueError for an order that is none."""
    order, file = os.environ.get(WHEN, ""), os.environ.get(WHEN_FILE, "")
    if order:
        parse(order)
    if not order and not file:
        return cluster
    wrapped: Any = Trap(cluster, order, Path(file) if file else None)
    checked: Cluster = wrapped
    return checked


def start() -> int:
    """Parse as `ostkeeper operator` does, and run."""
    parser = argparse.ArgumentParser(prog="ostkeeper.testbed.operator_entry", description=__doc__)
    parser.add_argument("--log-level", default="info")
    add_arguments(parser)
    chosen = parser.parse_args()
    logging.basicConfig(
        level=chosen.log_level.upper(),
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    try:
        main(options(chosen), trap)
    except (ConfigError, ValueError) as error:
        print(f"operator_entry: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(start())
