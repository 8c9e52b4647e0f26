"""`ostkeeper simulate`: what would happen here if …? On the user's own manifests, without a cluster.

Here: its command line; what it does is imported when it runs. Not here: the simulator (`sim`), how a night is laid out
(`nights`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

EXAMPLES = """examples:
  ostkeeper simulate -f site/ --fault "host oss1 dies"
  ostkeeper simulate -f site/ --fault "bmc-oss1 silent" --fault "host oss1 hangs" --at 2m --until 5m
  ostkeeper simulate -f site/ --fmea -o html > fmea.html

exit status: 0 every OST is served in the end (--fmea: after every single fault, and nobody was needed); 1 not so;
2 the manifests or a fault cannot be used; 3 a bug: something was seen that must never be"""


class _When(argparse.Action):
    """--at and --until speak of the --fault before them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        faults = namespace.fault or []
        if not faults:
            parser.error(f"{option_string} {values}: of which fault? Write it after its --fault")
        faults[-1][self.dest] = values


class _Fault(argparse.Action):
    """One more fault."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.fault = [*(namespace.fault or []), {"words": values}]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `simulate` to the command line."""
    parser = subparsers.add_parser(
        "simulate",
        help="play faults on your own manifests, without a cluster",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="DIR", help="manifests: a folder, a file, or -"
    )
    parser.add_argument(
        "--fault", action=_Fault, default=None, metavar="WORDS", help='such as "host oss1 dies"; may be repeated'
    )
    parser.add_argument(
        "--at", action=_When, metavar="TIME", help="when the --fault before it begins, such as 90s or 2m (default 10s)"
    )
    parser.add_argument("--until", action=_When, metavar="TIME", help="when it ends (default: never)")
    parser.add_argument("--fmea", action="store_true", help="every single and every double fault, as a table")
    parser.add_argument("--faults", action="store_true", help="list the faults that are understood, and end")
    parser.add_argument("--not-armed", action="store_true", help="begin without any drill, so that nothing is armed")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random: delays, boot times (default 1)")
    parser.add_argument("-o", "--output", choices=["text", "json", "html"], default="text", help="default: text")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ostkeeper.cli.nights import run

    return run(arguments)
