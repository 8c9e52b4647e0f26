"""The whole: API server, network, power, disks, servers with agents, operators, people, and the checker that sees it all.

Here: how the parts are put together, and how a run begins. Not here: what any part does. A world is made of objects that
somebody brings (`Site`) and of how the floor behaves (`Settings`); the seed gives everything that is random.
"""

from __future__ import annotations

from collections.abc import Callable

from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.claims import pair_key
from ostkeeper.sim import beginning
from ostkeeper.sim.agents import AgentShell
from ostkeeper.sim.checker import Checker
from ostkeeper.sim.config import Settings, Site
from ostkeeper.sim.disks import Disk
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.hosts import Host, Memory
from ostkeeper.sim.kernel import Kernel
from ostkeeper.sim.kubelets import Kubelets
from ostkeeper.sim.network import Network
from ostkeeper.sim.operators import OperatorShell
from ostkeeper.sim.orders import Orders
from ostkeeper.sim.people import People
from ostkeeper.sim.permits import Permits
from ostkeeper.sim.power import Devices
from ostkeeper.sim.proofs import Proofs
from ostkeeper.sim.store import Store
from ostkeeper.sim.watches import Watches

Trace = Callable[[str, str], None]
"""Told who did or saw what, in plain words."""


class World:
    """One simulated cluster and the floor under it."""

    def __init__(self, site: Site, seed: int, settings: Settings, trace: Trace | None = None) -> None:
        """`trace`: told of everything worth telling; without it nothing is formatted."""
        self.site, self.settings, self.trace = site, settings, trace
        self.kernel = Kernel(seed)
        self.checker = Checker(lambda: self.kernel.now)
        self.network = Network(self.kernel)
        self.store = Store(self.kernel)
        self.watches = Watches(self.kernel, self.network, self.store)
        random, update = self.kernel.random, settings.update_interval
        self.disks = {ost.target: Disk(ost.target, random, update) for ost in site.osts}
        self.hosts = {server: self._host(pair, server) for pair in site.pairs for server in pair.servers}
        wires = {server: site.wires_of(server) for server in self.hosts}
        self.devices = Devices(self, site.devices, wires, signs=settings.signs, watts=settings.watts)
        self.agents = {server: AgentShell(self, host, settings.fast) for server, host in self.hosts.items()}
        names = tuple(f"op{number}" for number in range(1, settings.operators + 1))
        self.operators = {name: self._operator(name) for name in names}
        self.kubelets = Kubelets(self)
        self.people = People(self)
        self.open_faults: dict[Fault, Callable[[], None]] = {}
        """Faults that last and have not ended, and what ends each."""
        self._watch()

    def _host(self, pair: OSSPair, server: str) -> Host:
        targets = [ost.target for ost in self.site.osts if pair_key(ost) == pair.key]
        drift = self.settings.drift
        rate = 1.0 + self.kernel.random.uniform(-drift, drift)
        return Host(self, server, targets, self.settings.boot_time, rate, self.settings.late)

    def _operator(self, name: str) -> OperatorShell:
        drift, random = self.settings.drift, self.kernel.random
        return OperatorShell(
            self,
            name,
            policies=self.site.policies,
            rate=1.0 + random.uniform(-drift, drift),
            offset=random.uniform(0.0, 1e6),
            broken=self.checker.stopped,
        )

    def _watch(self) -> None:
        """Let the checker see."""
        self.checker.hosts = self.hosts
        self.store.observers.append(self.checker.committed)
        self.store.restored.append(self.checker.restored)
        self.checker.orders = Orders(self.checker.now, self.checker.broken, self.store, self.hosts)
        self.checker.proofs = Proofs(self.checker.now, self.checker.broken, self.store)
        self.checker.permits = Permits(self.checker.now, self.checker.broken, self.store)
        self.devices.watcher = self.checker
        self.store.alarm = self.checker.broken

    def begin(self) -> None:
        """Start everything: at rest, or as on the day of the install."""
        if self.settings.adopted:
            beginning.at_rest(self)
        else:
            beginning.on_the_day_of_the_install(self)

    def say(self, who: str, what: str) -> None:
        """Tell, if anybody listens. Test `trace` before formatting anything that costs time."""
        if self.trace is not None:
            self.trace(who, what)

    def repair(self) -> None:
        """What no fault's end repairs and no operator may: state files, what hangs, what was mounted by hand."""
        for host in self.hosts.values():
            host.thaw()
            host.unstall_disks()
            if host.system == "panicked" or any(mount.read_only for mount in host.table.mounts.values()):
                host.reset()
        for server, agent in self.agents.items():
            agent.resume()
            if self.hosts[server].memory.corrupt:
                self.hosts[server].memory = Memory()
                agent.end()
            agent.revive()
        for operator in self.operators.values():
            operator.start()
