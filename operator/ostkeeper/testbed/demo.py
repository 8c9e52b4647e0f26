"""`ostkeeper testbed demo`: a world, the story told on it, what it took, and nothing left of it.

Here: the world's life, Ctrl-C, demo.json, the exit code. Not here: the story (`story`), how it is shown (`stage`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ostkeeper.testbed.build_go import BuildError
from ostkeeper.testbed.control import Control
from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.monitor import DoubleMount
from ostkeeper.testbed.observer import WaitedInVainError
from ostkeeper.testbed.processes import CommandFailed
from ostkeeper.testbed.stage import Stage, make_console
from ostkeeper.testbed.stopwatch import STEPS
from ostkeeper.testbed.story import DemoFailedError, Story, demo_layout, summary
from ostkeeper.testbed.world import REPOSITORY, World, WorldError, WorldOptions

REPORT = REPOSITORY / "build" / "demo.json"

FAILURES = (
    WaitedInVainError,
    DemoFailedError,
    DoubleMount,
    WorldError,
    BuildError,
    ControlPlaneError,
    CommandFailed,
)
"""What ends the demo in words, exit code 1."""


async def demo(directory: Path, stay: bool) -> int:
    """Tell it. 0: all was shown; 1: it was not, and the text says what; 130: ended by Ctrl-C, nothing is left."""
    console = make_console()
    cancelled_by_signal(asyncio.current_task())
    console.print(f"starting 4 servers, 8 disks, 2 PDUs, 4 BMCs, etcd, kube-apiserver, 2 operators in {directory} ...")
    try:
        await perform(directory, stay, console)
    except FAILURES as error:
        console.print(f"demo: FAILED: {error}", style="bold red", soft_wrap=True, markup=False)
        console.print(f"demo: the logs of every part stay in {directory}", markup=False)
        return 1
    except asyncio.CancelledError:
        console.print("demo: ended by a signal; nothing is left")
        shutil.rmtree(directory, ignore_errors=True)
        return 130
    shutil.rmtree(directory, ignore_errors=True)
    return 0


async def perform(directory: Path, stay: bool, console: Console) -> None:
    """The world's life. Raises one of `FAILURES`."""
    began = time.monotonic()
    async with World(WorldOptions(demo_layout(), directory)) as world:
        control = Control(world.verbs, directory)
        await control.start()
        try:
            stage = Stage(world, console)
            async with stage.lit():
                story = Story(world, stage)
                story.steps.append(("Start", time.monotonic() - began))
                await story.tell()
                await finish(story, time.monotonic() - began)
            if stay:
                await linger(world, control, console)
        finally:
            await control.stop()


async def linger(world: World, control: Control, console: Console) -> None:
    """Leave it all running until Ctrl-C or `ostkeeper testbed down`."""
    place, bin_ = world.directory, world.control_plane.kubectl_path.parent
    lines = [
        "",
        "It stays up until Ctrl-C. In another shell:",
        "",
        f"  export KUBECONFIG={world.control_plane.kubeconfig()} PATH={bin_}:{Path(sys.executable).parent}:$PATH",
        f"  export OSTKEEPER_TESTBED_DIR={place}",
        "  kubectl get ost,pairs,fo -A -w                # what the operator says",
        "  ostkeeper testbed truth                       # what is really so",
        "  ostkeeper testbed crash oss1                  # or: power cut, hang, stall, partition oss1 all",
        "  kubectl get fo -n scratch -o yaml             # what was done, with every reason",
        "  ostkeeper testbed power on oss1",
        "",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    try:
        await control.down.wait()
    except asyncio.CancelledError:  # Ctrl-C is how it is meant to end
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()


def cancelled_by_signal(task: asyncio.Task[Any] | None) -> None:
    """Have Ctrl-C and a polite kill cancel the task, so that everything that it started ends with it."""
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)


async def finish(story: Story, took: float) -> None:
    """The end: what kubectl says, the seconds, demo.json. Raises `DemoFailedError` for an overlap or a lost record."""
    stage, world = story.stage, story.world
    stage.step("The end")
    await stage.shell("kubectl get ost,pairs,fo -A")
    truth = await world.verbs.truth()
    report = summary(story, truth, await stage.observer.look())
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    stage.console.print(seconds_table(report["failovers"]))
    for title, seconds in story.steps:
        stage.console.print(f"{seconds:6.1f} s  {title}", markup=False)
    stage.console.print(f"{took:6.1f} s  in all", markup=False)
    stage.say(
        f"Mounted twice: {report['overlaps']} times in {report['monitor_samples']:,} looks. Records acknowledged: "
        f"{report['records']['acknowledged']:,}, lost: {report['records']['lost']}. All of it: {REPORT}"
    )
    if report["overlaps"] or report["records"]["lost"]:
        raise DemoFailedError(
            f"{report['overlaps']} double mounts, {report['records']['lost']} lost records: {truth['violations']}, "
            f"{truth['records']['missing']}"
        )


def seconds_table(failovers: list[dict[str, Any]]) -> Table:
    """The seconds of each failover, counted from the fault."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("seconds since the fault", *STEPS, "ended"):
        table.add_column(heading, justify="left" if heading in ("seconds since the fault", "ended") else "right")
    for failover in failovers:
        times = [failover["seconds"][step] for step in STEPS]
        cells = ["-" if value is None else f"{value:.1f}" for value in times]
        table.add_row(f"{failover['pair']}, {failover['mode']}: {failover['cause']}", *cells, failover["phase"])
    return table
