"""A small site under its agents alone: one pair, two servers, real agents' machines; the test plays the operator.

Here: the site at rest, and what an operator would write. Not here: expectations, the whole simulator (`ostkeeper.sim.world`).
"""

from __future__ import annotations

from collections.abc import Callable

from ostkeeper.api.failover import Certificate, DiskProof, Failover, FailoverStatus
from ostkeeper.api.oss import OSS, OSSStatus, TargetReport
from ostkeeper.api.osspair import Assignment, Fenced, Intent, OSSPair, OSSPairStatus, Warrant
from ostkeeper.api.ost import OST
from ostkeeper.core.digest import certificate_digest
from ostkeeper.sim.agents import CLUSTER, AgentShell
from ostkeeper.sim.checker import Checker
from ostkeeper.sim.config import NAMESPACE, Config, objects_of, servers_of
from ostkeeper.sim.disks import Disk
from ostkeeper.sim.hosts import Host
from ostkeeper.sim.kernel import Kernel
from ostkeeper.sim.network import Network
from ostkeeper.sim.power import Devices
from ostkeeper.sim.store import Store
from ostkeeper.sim.watches import Watches

PAIR = f"{NAMESPACE}/pair-a"
T, OTHER = "scratch-OST0000", "scratch-OST0001"
"""Of oss1, and of oss2."""
EPOCH = 5
"""At which all are served at the start."""


