"""What an operator is told when it starts, as flags and as values. Light: imports none of what it configures."""

from __future__ import annotations

import argparse
import socket
from dataclasses import dataclass, field

from ostkeeper.api.common import seconds
from ostkeeper.core.election import DEFAULT_TERMS, Terms


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    kubeconfig: str = ""
    namespace: str = "ostkeeper-system"
    """Namespace of the leader lease."""
    id: str = field(default_factory=socket.gethostname)
    """Names this replica, in the lease and in logs. The pod's name is a good one."""
    terms: Terms = DEFAULT_TERMS


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The operator's flags."""
    add = command.add_argument
    add("--kubeconfig", default="", metavar="FILE", help="default: the pod's service account")
    add("--namespace-of-lease", default="ostkeeper-system", metavar="NS", help="default: ostkeeper-system")
    add("--id", default="", metavar="NAME", help="names this replica; default: the host name")
    add("--lease-duration", default="4s", metavar="TIME", help="unchanged for so long, another leads; default 4s")
    add("--renew-deadline", default="2.5s", metavar="TIME", help="a leader that cannot renew gives up; default 2.5s")
    add("--retry", default="500ms", metavar="TIME", help="between two attempts; default 500ms")


def options(chosen: argparse.Namespace) -> Options:
    """The options that were chosen. Raises ValueError with one line for the person who typed them."""
    times = {}
    for flag in ("lease_duration", "renew_deadline", "retry"):
        try:
            times[flag] = seconds(getattr(chosen, flag))
        except ValueError as error:
            raise ValueError(f"--{flag.replace('_', '-')}: {error}") from None
    given = {"id": chosen.id} if chosen.id else {}
    return Options(kubeconfig=chosen.kubeconfig, namespace=chosen.namespace_of_lease, terms=Terms(**times), **given)
