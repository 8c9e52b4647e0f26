"""`ostkeeper operator`: arguments of the operator. What it does stands in `controller.run`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ostkeeper.api.common import seconds

if TYPE_CHECKING:
    from ostkeeper.controller.run import Options


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    command = commands.add_parser(
        "operator",
        help="decide, fence and say where each OST may be mounted",
        description="The operator: run two replicas, never on an OSS, never on a machine that gets suspended.",
    )
    add_arguments(command)
    command.set_defaults(run=run)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The operator's own arguments."""
    command.add_argument("--kubeconfig", default="", metavar="FILE", help="default: the pod's service account")
    command.add_argument(
        "--namespace-of-lease", default="ostkeeper-system", metavar="NS", help="default: ostkeeper-system"
    )
    command.add_argument("--id", default="", metavar="NAME", help="names this replica; default: the host name")
    command.add_argument(
        "--lease-duration", default="4s", metavar="TIME", help="unchanged for so long, another leads; default 4s"
    )
    command.add_argument(
        "--renew-deadline", default="2.5s", metavar="TIME", help="a leader that cannot renew gives up; default 2.5s"
    )
    command.add_argument("--retry", default="500ms", metavar="TIME", help="between two attempts; default 500ms")


def options(chosen: argparse.Namespace) -> Options:
    """The options that were chosen. Raises ValueError with one line for the person who typed them."""
    from ostkeeper.controller.elector import Terms
    from ostkeeper.controller.run import Options

    times = {}
    for flag in ("lease_duration", "renew_deadline", "retry"):
        try:
            times[flag] = seconds(getattr(chosen, flag))
        except ValueError as error:
            raise ValueError(f"--{flag.replace('_', '-')}: {error}") from None
    given = {"id": chosen.id} if chosen.id else {}
    return Options(kubeconfig=chosen.kubeconfig, namespace=chosen.namespace_of_lease, terms=Terms(**times), **given)


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