class Floor:
    """What agents need of a world."""

    def __init__(self, seed: int = 1, config: Config | None = None) -> None:
        config = config or Config()
        site = objects_of(config)
        self.trace: Callable[[str, str], None] | None = None
        self.kernel = Kernel(seed)
        self.network = Network(self.kernel)
        self.store = Store(self.kernel)
        self.watches = Watches(self.kernel, self.network, self.store)
        self.checker = Checker(lambda: self.kernel.now)
        targets = [ost.target for ost in site.osts]
        self.disks = {t: Disk(t, self.kernel.random, config.settings.update_interval) for t in targets}
        self.hosts = {name: Host(self, name, targets, (40.0, 60.0)) for name in servers_of(config)}
        self.checker.hosts = self.hosts
        self.devices = Devices(self, site.devices, {name: site.wires_of(name) for name in self.hosts})
        self.agents = {name: AgentShell(self, host) for name, host in self.hosts.items()}
        for device in site.devices:
            self.store.seed(device)
        for ost in site.osts:
            self.store.seed(ost)
        homes = [(ost.target, ost.spec.home_node) for ost in site.osts]
        grants = tuple(assignment(t, node, "Serve", EPOCH, {"adopted": {"nonce": "first"}}) for t, node in homes)
        status = OSSPairStatus(epoch=EPOCH, assignments=grants)
        self.store.seed(site.pairs[0].model_copy(update={"status": status}))
        for name, host in self.hosts.items():
            pair = {"namespace": NAMESPACE, "name": "pair-a"}
            self.store.seed(OSS.parse({"metadata": {"name": name}, "spec": {"pair": pair}}))
            mounts = {o.target: (EPOCH, o.spec.mount_point) for o in site.osts if o.spec.home_node == name}
            host.at_rest(mounts, CLUSTER)
        self.devices.settle()
        for agent in self.agents.values():
            agent.start()

    # --- driving

    def run(self, seconds: float) -> Floor:
        """Let time pass."""
        self.kernel.run(self.kernel.now + seconds)
        return self

    def until(self, condition: Callable[[], bool], limit: float = 120.0) -> float:
        """Let time pass until something is so; how long that took."""
        began = self.kernel.now
        assert self.kernel.run_until(condition, limit, 0.05), f"not within {limit}s"
        return self.kernel.now - began

    # --- what an operator would write

    @property
    def pair(self) -> OSSPair:
        """As stored."""
        found = self.store.find(OSSPair, PAIR)
        assert found is not None
        return found

    def write(self, **fields: object) -> None:
        """Replace fields of the pair's status, as the operator."""
        pair = self.pair
        assert pair.status is not None
        self.store.replace_status(OSSPair, PAIR, pair.version, pair.status.model_copy(update=fields), "op1")

    def assign(
        self, intent: Intent, node: str, warrant: dict[str, object] | None = None, target: str = T, **fields: object
    ) -> int:
        """Raise the pair's epoch by one and write one assignment at it; the epoch."""
        status = self.pair.status
        assert status is not None
        old = status.assignment(target)
        why = warrant or (old.warrant.wire() if old else {"adopted": {"nonce": "first"}})
        grants = tuple(
            assignment(target, node, intent, status.epoch + 1, why) if a.target == target else a
            for a in status.assignments
        )
        self.write(epoch=status.epoch + 1, assignments=grants, **fields)
        return status.epoch + 1

    def certify(self, node: str, targets: tuple[str, ...]) -> dict[str, object]:
        """A Failover with a certificate for a server, over its disks as they are now; the warrant that names it."""
        status = self.pair.status
        assert status is not None
        now = self.kernel.now
        proofs = []
        for target in targets:
            probe = self.disks[target].probe(target, now, now, now)
            mark = str(probe.mark)
            proofs.append(DiskProof(target=target, state="Still", block=probe.block_digest, mark=mark, reported=mark))
        feed = {"deviceName": "bmc", "state": "PoweredOff", "reads": 3}
        body = {"node": node, "bootID": f"{node}-boot-1", "holdEpoch": status.epoch, "level": "bmc", "feeds": [feed]}
        held = Certificate.model_validate(body | {"disks": [p.wire() for p in proofs], "clearMMP": True})
        held = held.model_copy(update={"digest": certificate_digest(held)})
        name = f"pair-a-{status.epoch}"
        self.write(active_failover=name)
        spec = {"pairName": "pair-a", "epoch": status.epoch, "type": "Failover", "node": node, "partner": "oss2"}
        spec |= {"evidence": {"verdict": "Failed", "sentence": "a test"}, "policy": POLICY}
        made = Failover.parse({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
        stored = self.store.seed(
            made.model_copy(update={"status": FailoverStatus(phase="Relocating", certificate=held)})
        )
        self.watches.committed(Failover.kind, stored.key, stored, stored, self.store.version)
        return {"certificate": {"failover": name, "digest": held.digest, "node": node}}

    def relocate(self, node: str, target: str = T) -> None:
        """Serve for the other server, under a certificate for this one."""
        other = self.pair.partner_of(node)
        warrant = self.certify(node, (target,))
        failover = f"pair-a-{self.pair.status.epoch}" if self.pair.status else ""
        dead = Fenced(node=node, failover=failover, boot_id=f"{node}-boot-1")
        self.assign("Serve", other, warrant, target, fenced=(dead,), active_failover="")

    # --- what came of it

    def status(self, node: str) -> OSSStatus:
        """What an agent reported last."""
        found = self.store.find(OSS, node)
        assert found is not None
        assert found.status is not None
        return found.status

    def report(self, node: str, target: str = T) -> TargetReport:
        """The same of one target."""
        return next(report for report in self.status(node).targets if report.target == target)

    def state(self, node: str, target: str = T) -> str:
        """Its state, or nothing yet."""
        found = self.store.find(OSS, node)
        targets = found.status.targets if found and found.status else ()
        return next((report.state for report in targets if report.target == target), "")


def assignment(target: str, node: str, intent: Intent, epoch: int, warrant: dict[str, object]) -> Assignment:
    why = Warrant.model_validate(warrant)
    return Assignment(target=target, node=node, intent=intent, epoch=epoch, warrant=why)


POLICY = {
    "mode": "Automatic",
    "armed": True,
    "levels": [{"name": "bmc", "feeds": [{"deviceName": "bmc"}]}],
    "confirm": {"rounds": 3, "interval": "500ms", "settle": "2s"},
    "clearMMP": True,
    "validFor": "2m",
    "bootTimeout": "15m",
    "releaseTimeout": "5m",
}
__all__ = ["EPOCH", "OST", "OTHER", "PAIR", "Floor", "T"]
