"""After an end-to-end test: what must hold whatever it was about, and what a person looks at when it did not.

Here: the checks that no test may skip, the printed story of a failure, the logs that are kept. Not here: the monitor and
the load themselves (`ostkeeper.testbed`), what one test expects.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.world import REPOSITORY, World

LONGEST_GAP = 1.5
"""Seconds for which the monitor may have looked away, on a machine that runs other tests: less than a mount takes."""
FELL_OVER = ("Traceback (most recent call last)", "InvariantBroken")
TAIL = 40
KEPT_TOO = ("*.jsonl", "hosts/*/console.log", "devices/*.log", "devices/*/log")
KEPT = REPOSITORY / "build" / "e2e"


async def check(world: World) -> None:
    """Raise AssertionError unless the world is sound. Double mounts are raised by the world itself, when it ends."""
    truth = await world.verbs.truth()
    assert truth["violations"] == [], f"one disk could be written by two servers: {truth['violations']}"
    records = truth["records"]
    assert records["lost"] == 0, f"acknowledged records are gone: {records}"
    monitor = truth["monitor"]
    assert monitor["samples"] > 0, "the monitor took no sample"
    assert monitor["longest_gap"] < LONGEST_GAP, f"the monitor looked away for {monitor['longest_gap']}s"
    assert truth["errors"] == [], f"the testbed itself broke: {truth['errors']}"
    fallen = fell_over(world)
    assert not fallen, f"a program fell over: {fallen}"


def logs(world: World) -> list[Path]:
    """The operators' and the agents' logs."""
    directory = world.directory
    return sorted([*directory.glob("operators/*.log"), *directory.glob("hosts/*/agent.log")])


def fell_over(world: World) -> list[str]:
    """LOG: the end of the story, for each traceback or broken invariant in a log."""
    found = []
    for path in logs(world):
        lines = path.read_text(errors="replace").splitlines()
        for number, line in enumerate(lines):
            if any(sign in line for sign in FELL_OVER):
                found.append(f"{path.parent.name}/{path.name}:{number + 1}:\n" + "\n".join(lines[number : number + 40]))
    return found[:3]


async def tell(world: World) -> None:
    """Print what a person would look at, and keep the logs. Nothing in here may hide the failure it tells of."""
    kept = keep(world)
    print(f"\n===== the world as it was (logs: {kept})")
    for words in (("get", "ost,pairs,fo,fd,oss", "-A", "-o", "wide"), ("get", "fo,pairs,oss,fd", "-A", "-o", "yaml")):
        try:
            print(await world.control_plane.kubectl(*words, within=10))
        except (ControlPlaneError, OSError, TimeoutError) as error:
            print(f"kubectl {' '.join(words)}: {error}")
    try:
        print(json.dumps(await world.verbs.truth(), indent=1))
    except Exception as error:  # whatever is broken, the rest is worth reading
        print(f"truth: {error!r}")
    for path in (*logs(world), world.directory / "events.jsonl", world.directory / "overlaps.jsonl"):
        print(f"===== {path.relative_to(world.directory)}")
        print("\n".join(path.read_text(errors="replace").splitlines()[-TAIL:]))


def keep(world: World) -> Path:
    """Copy the logs, not the credentials, to build/e2e/TEST."""
    test = re.sub(r"[^\w.-]+", "_", os.environ.get("PYTEST_CURRENT_TEST", "unknown").split("::")[-1].split(" ")[0])
    target = KEPT / test
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in (*logs(world), *(found for kind in KEPT_TOO for found in world.directory.glob(kind))):
        shutil.copy(path, target / "-".join(path.relative_to(world.directory).parts))
    return target
