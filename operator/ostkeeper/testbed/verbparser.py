"""How the verbs of the testbed are typed: one table, used by the command line and by the control socket.

Here: arguments, and which method of `verbs.Verbs` each verb calls. Not here: what a verb does, the socket (`control`).
Importing it costs nothing but argparse: every `ostkeeper` command does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostkeeper.testbed.verbs import Verbs

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

AGENT_ACTIONS = ("kill", "stop", "cont", "disable", "enable")
BEHAVIOURS = ("ok", "hang", "fail")
CUTS = ("api", "peer", "all")
FAULTS = ("normal", "silent", "slow", "lossy", "stuck", "lie", "wrong-password", "reboot", "replaced", "no-serial")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb leaves the person who typed it."""

    out: str = ""
    err: str = ""
    code: int = 0
    """Exit code: 0 done, 1 could not be done, 2 was no verb; of `exec` the command's own."""


Run = Callable[["Verbs", argparse.Namespace], Awaitable[Answer]]


def add_verbs(subparsers: Subparsers) -> None:
    """Add every verb that a running testbed understands."""
    _add_power(subparsers)
    _add_faults(subparsers)
    _add_inside(subparsers)
    _add_rest(subparsers)


def _add_power(subparsers: Subparsers) -> None:
    power = _verb(subparsers, "power", "cut a server's power, or give it back")
    power.add_argument("action", choices=["cut", "on"])
    power.add_argument("host", metavar="HOST")
    power.add_argument("--feeds", action="store_true", help="by all outlets, so that the BMC is dead, too")
    crash = _verb(subparsers, "crash", "kill a server as a panic does; its power stays on")
    crash.add_argument("host", metavar="HOST")
    wires = _verb(subparsers, "wires", "swap the cords of two servers, or the network cables of their BMCs")
    wires.add_argument("action", choices=["swap"])
    wires.add_argument("one", metavar="HOST")
    wires.add_argument("other", metavar="HOST")
    wires.add_argument(
        "--pdu", action="append", default=[], metavar="PDU", help="only those in this PDU (default: all)"
    )
    wires.add_argument(
        "--bmc", action="store_true", help="not the cords: each BMC address then leads to the other server's BMC"
    )
    supply = _verb(subparsers, "supply", "kill or mend the power supply of a server on one PDU")
    supply.add_argument("action", choices=["kill", "mend"])
    supply.add_argument("host", metavar="HOST")
    supply.add_argument("pdu", metavar="PDU")
    board = _verb(subparsers, "board", "put another board under a server's name, as of its next boot")
    board.add_argument("action", choices=["replace"])
    board.add_argument("host", metavar="HOST")


def _add_faults(subparsers: Subparsers) -> None:
    words = {
        "hang": "every process stopped, every disk frozen, the link down",
        "thaw": "back from a hang, as if nothing had been",
        "stall": "the server's disks alone stop answering",
        "unstall": "they answer again",
    }
    for name, help_text in words.items():
        _verb(subparsers, name, help_text).add_argument("host", metavar="HOST")
    partition = _verb(subparsers, "partition", "cut a server off from the network")
    heal = _verb(subparsers, "heal", "undo a partition")
    for command in (partition, heal):
        command.add_argument("host", metavar="HOST")
    partition.add_argument("what", choices=CUTS)
    heal.add_argument("what", choices=CUTS, nargs="?", default="all")
    device = _verb(subparsers, "device", "break or mend a fence device or one outlet")
    device.add_argument("name", metavar="NAME[/OUTLET]")
    device.add_argument("fault", choices=FAULTS)
    device.add_argument("argument", nargs="?", type=float, metavar="MS|PCT", help="for slow (ms) and lossy (percent)")


def _add_inside(subparsers: Subparsers) -> None:
    agent = _verb(subparsers, "agent", "treat a server's agent")
    agent.add_argument("action", choices=AGENT_ACTIONS, help="a killed one is restarted after 0.3 s")
    agent.add_argument("host", metavar="HOST")
    for name in ("mount", "umount"):
        command = _verb(subparsers, name, f"have the next N runs of {name} hang or fail")
        command.add_argument("host", metavar="HOST")
        command.add_argument("behaviour", choices=BEHAVIOURS, help="ok: no more of it, and those that hang go on")
        command.add_argument("times", nargs="?", type=int, default=1, metavar="N", help="default 1")
    kubelet = _verb(subparsers, "kubelet", "stop or start a server's kubelet")
    kubelet.add_argument("action", choices=["stop", "start"])
    kubelet.add_argument("host", metavar="HOST")
    execute = _verb(subparsers, "exec", "run a command in a server: exec HOST -- CMD")
    execute.add_argument("host", metavar="HOST")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")


