"""A pair of two servers on a real API server and one real disk: oss1 has our agent, oss2 and the operator are the test.

Here: objects, the pair's status as an operator would write it, an agent that runs in this process. Not here: expectations.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.disks import SharedDisk
from ostkeeper.agent.identity import Identity
from ostkeeper.agent.kubeconfig import from_kubeconfig
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.run import Agent, Settings
from ostkeeper.api.common import API_VERSION
from ostkeeper.api.failover import Certificate
from ostkeeper.core.digest import certificate_digest
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiClient, ApiError
from waiting import wait_for_async

Json = dict[str, Any]
TARGET = "scratch-OST0000"
APIS = f"/apis/{API_VERSION}"
BOARD = "11111111-2222-3333-4444-555555555555"
NODES = ("oss1", "oss2")
DEAD_BOOT = "99999999-0000-0000-0000-000000000001"


@dataclass
class Floor:
    """Everything of one test. `namespace` is its own; the OSS of this server is made anew."""

    plane: ControlPlane
    admin: ApiClient
    disk: SharedDisk
    directory: Path
    namespace: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def mount_point(self) -> Path:
        return Path("/mnt") / self.namespace

    @property
    def pair_path(self) -> str:
        return f"{APIS}/namespaces/{self.namespace}/osspairs/pair-a"

    async def build(self) -> None:
        """Namespace, pair, OST and the two OSS."""
        await self.admin.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        await self._create("osspairs", "OSSPair", "pair-a", PAIR_SPEC)
        device, place = self.disk.oss1.device, str(self.mount_point)
        backend = {"ext4": {"device": device}}
        spec = {"fileSystem": "scratch", "index": 0, "pairName": "pair-a", "homeNode": "oss1", "mountPoint": place}
        await self._create("osts", "OST", "scratch-ost0000", spec | {"backend": backend})
        for node in ("oss1", "oss2"):
            with contextlib.suppress(ApiError):
                await self.admin.delete(f"{APIS}/osses/{node}")
            body = {"spec": {"pair": {"namespace": self.namespace, "name": "pair-a"}}, "metadata": {"name": node}}
            await self.admin.create(f"{APIS}/osses", {"apiVersion": API_VERSION, "kind": "OSS", **body})

    async def _create(self, plural: str, kind: str, name: str, spec: Json) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        await self.admin.create(f"{APIS}/namespaces/{self.namespace}/{plural}", body)

    async def assign(
        self, epoch: int, intent: str, node: str = "oss1", warrant: Json | None = None, **more: Any
    ) -> None:
        """Write the pair's status as the operator would: one assignment, at this epoch."""
        why = warrant or {"adopted": {"nonce": "first"}}
        assignment = {"target": TARGET, "node": node, "intent": intent, "epoch": epoch, "warrant": why}
        await self.status(epoch, assignments=[assignment], **more)

    async def status(self, epoch: int, **more: Any) -> None:
        await self.admin.patch(f"{self.pair_path}/status", {"status": {"epoch": epoch, **more}})

    async def report(self) -> Json:
        """What the agent of oss1 last reported."""
        found: Json = (await self.admin.get(f"{APIS}/osses/oss1")).get("status") or {}
        return found

    async def target(self) -> Json:
        found = [t for t in (await self.report()).get("targets", []) if t["target"] == TARGET]
        return dict(found[0]) if found else {}

    async def reported(self, state: str, within: float = 15.0) -> Json:
        """Wait until the target is reported in that state."""

        async def look() -> Json | None:
            target = await self.target()
            assert target.get("state") == state, target
            return target

        found = await wait_for_async(look, within, f"{TARGET} is reported {state}")
        assert found is not None
        return found

    async def answered(self, nonce: str, within: float = 10.0) -> Json:
        async def look() -> Json | None:
            answer: Json = (await self.report()).get("nonce") or {}
            assert answer.get("value") == nonce, answer
            return answer

        found = await wait_for_async(look, within, f"nonce {nonce} is answered", step=0.01)
        assert found is not None
        return found

    async def lease(self) -> Json:
        return await self.admin.get("/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases/oss1")

    async def certify(self, epoch: int, proof: Json) -> Json:
        """A Failover of oss2 with a death certificate over the disk as `proof` has it; the warrant that names it."""
        spec = {"pairName": "pair-a", "epoch": epoch, "type": "Failover", "node": "oss2", "partner": "oss1"}
        spec |= {
            "targets": [TARGET],
            "evidence": {"verdict": "Failed", "sentence": "a test", "bootID": DEAD_BOOT},
            "policy": POLICY,
        }
        await self._create("failovers", "Failover", f"pair-a-{epoch}", spec)
        feed = {"deviceName": "bmc-oss2", "state": "PoweredOff", "reads": 3}
        body: Json = {"node": "oss2", "bootID": DEAD_BOOT, "holdEpoch": epoch + 1, "level": "bmc", "feeds": [feed]}
        body |= {"disks": [proof], "nonce": "n1", "clearMMP": True}
        certificate = Certificate.model_validate(body)
        digest = certificate_digest(certificate)
        path = f"{APIS}/namespaces/{self.namespace}/failovers/pair-a-{epoch}/status"
        for phase in ("Holding", "Fencing"):
            await self.admin.patch(path, {"status": {"phase": phase, "holdEpoch": epoch + 1}})
        written = certificate.wire() | {"digest": digest}
        await self.admin.patch(path, {"status": {"phase": "Relocating", "certificate": written}})
        return {"certificate": {"failover": f"pair-a-{epoch}", "digest": digest, "node": "oss2"}}

    @contextlib.asynccontextmanager
    async def agent(self, stop_command: str = "") -> AsyncIterator[asyncio.Task[None]]:
        """Run the agent of oss1 until the block ends."""
        locks = Locks(self.directory / "run" / "locks")
        lock = locks.take_agent()
        settings = Settings(
            identity=Identity("oss1", self.boot_id, BOARD),
            access=from_kubeconfig(self.plane.kubeconfig("ostkeeper:agent:oss1")),
            state_directory=self.directory / "state",
            run_directory=self.directory / "run",
            stop_command=stop_command or f"touch {self.directory / 'stopped'}",
            port=0,
            peers={"oss2": "127.0.0.1"},
        )
        running = asyncio.create_task(Agent(settings, locks).run())
        try:
            yield running
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            lock.release()

    @property
    def stopped(self) -> bool:
        """The agent has ordered this machine to stop."""
        return (self.directory / "stopped").exists()


