"""`ostkeeper`: the sub-commands and what they share.

Here: the top of the command line. Each sub-command is a module of its own with `register(subparsers)`; what it needs is
imported when it runs, so that `ostkeeper agent` never imports kopf (58 MB RSS on every server).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

COMMANDS = ("operator", "agent", "fence_test", "clear_fsck", "simulate", "testbed")
"""Modules of this package that register a sub-command."""


def parser(only: str = "") -> argparse.ArgumentParser:
    """The whole command line, or with the one sub-command `only` that is going to run."""
    top = argparse.ArgumentParser(
        prog="ostkeeper", description="Keeps Lustre OSTs mounted on pairs of servers, and never on two at once."
    )
    top.add_argument("--version", action="version", version=f"ostkeeper {version('ostkeeper')}")
    top.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"], help="default: info")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in (only,) if only else COMMANDS:
        if importlib.util.find_spec(f"ostkeeper.cli.{name}"):
            importlib.import_module(f"ostkeeper.cli.{name}").register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        chosen = parser(_command_in(words)).parse_args(words)
        logging.basicConfig(
            level=chosen.log_level.upper(),
            format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )
        return int(chosen.run(chosen) or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _command_in(words: Sequence[str]) -> str:
    """The module of the first sub-command that is named; empty: none, as in --help."""
    names = (word.replace("-", "_") for word in words if not word.startswith("-"))
    return next((name for name in names if name in COMMANDS), "")


if __name__ == "__main__":
    sys.exit(main())
