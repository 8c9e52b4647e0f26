"""`ostkeeper testbed bench`: how long from a power cut to all OSTs mounted, again and again.

One pair, two OSTs a server, heartbeat 1 s / 3 s, settle 2 s, drilled feeds, MMP cleared under certificate, Automatic. Each
run: the power of one server is cut by its chassis relay at a random moment between two heartbeats; when its OSTs are really
mounted on the partner it is powered on, and everything goes home before the next run.

Here: the runs, their medians, build/bench/failover.json. Not here: the seconds of one failover (`stopwatch`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import statistics
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ostkeeper.api.common import seconds as seconds_of
from ostkeeper.testbed import identities
from ostkeeper.testbed.demo import FAILURES, cancelled_by_signal
from ostkeeper.testbed.layout import Layout, layout
from ostkeeper.testbed.manifests import PAIR_DEFAULTS, to_yaml, world_manifests
from ostkeeper.testbed.observer import Observer
from ostkeeper.testbed.processes import run
from ostkeeper.testbed.scene import Scene
from ostkeeper.testbed.stopwatch import STEPS, Seconds, Stopwatch
from ostkeeper.testbed.story import healthy
from ostkeeper.testbed.world import REPOSITORY, World, WorldOptions

REPORT = REPOSITORY / "build" / "bench" / "failover.json"
PAIR = "pair-a"
SPEC = {"failover": {"mode": "Automatic", "wiring": "Drilled"}, "failback": {"mode": "Automatic", "soak": "0s"}}
HEARTBEAT_TIMEOUT = seconds_of(PAIR_DEFAULTS["heartbeat"]["timeout"])
HEARTBEAT_INTERVAL = seconds_of(PAIR_DEFAULTS["heartbeat"]["interval"])
PATIENCE = 90.0
"""Seconds for anything that is waited for."""


async def bench(directory: Path, runs: int) -> int:
    """Do it so many times. 0: it is written; 1: one run failed, and the text says how; 130: ended by Ctrl-C."""
    cancelled_by_signal(asyncio.current_task())
    print(f"bench: {runs} power cuts; starting 2 servers in {directory} ...", flush=True)
    if (load := os.getloadavg()[0]) > (cpus := os.cpu_count() or 1):
        print(
            f"bench: this machine is busy (load {load:.1f} on {cpus} CPUs): the seconds tell about that, too",
            flush=True,
        )
    try:
        found = await measure(directory, runs)
    except FAILURES as error:
        print(f"bench: FAILED: {error}\nbench: the logs of every part stay in {directory}", flush=True)
        return 1
    except asyncio.CancelledError:
        shutil.rmtree(directory, ignore_errors=True)
        return 130
    shutil.rmtree(directory, ignore_errors=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"runs": found, "heartbeat_timeout": HEARTBEAT_TIMEOUT}, indent=1) + "\n")
    print("\n".join(medians(found)))
    print(f"bench: written to {REPORT}")
    return 0


async def measure(directory: Path, runs: int) -> list[Seconds]:
    """The runs, on a world of their own. Raises one of `FAILURES`."""
    found: list[Seconds] = []
    async with World(WorldOptions(bench_layout(), directory)) as world:
        observer = Observer(world)
        async with observer.watching():
            await prepare(world, observer)
            for number in range(runs):
                found.append(await one_run(world, observer, world.layout.hosts[number % 2]))
                print(f"run {number + 1:2}: {told(found[-1])}", flush=True)
                await settle(observer)
    return found


async def prepare(world: World, observer: Observer) -> None:
    """Declare the pair, drill it while it holds nothing, declare its OSTs, wait until it is armed."""
    documents = world_manifests(world.layout, world.images, world.devices)
    for osts in (False, True):
        some = to_yaml([document for document in documents if (document["kind"] == "OST") is osts])
        await world.control_plane.kubectl("apply", "-f", "-", stdin=some)
        if not osts:
            await observer.until("both are Healthy", lambda scene: healthy(scene, world.layout.hosts), PATIENCE)
            await drill(world)
    await settle(observer)


async def drill(world: World) -> None:
    """Prove the wiring, as a person would. Raises `CommandFailed` when it is not as declared."""
    kubeconfig = str(world.control_plane.kubeconfig(identities.ONCALL.user))
    words = (
        "fence-test",
        f"{world.layout.namespace}/{PAIR}",
        "--level",
        "pdus",
        "--really",
        "--kubeconfig",
        kubeconfig,
    )
    print(await run(sys.executable, "-m", "ostkeeper.cli.main", *words, within=2 * PATIENCE), end="", flush=True)


async def settle(observer: Observer) -> None:
    """Wait until everything is at home, both servers are Healthy and the pair is armed."""

    def settled(scene: Scene) -> bool:
        hosts = observer.world.layout.hosts
        return scene.at_home([PAIR]) and healthy(scene, hosts) and scene.condition(PAIR, "Armed")[0]

    await observer.until("all is at home, healthy and armed", settled, PATIENCE)


async def one_run(world: World, observer: Observer, victim: str) -> Seconds:
    """Cut the power of one server, wait until its OSTs are mounted, power it on again."""
    await asyncio.sleep(random.uniform(0, HEARTBEAT_INTERVAL))
    watch = Stopwatch(world, victim)
    known = observer.scene.names()
    async with watch.running():
        watch.moments.fault = await world.verbs.power_cut(victim)
        await observer.until(f"the OSTs of {victim} are mounted", lambda _: watch.mounted, PATIENCE)

        def complete(scene: Scene) -> bool:
            return scene.phase(scene.opened(known, "Failover", PAIR)) == "Complete"

        scene = await observer.until("the Failover is Complete", complete, PATIENCE)
    found = watch.seconds(scene.failover(scene.opened(known, "Failover", PAIR)))
    await world.verbs.power_on(victim)
    return found


def bench_layout() -> Layout:
    """One pair, two OSTs a server."""
    return layout(pairs=1, specs={PAIR: SPEC})


def told(one: Seconds) -> str:
    """One run in a line."""
    return ", ".join(f"{step} {'-' if one[step] is None else f'{one[step]:.2f}'}" for step in STEPS)


def medians(runs: Sequence[Seconds]) -> list[str]:
    """The median of each step, counted from the cut, and of each step counted from the one before."""
    lines = [f"{'median of ' + str(len(runs)):>14}  since the cut  since the step before"]
    for before, step in pairwise(("", *STEPS)):
        whole = [value for one in runs if (value := one[step]) is not None]
        parts = [
            value - since
            for one in runs
            if (value := one[step]) is not None and (since := _or_cut(one, before)) is not None
        ]
        if parts:
            lines.append(f"{step:>14}  {statistics.median(whole):11.2f} s  {statistics.median(parts):19.2f} s")
    return lines


def _or_cut(one: Seconds, step: str) -> float | None:
    return one[step] if step else 0.0