PAIR_SPEC: Json = {
    "nodes": [
        {"name": node, "fencing": [{"name": "bmc", "feeds": [{"deviceName": f"bmc-{node}"}]}]}
        for node in ("oss1", "oss2")
    ],
    "heartbeat": {"interval": "1s", "timeout": "3s"},
}
POLICY: Json = {
    "mode": "Automatic",
    "armed": True,
    "levels": [{"name": "bmc", "feeds": [{"deviceName": "bmc-oss2"}]}],
    "confirm": {"rounds": 3, "interval": "500ms", "settle": "2s"},
    "clearMMP": True,
    "validFor": "2m",
    "bootTimeout": "15m",
    "releaseTimeout": "5m",
}


@contextlib.asynccontextmanager
async def own_plane(directory: Path) -> AsyncIterator[ControlPlane]:
    """A control plane that the test may stop."""
    async with ControlPlane(directory, identities=identities.everyone(NODES)) as plane:
        await plane.apply(manifests())
        yield plane


def manifests() -> list[Path]:
    """CRDs, the agents' RBAC and namespaces, the admission policies."""
    repo = Path(__file__).parents[2]
    return [repo / "crds", *(repo / "deploy" / part for part in ("namespaces", "rbac", "policies"))]


@contextlib.asynccontextmanager
async def floor(plane: ControlPlane, disk: SharedDisk, directory: Path) -> AsyncIterator[Floor]:
    """Build a floor; unmount what is left of it in the end."""
    async with plane.client() as admin:
        made = Floor(plane, admin, disk, directory)
        await made.build()
        try:
            yield made
        finally:
            disk.oss1.mount_point = made.mount_point  # so that `let_go` unmounts what the agent mounted
            await _cleared(made)


async def _cleared(made: Floor) -> None:
    """Unmount what the agent left, then take its mount point away."""
    until = time.monotonic() + 10
    while made.mount_point.is_mount() and time.monotonic() < until:
        done = await asyncio.create_subprocess_exec("umount", str(made.mount_point))
        await done.wait()
    with contextlib.suppress(OSError):
        made.mount_point.rmdir()
