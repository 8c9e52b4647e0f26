"""The operator's parts as tests use them: on the real API server, under the operator's own identity.

Here: how each part is made. Not here: expectations.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ostkeeper.controller.client import Api, connect
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.cluster import LEASES, KubeCluster
from ostkeeper.controller.objects import Parser
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from waiting import WaitedTooLongError, wait_for_async

ROOT = Path(__file__).parents[2]
LEADER_LEASE = LEASES.format("ostkeeper-system") + "/ostkeeper-operator"
HOLDER = "op-1_0000"


async def made_ready(plane: ControlPlane) -> ControlPlane:
    """Apply to a running one what a cluster needs before anything of ours runs in it, and the objects' namespace."""
    await plane.apply([ROOT / "crds", ROOT / "deploy" / "testbed"])
    await plane.kubectl("create", "namespace", "scratch")
    await plane.kubectl(
        "get", "fd,pair,ost,oss,fo", "-A"
    )  # the first LIST of a new kind is answered 429; kubectl waits
    return plane


@asynccontextmanager
async def operators_api(plane: ControlPlane) -> AsyncIterator[Api]:
    """The product's own client, as the operator."""
    client = await connect(str(plane.kubeconfig(identities.OPERATOR.user)))
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def cluster(plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    async with operators_api(plane) as api:
        yield KubeCluster(api, Parser(), SystemClock(), LEADER_LEASE, HOLDER)


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """The URL of a server that accepts connections and never says a word."""

    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def never(condition: Callable[[], object], seconds: float, why: str) -> None:
    """Fail if the condition holds at any moment of the next seconds."""
    with pytest.raises(WaitedTooLongError):
        await wait_for_async(condition, seconds, why, step=0.01)


class OperatorProcess:
    """`ostkeeper operator` as a process of its own; use `with`."""

    def __init__(self, kubeconfig: Path, name: str, log: Path, *flags: str) -> None:
        self.name, self.log = name, log
        words = ["-m", "ostkeeper.cli.main", "operator", "--kubeconfig", str(kubeconfig), "--id", name, *flags]
        with log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, *words], stdout=out, stderr=out, start_new_session=True)

    def __enter__(self) -> "OperatorProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal it with its workers."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
