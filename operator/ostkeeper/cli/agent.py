"""`ostkeeper agent`: the command line of the agent. Here: flags, one-line errors, exit codes, signals. Not here: the agent.

Exit codes: 0 ended by a signal, 1 a bug (with its trace), 2 bad arguments or this server cannot serve as it is set up.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import logging.handlers
import os
import queue
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostkeeper.agent.kubeconfig import Access


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `agent` to the commands."""
    parser = subparsers.add_parser(
        "agent",
        help="run the agent of one object storage server",
        description="Mounts, unmounts and reports the OSTs of one server. Runs as root on that server.",
    )
    parser.add_argument("--node", required=True, help="this server's name in spec.nodes of its OSSPair")
    parser.add_argument("--kubeconfig", type=Path, help="how the API server is reached (default: the pod's account)")
    parser.add_argument("--server", help="URL of the API server, instead of a kubeconfig")
    parser.add_argument("--token-file", type=Path, help="with --server: the bearer token")
    parser.add_argument("--ca", type=Path, help="with --server: its certificate authority, PEM")
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/ostkeeper"), help="on the server's own disk")
    parser.add_argument("--lock-dir", type=Path, default=Path("/run/ostkeeper"), help="on a tmpfs")
    parser.add_argument(
        "--stop-command", default="", metavar="CMD", help="stops the machine at once (default: sysrq b)"
    )
    parser.add_argument("--port", type=int, default=7845, help="TCP port that answers NODE/BOOTID (default: 7845)")
    parser.add_argument(
        "--peer-address",
        action="append",
        default=[],
        metavar="NAME=ADDR",
        help="how the partner is reached over the network (default: by its name)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the agent until a signal. Returns the exit code."""
    _never_wait_for_the_log()
    from ostkeeper.agent.identity import IdentityError, read_identity
    from ostkeeper.agent.kubeconfig import ConfigError
    from ostkeeper.agent.locks import LockHeldError, Locks
    from ostkeeper.agent.run import Agent, Settings

    try:
        locks = Locks(arguments.lock_dir / "locks")
        lock = locks.take_agent()
        settings = Settings(
            identity=read_identity(arguments.node),
            access=_access(arguments),
            state_directory=arguments.state_dir,
            run_directory=arguments.lock_dir,
            stop_command=arguments.stop_command,
            port=arguments.port,
            peers=_peers(arguments.peer_address),
        )
        _end_at_once_on_signals()
        with lock:
            asyncio.run(Agent(settings, locks).run())
    except (ConfigError, IdentityError, LockHeldError) as error:
        print(f"ostkeeper agent: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"ostkeeper agent: {error}", file=sys.stderr)
        return 2
    return 1


def _access(arguments: argparse.Namespace) -> Access:
    from ostkeeper.agent import kubeconfig

    if arguments.kubeconfig and arguments.server:
        raise kubeconfig.ConfigError("--kubeconfig and --server: give one of them")
    if arguments.kubeconfig:
        return kubeconfig.from_kubeconfig(arguments.kubeconfig)
    if arguments.server:
        return kubeconfig.from_flags(arguments.server, arguments.token_file, arguments.ca)
    access = kubeconfig.from_pod()
    if access is None:
        raise kubeconfig.ConfigError("no --kubeconfig, no --server, and not in a pod: where is the API server?")
    return access


def _peers(given: list[str]) -> dict[str, str]:
    from ostkeeper.agent.kubeconfig import ConfigError

    peers = {}
    for pair in given:
        name, found, address = pair.partition("=")
        if not (name and found and address):
            raise ConfigError(f"--peer-address {pair!r}: not NAME=ADDRESS, such as oss2=192.0.2.12")
        peers[name] = address
    return peers


def _never_wait_for_the_log() -> None:
    """Write the log in a thread: whoever reads it may hang on a stalled root disk, and the heartbeat must go on."""
    root, lines = logging.getLogger(), queue.SimpleQueue[logging.LogRecord]()
    logging.handlers.QueueListener(lines, *root.handlers).start()
    root.handlers = [logging.handlers.QueueHandler(lines)]


def _end_at_once_on_signals() -> None:
    """SIGTERM and SIGINT end the process where it stands: nothing is tidied up, so no mount changes. Children go on."""

    def leave(number: int, frame: object) -> None:
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
