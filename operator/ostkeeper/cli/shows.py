"""`ostkeeper testbed demo` and `ostkeeper testbed bench`: a world of their own each, from start to end.

Here: their arguments, and what is said when they cannot run. Not here: what they do (`testbed.demo`, `testbed.bench`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys

NAMES = ("demo", "bench")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both."""
    demo = verbs.add_parser("demo", help="two pairs, four servers, three failures, shown live; under 4 min")
    demo.add_argument("--stay", action="store_true", help="leave it all running afterwards, until Ctrl-C")
    bench = verbs.add_parser("bench", help="failovers timed, into build/bench/failover.json")
    bench.add_argument("--runs", type=int, default=10, metavar="N", help="how many; default 10")


def run(chosen: argparse.Namespace, missing: str) -> int:
    """Run one of them. `missing`: what this machine lacks. 0: done; 1: it failed; 2: it could not be started."""
    from ostkeeper.testbed.controlclient import answers

    directory = chosen.dir.absolute()
    if missing:
        print(f"ostkeeper testbed {chosen.verb}: {missing}", file=sys.stderr)
        return 2
    if answers(directory):
        print(f"a testbed is up in {directory}: `ostkeeper testbed down` ends it, --dir takes another", file=sys.stderr)
        return 2
    if chosen.verb == "demo":
        from ostkeeper.testbed.demo import demo

        return asyncio.run(demo(directory, chosen.stay))
    from ostkeeper.testbed.bench import bench

    return asyncio.run(bench(directory, chosen.runs))
