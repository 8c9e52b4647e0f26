"""`ostkeeper operator`. Its flags stand in `controller.options`, what it does in `controller.run`."""

from __future__ import annotations

import argparse
import sys

from ostkeeper.controller.options import add_arguments, options


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    command = commands.add_parser(
        "operator",
        help="decide, fence and say where each OST may be mounted",
        description="The operator: run two replicas, never on an OSS, never on a machine that gets suspended.",
    )
    add_arguments(command)
    command.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the operator until it is asked to stop."""
    from ostkeeper.controller.client import ConfigError
    from ostkeeper.controller.run import main

    try:
        main(options(chosen))
    except (ConfigError, ValueError) as error:
        print(f"ostkeeper operator: {error}", file=sys.stderr)
        return 2
    return 0
