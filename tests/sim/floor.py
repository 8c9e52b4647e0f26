"""A small world for the simulated operators: the API server, real simulated devices, and two agents that are sketches.

Here: an agent that renews its lease, mounts what it may serve, and answers nonces. Not here: a faithful one
(`ostkeeper.sim.agents`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, DiskReport, NonceAnswer, OSSStatus, PeerReport, Released, TargetReport
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.ports import Written
from ostkeeper.sim.config import Config, objects_of
from ostkeeper.sim.kernel import Actor, Kernel
from ostkeeper.sim.network import Client, Network
from ostkeeper.sim.operators import OperatorShell
from ostkeeper.sim.power import Devices
from ostkeeper.sim.store import Store
from ostkeeper.sim.watches import Watches


class Server:
    """A server with an agent, or without power."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.board = f"board-{name}"
        self.chassis = self.repaired = True
        self.boots, self.epoch_seen = 0, 0
        self.on = False
        self.pair: OSSPair | None = None
        self.mounted: dict[str, int] = {}
        self.released: dict[str, Released] = {}
        self.reported = ""
        self.deaf = False
        """Its agent hears and says nothing; the server runs."""

    @property
    def boot(self) -> str:
        return f"{self.name}-boot{self.boots}"

    def power(self, on: bool) -> None:
        if on == self.on:
            return
        self.on = on
        self.world.kernel.kill(self.actor) if not on else self._boot()

    def _boot(self) -> None:
        self.boots += 1
        self.actor = Actor(self.name)
        self.mounted, self.released = {}, {}
        self.up_since = self.world.kernel.now
        self.client = Client(self.world.kernel, self.world.network, self.world.store, self.name, self.actor)
        subscription = self.world.watches.subscribe(self.name, self.actor, self._hear)
        subscription.watch("OSSPair", "scratch/pair-a")
        self.world.kernel.after(1.0, self.actor, self._beat)

    def _beat(self) -> None:
        store = self.world.store
        if not self.deaf:
            self.client.call_at_once(lambda: store.beat(self.name, self.boot, self.reported, ()), lambda _: None, 1.0)
        if int(self.world.kernel.now) % 10 < 2:
            self._report(None)
        self.world.kernel.after(2.0, self.actor, self._beat)

    def _hear(self, kind: str, key: str, pair: Any) -> None:
        if pair is None or pair.status is None or self.deaf:
            return
        self.epoch_seen = max(self.epoch_seen, pair.status.epoch)
        for a in pair.status.assignments:
            if a.node == self.name and a.intent == "Serve":
                self.mounted.setdefault(a.target, a.epoch)
            if a.node == self.name and a.intent == "Release":
                self.mounted.pop(a.target, None)
                self.released[a.target] = Released(epoch=a.epoch, boot_id=self.boot)
        nonce = pair.status.nonce
        self.world.kernel.after(0.3, self.actor, self._report, nonce.value if nonce and nonce.open else None)

    def _report(self, nonce: str | None) -> None:
        if self.deaf:
            return
        disks = tuple(self._disk(t) for t in self.world.targets)
        answer = NonceAnswer(value=nonce, disks=disks, mounted=tuple(sorted(self.mounted))) if nonce else None
        kept = self.world.store.find(OSS, self.name)
        other = self.world.partner(self)
        status = OSSStatus(
            boot_id=self.boot,
            system_uuid=self.board,
            agent_version="sketch",
            uptime_seconds=int(self.world.kernel.now - self.up_since),
            epoch_seen=self.epoch_seen,
            nonce=answer or (kept.status.nonce if kept and kept.status else None),
            targets=tuple(self._target(t) for t in self.world.targets),
            disks=disks,
            peer=PeerReport(state="Answering" if other.on else "Silent", boot_id=other.boot),
        )
        self.client.call_at_once(lambda: self.world.store.report(self.name, status, self.name), self._written, 1.0)

    def _written(self, written: Written | None) -> None:
        if written is not None and written.object is not None:
            self.reported = written.object.version

    def _target(self, target: str) -> TargetReport:
        epoch, released = self.mounted.get(target), self.released.get(target)
        if epoch is None:
            return TargetReport(target=target, state="Unmounted", released=released)
        return TargetReport(target=target, state="Mounted", epoch=epoch)

    def _disk(self, target: str) -> DiskReport:
        owner = next((s for s in self.world.hosts.values() if target in s.mounted), None)
        uuid = f"uuid-{target}"
        if owner is None:
            return DiskReport(target=target, state="Clean", uuid=uuid)
        block = "" if owner.on else f"block-{target}"
        return DiskReport(
            target=target, state="Advancing" if owner.on else "Still", mark=owner.name, block=block, uuid=uuid
        )


class World:
    """One pair, as on the day of its install."""

    def __init__(self, seed: int = 1, config: Config | None = None, operators: int = 2) -> None:
        site = objects_of(config or Config(nodes=False, wiring="Declared"))
        self.kernel = Kernel(seed)
        self.network = Network(self.kernel)
        self.store = Store(self.kernel)
        self.watches = Watches(self.kernel, self.network, self.store)
        self.trace: Callable[[str, str], None] | None = None
        self.said: list[str] = []
        for obj in (*site.pairs, *site.osts, *site.devices):
            self.store.create(obj, "admin")
        self.targets = tuple(ost.target for ost in site.osts)
        names = site.pairs[0].servers
        self.hosts = {name: Server(self, name) for name in names}
        self.devices = Devices(self, site.devices, {name: site.wires_of(name) for name in names})
        self.devices.settle()
        self.operators = {f"op{n}": OperatorShell(self, f"op{n}") for n in range(1, operators + 1)}

    def partner(self, server: Server) -> Server:
        """The other one."""
        return next(s for s in self.hosts.values() if s is not server)

    def tell_all(self) -> None:
        """Keep what is said in `said`."""
        self.trace = lambda who, what: self.said.append(f"{self.kernel.now:7.2f} {who}: {what}")

    def run(self, wait: float) -> None:
        """Let time pass."""
        self.kernel.run(self.kernel.now + wait)

    def until(self, condition: Callable[[], bool], limit: float = 120.0) -> bool:
        """Let time pass until something holds; False: it did not within so many seconds."""
        return self.kernel.run_until(condition, limit, 0.5)

    @property
    def pair(self) -> OSSPair:
        """As stored."""
        found = self.store.find(OSSPair, "scratch/pair-a")
        assert found is not None
        return found

    def served_by(self) -> dict[str, str]:
        """Targets and the servers that may serve them."""
        status = self.pair.status
        return {a.target: a.node for a in status.assignments if a.intent == "Serve"} if status else {}

    def leaders(self) -> list[str]:
        """The operators that lead."""
        return [name for name, shell in self.operators.items() if shell.leads]

    def trusted(self) -> bool:
        """Whether every fence device is Ready."""
        devices = self.store.every(FenceDevice)
        return all(d.status and d.status.conditions and d.status.conditions[0].status == "True" for d in devices)

    def osts(self) -> tuple[OST, ...]:
        """As stored."""
        return self.store.every(OST)
