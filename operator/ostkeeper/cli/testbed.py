"""`ostkeeper testbed`: a world of simulated servers on this machine, and the verbs by which it is treated.

Here: arguments, what is printed, Ctrl-C. Not here: what a verb does (`testbed.verbs`), how it is typed (`verbparser`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ostkeeper.cli import shows
from ostkeeper.testbed.verbparser import add_verbs

if TYPE_CHECKING:
    from ostkeeper.testbed.world import World

DIRECTORY = Path("/tmp/ostkeeper-testbed")
VARIABLE = "OSTKEEPER_TESTBED_DIR"
MODES = ("Observe", "Manual", "Automatic")
EXPLANATION = """
`up` runs in the foreground until Ctrl-C or `down`, and leaves nothing behind but its directory. The verbs are typed in
another shell; they find it by --dir, by OSTKEEPER_TESTBED_DIR, or in /tmp/ostkeeper-testbed. Needs root and loop devices.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    command = subparsers.add_parser(
        "testbed", help="simulated servers that can be killed, on a real control plane", description=EXPLANATION
    )
    default = Path(os.environ.get(VARIABLE, DIRECTORY))
    command.add_argument("--dir", type=Path, default=default, metavar="D", help=f"where it lives; default {default}")
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    up = verbs.add_parser("up", help="start a world, and keep it until Ctrl-C or `down`")
    up.add_argument("--dir", type=Path, default=argparse.SUPPRESS, metavar="D", help="as before the verb")
    up.add_argument("--pairs", type=int, default=2, metavar="N", help="pairs of servers; default 2")
    up.add_argument("--osts", type=int, default=2, metavar="N", help="OSTs a server; default 2")
    up.add_argument("--mode", choices=MODES, help="of every pair; default: pair-a Automatic, the others Manual")
    up.add_argument("--wiring", choices=["Drilled", "Declared"], default="Declared", help="default Declared: no drills")
    up.add_argument("--sector-size", choices=["512", "4096", "both"], default="512", help="of the disks; default 512")
    up.add_argument(
        "--bare", action="store_true", help="do not apply the world's manifests: a cluster to try it all on"
    )
    shows.add(verbs)
    add_verbs(verbs)
    verbs.add_parser("down", help="end it")
    command.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Start a world, or have the running one do a verb. Returns the exit code."""
    if chosen.verb == "up":
        return _up(chosen)
    if chosen.verb in shows.NAMES:
        return shows.run(chosen, _missing())
    from ostkeeper.testbed.controlclient import NoTestbed, ask

    typed = {name: value for name, value in vars(chosen).items() if isinstance(value, str | int | float | list | None)}
    try:
        answer = ask(chosen.dir.absolute(), typed)
    except NoTestbed as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.write(answer.out)
    sys.stderr.write(answer.err)
    return answer.code


def _up(chosen: argparse.Namespace) -> int:
    from ostkeeper.testbed.build_go import BuildError
    from ostkeeper.testbed.controlclient import answers
    from ostkeeper.testbed.controlplane import ControlPlaneError
    from ostkeeper.testbed.monitor import DoubleMount
    from ostkeeper.testbed.world import WorldError

    directory = chosen.dir.absolute()
    if missing := _missing():
        print(f"ostkeeper testbed: {missing}", file=sys.stderr)
        return 2
    if answers(directory):
        print(f"ostkeeper testbed: one is up in {directory}; `ostkeeper testbed down` ends it", file=sys.stderr)
        return 2
    try:
        asyncio.run(_live(chosen, directory))
    except (WorldError, BuildError, ControlPlaneError, DoubleMount, ValueError) as error:
        print(f"ostkeeper testbed: {error}", file=sys.stderr)
        return 1
    return 0


def _missing() -> str:
    if os.geteuid() != 0:
        return "needs root, for network namespaces and loop devices; run it with sudo"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices (/dev/loop-control); load them: modprobe loop"
    return ""


async def _live(chosen: argparse.Namespace, directory: Path) -> None:
    from ostkeeper.testbed.control import Control
    from ostkeeper.testbed.layout import layout
    from ostkeeper.testbed.world import World, WorldOptions

    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    modes = [chosen.mode or ("Automatic" if number == 0 else "Manual") for number in range(chosen.pairs)]
    specs = {
        f"pair-{chr(ord('a') + number)}": {"failover": {"mode": mode, "wiring": chosen.wiring}}
        for number, mode in enumerate(modes)
    }
    sizes = {"512": (512,), "4096": (4096,), "both": (512, 4096)}[chosen.sector_size]
    options = WorldOptions(layout(chosen.pairs, chosen.osts, sizes, specs), directory)
    print(f"starting {2 * chosen.pairs} servers in {directory} ...", flush=True)
    try:
        async with World(options) as world:
            control = Control(world.verbs, directory)
            await control.start()
            try:
                await _introduce(world, chosen.bare)
                await control.down.wait()
            finally:
                await control.stop()
    except asyncio.CancelledError:
        task.uncancel()
    print("gone; nothing is left but the directory", flush=True)


async def _introduce(world: World, bare: bool) -> None:
    if not bare:
        await world.apply()
    kubeconfig = world.control_plane.kubeconfig()
    place = "" if world.directory == DIRECTORY else f" --dir {world.directory}"
    lines = [
        f"{len(world.hosts)} servers, {len(world.images)} OSTs. In another shell:",
        "",
        f"  export KUBECONFIG={kubeconfig} PATH={world.control_plane.kubectl_path.parent}:$PATH",
        "  kubectl get ost,pairs,fo -A",
        f"  ostkeeper testbed{place} power cut oss1",
        f"  ostkeeper testbed{place} truth",
        "",
        "Ctrl-C ends it.",
    ]
    print("\n".join(lines), flush=True)