def _add_rest(subparsers: Subparsers) -> None:
    operator = _verb(subparsers, "operator", "kill, stop, continue or start operators")
    operator.add_argument("action", choices=["kill", "stop", "cont", "start"])
    operator.add_argument("name", nargs="?", default="", metavar="NAME", help="op-1, op-2 (default: all)")
    operator.add_argument(
        "--when",
        default="",
        metavar="PHASE",
        help="kill, stop: have it do so to itself right after its write of this phase (no NAME: whoever comes first)",
    )
    apiserver = _verb(subparsers, "apiserver", "stop or start kube-apiserver")
    apiserver.add_argument("action", choices=["stop", "start"])
    _verb(subparsers, "truth", "what is really so, as JSON: power, mounts, overlaps, records")


def _verb(subparsers: Subparsers, name: str, help_text: str) -> argparse.ArgumentParser:
    return subparsers.add_parser(name, help=help_text, description=help_text)


def _on_host(name: str) -> Run:
    async def perform(verbs: Verbs, typed: argparse.Namespace) -> Answer:
        await getattr(verbs, name)(typed.host)
        return Answer()

    return perform


def _command(name: str) -> Run:
    async def perform(verbs: Verbs, typed: argparse.Namespace) -> Answer:
        await verbs.command(name, typed.host, typed.behaviour, typed.times)
        return Answer()

    return perform


async def _power(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    if typed.action == "cut":
        await verbs.power_cut(typed.host, typed.feeds)
    else:
        await verbs.power_on(typed.host)
    return Answer()


async def _wires(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    if typed.bmc:
        await verbs.bmc_swap(typed.one, typed.other)
    else:
        await verbs.wires_swap(typed.one, typed.other, typed.pdu)
    return Answer()


async def _supply(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.supply(typed.host, typed.pdu, typed.action == "mend")
    return Answer()


async def _board(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    return Answer(f"{await verbs.board_replace(typed.host)}\n")


async def _partition(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.partition(typed.host, typed.what)
    return Answer()


async def _heal(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.heal(typed.host, typed.what)
    return Answer()


async def _device(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.device(typed.name, typed.fault, typed.argument)
    return Answer()


async def _agent(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.agent(typed.host, typed.action)
    return Answer()


async def _kubelet(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.kubelet(typed.host, typed.action)
    return Answer()


async def _exec(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    argv = typed.argv[1:] if typed.argv[:1] == ["--"] else typed.argv
    if not argv:
        raise ValueError("exec: no command; write exec HOST -- CMD")
    result = await verbs.exec(typed.host, *argv, seconds=600)
    return Answer(result.out, result.err, result.code if result.code >= 0 else 128 - result.code)


async def _operator(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.operator(typed.action, typed.name, typed.when)
    return Answer()


async def _apiserver(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    await verbs.apiserver(typed.action)
    return Answer()


async def _truth(verbs: Verbs, typed: argparse.Namespace) -> Answer:
    return Answer(json.dumps(await verbs.truth(), indent=2) + "\n")


PERFORM: dict[str, Run] = {
    "power": _power,
    "crash": _on_host("crash"),
    "wires": _wires,
    "supply": _supply,
    "board": _board,
    "hang": _on_host("hang"),
    "thaw": _on_host("thaw"),
    "stall": _on_host("stall"),
    "unstall": _on_host("unstall"),
    "partition": _partition,
    "heal": _heal,
    "device": _device,
    "agent": _agent,
    "mount": _command("mount"),
    "umount": _command("umount"),
    "kubelet": _kubelet,
    "exec": _exec,
    "operator": _operator,
    "apiserver": _apiserver,
    "truth": _truth,
}
"""Verb → what does it, once it was typed."""
