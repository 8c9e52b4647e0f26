"""`ostkeeper fence-test`: are the feeds of a pair what is declared, at noon rather than at 3 a.m.?

Here: its command line; what it does is imported when it runs. Not here: the reading and asking (`feeds`).
"""

from __future__ import annotations

import argparse


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `fence-test` to the command line."""
    parser = subparsers.add_parser("fence-test", help="read every feed of a pair; with --really, drill them")
    parser.add_argument("pair", help="the OSSPair, NAMESPACE/NAME")
    parser.add_argument("--kubeconfig", default="", help="default: $KUBECONFIG, else the service account")
    parser.add_argument("--node", default="", help="only this server")
    parser.add_argument("--level", default="", help="only this fencing level")
    parser.add_argument("--really", action="store_true", help="cut real power: the server must hold no target")
    parser.add_argument(
        "--accept-partner-outage",
        action="store_true",
        help="drill outlets although crossed cords could take the partner's power",
    )
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds to wait for one drill (default 1200)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ostkeeper.cli.feeds import run

    return run(arguments)
