"""Wiring is proven, not declared: `ostkeeper fence-test` finds the cord that is not where the manifests say it is.

The targets are applied last, as on a new floor: until then every server is empty, and may be drilled.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.world import E2E, e2e_world
from ostkeeper.testbed.identities import ADMIN, ONCALL
from ostkeeper.testbed.processes import in_network_of
from waiting import wait_for_async

pytestmark = pytest.mark.e2e

DRILLED = {"failover": {"wiring": "Drilled"}}
FENCE_TEST = (sys.executable, "-m", "ostkeeper.cli.main", "fence-test", "scratch/pair-a")
DRILL_SECONDS = 240.0
"""Three steps a server, each with heartbeats to wait for, and two boots: 90 s on a busy machine."""


def but_osts(manifests: list[dict[str, Any]]) -> str:
    """As YAML, without the targets."""
    return yaml.safe_dump_all([one for one in manifests if one["kind"] != "OST"])


@asynccontextmanager
async def empty_floor() -> AsyncIterator[E2E]:
    """Two servers that live and hold nothing; nothing of their wiring is proven."""
    async with e2e_world(spec=DRILLED, apply=False) as w:
        await w.kubectl("apply", "--filename", "-", stdin=but_osts(list(yaml.safe_load_all(w.world.manifests()))))
        for host in w.world.layout.hosts:
            await w.judged(host, "Healthy")
        yield w


async def fence_test(w: E2E, *words: str, user: str = ONCALL.user) -> tuple[int, str]:
    """Run the command where a person would who reaches API server and devices. Gives its exit code and what it said."""
    kubeconfig: Path = w.world.control_plane.kubeconfig(user, inside=True)
    argv = in_network_of(w.world.switch.pid, *FENCE_TEST, "--kubeconfig", str(kubeconfig), *words)
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DRILL_SECONDS):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def not_proven(w: E2E, node: str, why: str) -> None:
    """A drill of the server's outlets fails, says why, and leaves every feed on."""
    code, said = await fence_test(w, "--really", "--node", node, "--level", "pdus")
    assert (code, "NOT proven" in said, why in said) == (1, True, True), said
    status = (await w.pair()).status
    assert status is not None
    assert [(one.node, one.level, one.proven) for one in status.wiring] == [(node, "pdus", False)]
    for host in w.world.layout.hosts:
        w.untouched(host)


async def test_good_drills_arm_the_pair_and_reading_switches_nothing() -> None:
    async with empty_floor() as w:
        code, said = await fence_test(w, user=ADMIN.user)
        assert code == 0, said
        assert said.count("PoweredOn") == said.count("\n") == 6, said
        boots = {host: w.world.hosts[host].boot_id for host in w.world.layout.hosts}

        code, said = await fence_test(w, "--really", "--level", "pdus")
        assert (code, said.count(" proven: ")) == (0, 2), said
        assert all(w.world.hosts[host].boot_id != boot for host, boot in boots.items()), "each was really cut once"

        await w.world.apply()
        await w.ready(armed=True)
        assert {fo.spec.type for fo in await w.failovers()} == {"Drill"}
        code, said = await fence_test(w, "--really", "--node", "oss1", "--level", "bmc")
        assert (code, "refused: oss1 holds" in said) == (1, True), said
        w.untouched("oss1")


async def test_drill_catches_feeds_that_were_swapped_between_the_servers() -> None:
    async with empty_floor() as w:
        await w.verbs.wires_swap("oss1", "oss2")
        await not_proven(w, "oss1", "the feed is not oss1's")
        await w.true("Armed", status="False", words=("no fencing level of oss1 was drilled",))


async def test_drill_catches_one_wrong_feed_and_a_dead_supply() -> None:
    async with empty_floor() as w:
        await w.verbs.wires_swap("oss1", "oss2", ["pdu-left"])
        await not_proven(w, "oss1", "the load of pdu-left/1 went to pdu-right/2 of oss2 when it was cut")
        await w.verbs.wires_swap("oss1", "oss2", ["pdu-left"])
        await w.verbs.supply("oss1", "pdu-left", alive=False)
        await not_proven(w, "oss1", "oss1 did not survive the loss of pdu-right/1 alone")
        await wait_for_async(lambda: w.world.hosts["oss1"].running, 60, "what the drill cut should be on again")
