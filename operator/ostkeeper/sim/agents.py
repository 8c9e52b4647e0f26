"""The agents: `HostMachine`, the real one, and around it what `agent.run` does, on virtual time.

Here: one process on one server: its machine, its watches, its report, its memory; and its life: killed,
paused, started anew. Not here: any decision (`core`), the lease (`pulse`), the steps of a mount (`acts`), how disks are read
(`diskwatch`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS, PairRef
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Gone, Outcome, Seen, Tick
from ostkeeper.core.host import HostMachine
from ostkeeper.core.hoststate import Server
from ostkeeper.core.invariants import InvariantBroken
from ostkeeper.ports import Written
from ostkeeper.sim.acts import CheckAct, MountAct, UnmountAct
from ostkeeper.sim.actwords import in_words
from ostkeeper.sim.diskwatch import DiskWatches
from ostkeeper.sim.hosts import Host
from ostkeeper.sim.kernel import Actor, Kernel
from ostkeeper.sim.mounttable import News
from ostkeeper.sim.network import Client, Network
from ostkeeper.sim.pairread import ReadingPair
from ostkeeper.sim.pulse import Pulse
from ostkeeper.sim.store import Store
from ostkeeper.sim.watches import Watches

if TYPE_CHECKING:
    from ostkeeper.sim.checker import Checker

CLUSTER = "cluster-of-the-simulation"
"""The UID of namespace kube-system: it survives every restore."""
REPORT_WITHIN = CLUSTER_WITHIN = 5.0
LOOK_EVERY = 1.0
"""Seconds between two looks at locks, in a real agent; here each is looked at within that time after it changed."""
STORE_TAKES = (0.002, 0.02)
"""Seconds until a state file is durable."""
RESTART_AFTER = (1.0, 3.0)
"""Seconds until whoever supervises the agent starts it again."""


class World(Protocol):
    """What of the world is needed here."""

    trace: Callable[[str, str], None] | None

    @property
    def kernel(self) -> Kernel:
        """Virtual time."""
        ...

    @property
    def network(self) -> Network:
        """Who reaches whom."""
        ...

    @property
    def store(self) -> Store:
        """The API server."""
        ...

    @property
    def watches(self) -> Watches:
        """Its watches."""
        ...

    @property
    def hosts(self) -> Mapping[str, Host]:
        """By name."""
        ...

    @property
    def agents(self) -> Mapping[str, AgentShell]:
        """By server."""
        ...

    @property
    def checker(self) -> Checker:
        """Who looks."""
        ...


class AgentShell:
    """The agent of one server, in one run after the other. The server starts it when it is up."""

    def __init__(self, world: World, host: Host, fast: float = 0.5) -> None:
        """`fast`: seconds between two readings of a disk while a nonce is open."""
        self.world, self.host, self.fast = world, host, fast
        self.run: AgentRun | None = None
        self.runs = 0
        self.paused = self.down = False
        """Stopped by a signal; killed, and not to be started until `revive`."""
        self._frozen = False
        host.agent = self

    @property
    def answering(self) -> str:
        """What it answers to its partner: its boot; empty: nothing."""
        run = self.run
        return run.boot if run is not None and not run.actor.paused else ""

    def start(self) -> None:
        """Begin, unless it runs already or is kept down."""
        if self.run is None and self.host.running and not self.down:
            self.runs += 1
            self._frozen = self.paused = False
            self.run = AgentRun(self)
            self.run.begin()

    def end(self) -> None:
        """The process is no more."""
        run, self.run = self.run, None
        if run is not None:
            run.close()

    def restart(self) -> None:
        """It ends, and is started again after a while. No mount changes."""
        self.end()
        kernel = self.world.kernel
        kernel.after(kernel.random.uniform(*RESTART_AFTER), self.host.actor, self.start)

    def kill(self) -> None:
        """It ends, and nobody starts it until `revive`, not even a boot."""
        self.down = True
        self.end()

    def revive(self) -> None:
        """It may run again."""
        self.down = False
        self.start()

    def pause(self) -> None:
        """SIGSTOP: everything of it stands still, but not its children."""
        self.paused = True
        self._settle()

    def resume(self) -> None:
        """SIGCONT."""
        self.paused = False
        self._settle()

    def freeze(self) -> None:
        """The whole server stands still."""
        self._frozen = True
        self._settle()

    def thaw(self) -> None:
        """It goes on."""
        self._frozen = False
        self._settle()

    def _settle(self) -> None:
        if self.run is None:
            return
        if self.paused or self._frozen:
            self.world.kernel.pause(self.run.actor)
        else:
            self.world.kernel.resume(self.run.actor)

    def hear(self, of: News) -> None:
        """The kernel has news for whichever run there is."""
        if self.run is not None:
            self.run.hear(of)

    def crashed(self, error: Exception) -> None:
        """The machine raised: a bug of ours. The process ends, and is started again."""
        if isinstance(error, InvariantBroken):
            self.world.checker.forbidden(error, f"agent of {self.host.name}")
        else:
            self.world.checker.broken("an agent crashed", f"{self.host.name}: {error!r}")
        self.restart()


class AgentRun:
    """One run of the process. What is scheduled as `actor` ends with it."""

    def __init__(self, shell: AgentShell) -> None:
        world, host = shell.world, shell.host
        self.shell, self.world, self.host, self.kernel = shell, world, host, world.kernel
        self.boot = host.boot
        self.actor = Actor(f"{host.name}/agent", host.actor.rate, host.actor.offset)
        self.client = Client(world.kernel, world.network, world.store, host.name, self.actor)
        server = Server(host.name, host.boot, host.board, f"run-{shell.runs}-of-{host.name}", "sim")
        corrupt = host.memory.corrupt
        self.machine = HostMachine(server, ev.Remembered() if corrupt else host.memory.read(), corrupt)
        self.disks = DiskWatches(world.kernel, host, self, shell.fast)
        self.in_hand: set[str] = set()
        """Targets with an act under way: their lock is our own."""
        self.report = ""
        """resourceVersion of the last report."""
        self.pending_since: float | None = None
        """When a newer report was first tried that is not written yet, on the server's clock."""
        self.pulse = Pulse(self)
        self._inbox: deque[ev.HostEvent] = deque()
        self._draining = False
        self._timer_at = self._armed_for = math.inf
        """When the timer is due, in true seconds; the machine's wish that it was last looked at for."""
        self._pair: PairRef | None = None
        self._partner = ""
        self._mounts_said: ev.MountsSeen | None = None
        self._held_said: ev.ChildrenSeen | None = None
        self._looking_at_locks = False
        self.alive = True
        self.news = world.watches.subscribe(host.name, self.actor, self._seen)

    def begin(self) -> None:
        """Everything that an agent does first."""
        self.news.watch(OSS.kind, self.host.name)
        self.look_at_mounts()
        self._find_cluster()

    def close(self) -> None:
        """The process ends, at whatever it is."""
        self.alive = False
        self.kernel.kill(self.actor)
        self.news.close()

    # --- the machine

    def tell(self, event: ev.HostEvent) -> None:
        """Put one event in; the machine takes all that waits, as `shell.drive` has it: a Tick that is due comes first."""
        inbox = self._inbox
        inbox.append(event)
        if self._draining:
            return
        self._draining = True
        machine, now = self.machine, self.actor.clock(self.kernel.now)
        try:
            if machine.wake_at <= now and type(event) is not Tick:
                self._perform(machine.step(Tick(), now))
            while inbox and self.alive:
                effects = machine.step(inbox.popleft(), now)
                if effects:
                    self._perform(effects)
        except Exception as error:
            self.shell.crashed(error)
            return
        self._draining = False
        if machine.wake_at != self._armed_for and self.alive:
            self._arm()

    def _arm(self) -> None:
        """One timer at a time; where it is early it looks again, which is cheaper than moving it with each event."""
        self._armed_for = wake_at = self.machine.wake_at
        if wake_at == math.inf:
            return
        at = max(self.actor.when(wake_at), self.kernel.now) + 0.001
        if at < self._timer_at - 1e-6:
            self._timer_at = at
            self.kernel.at(at, self.actor, self._timer, at)

    def _timer(self, at: float) -> None:
        if at != self._timer_at:
            return
        self._timer_at = self._armed_for = math.inf
        if self.machine.wake_at <= self.actor.clock(self.kernel.now):
            self.tell(Tick())
        else:
            self._arm()

    # --- what is watched

    def _seen(self, kind: str, key: str, found: Resource | None) -> None:
        if found is None:
            if kind == OSS.kind and key == self.host.name:
                self.tell(ev.OSSMissing())
            self.tell(Gone(kind, key))
            return
        self.tell(Seen(found))
        if not self.alive:
            return
        if isinstance(found, OSS) and key == self.host.name and found.spec.pair != self._pair:
            self._follow(found.spec.pair)
        elif isinstance(found, OSSPair) and self.host.name in found.servers:
            partner = found.partner_of(self.host.name)
            if partner != self._partner:
                self._partner = partner
                self.news.watch(OSS.kind, partner)

    def _follow(self, pair: PairRef) -> None:
        """The OSS says which pair; it never changes, but for a person's hand: then the agent starts anew."""
        if self._pair is not None:
            self.shell.restart()
            return
        self._pair = pair
        key = f"{pair.namespace}/{pair.name}"
        for kind in (OSSPair.kind, OST.kind, Failover.kind):
            self.news.watch(kind, key, self._osts_listed if kind == OST.kind else None)

    def _osts_listed(self) -> None:
        self.tell(ev.OSTsListed())

    def _find_cluster(self) -> None:
        def found(uid: str | None) -> None:
            if uid is None:
                self.kernel.after(1.0, self.actor, self._find_cluster)
            else:
                self.tell(ev.ClusterKnown(uid))

        self.client.call(lambda: CLUSTER, found, CLUSTER_WITHIN)

    def hear(self, of: News) -> None:
        """The kernel has news."""
        if of == "mounts":
            self.kernel.after(0.001, self.actor, self.look_at_mounts)
        elif of == "disks":
            self.kernel.after(0.001, self.actor, self.disks.go_on)
        else:
            self.look_at_locks_soon()

    def look_at_locks_soon(self) -> None:
        """Within a second, as a real agent looks every second."""
        if not self._looking_at_locks:
            self._looking_at_locks = True
            self.kernel.after(LOOK_EVERY * self.kernel.random.random(), self.actor, self._look_at_locks)

    def _look_at_locks(self) -> None:
        self._looking_at_locks = False
        self.look_at_locks()

    def look_at_locks(self) -> None:
        """Say whose locks are held by a child that no act of this run has in hand, if that has changed."""
        children = self.host.table.children
        watched = sorted(self.disks.watches)
        held = {name: f"{children[name]} of it" for name in watched if name in children and name not in self.in_hand}
        said = ev.ChildrenSeen(held, tuple(watched))
        if said != self._held_said:
            self._held_said = said
            self.tell(said)

    def look_at_mounts(self) -> None:
        """Say what is mounted, if that has changed."""
        mounts = self.host.table.mounts
        found = {
            name: (ev.MountFact(mount.mount_point, mount.read_only),)
            for name in sorted(self.disks.watches)
            if (mount := mounts.get(name)) is not None and mount.done
        }
        said = ev.MountsSeen(found, targets=tuple(sorted(self.disks.watches)))
        if said != self._mounts_said:
            self._mounts_said = said
            self.tell(said)

    # --- effects

    def _perform(self, effects: list[ev.HostEffect]) -> None:
        trace = self.world.trace
        for effect in effects:
            if trace is not None:
                trace(self.host.name, in_words(effect))
            self._do(effect)

    def _do(self, effect: ev.HostEffect) -> None:
        match effect:
            case ev.Report():
                self._report(effect)
            case ev.Beat():
                self.pulse.set(effect)
            case ev.WatchDisks():
                self._watch_disks(effect)
            case ev.WatchPeer(node=node, interval=interval):
                self.pulse.ask(node, interval)
            case ev.ReadDisksNow(targets=targets):
                self.disks.read_now(targets)
            case ev.ReadPair():
                ReadingPair(self, effect).begin()
            case ev.Remember():
                self._remember(effect)
            case ev.Mount():
                MountAct(self, effect).begin()
            case ev.Unmount():
                UnmountAct(self, effect).begin()
            case ev.CheckRelease():
                CheckAct(self, effect).begin()
            case ev.StopMachine():
                mounted = tuple(self.host.table.mounts)
                if self.world.checker.permits is not None:
                    self.world.checker.permits.stops(self.host.name, self.host.boot, mounted)
                self.host.reset()

    def _watch_disks(self, asked: ev.WatchDisks) -> None:
        self.disks.set(asked)
        self._mounts_said = self._held_said = None
        self.look_at_locks()
        self.look_at_mounts()
        if self.host.hazards:
            self.tell(ev.HazardsSeen(self.host.hazards))

    def _report(self, report: ev.Report) -> None:
        world, name = self.world, self.host.name
        uptime = int(self.kernel.now - self.host.boot_began)
        status = report.status.model_copy(update={"uptime_seconds": uptime})
        if self.pending_since is None:
            self.pending_since = self.actor.clock(self.kernel.now)

        def written(answer: Written | None) -> None:
            ok = answer is not None and answer.outcome is Outcome.OK and answer.object is not None
            if ok and answer is not None and answer.object is not None:
                self.report, self.pending_since = answer.object.version, None
            self.tell(ev.Reported(report.op, ok))

        self.client.call(lambda: world.store.report(name, status, name), written, REPORT_WITHIN)

    def _remember(self, asked: ev.Remember) -> None:
        wait = self.kernel.random.uniform(*STORE_TAKES)
        self.kernel.after(wait, self.host.actor, self._durable, asked)

    def _durable(self, asked: ev.Remember) -> None:
        """The kernel has it on disk. Of an agent that was killed meanwhile, it may or may not have got that far."""
        if self.alive or self.kernel.random.random() < 0.5:
            self.host.memory.remember(asked.cluster, asked.epochs, asked.mounts)
        self.kernel.at(self.kernel.now, self.actor, self.tell, ev.Stored(asked.op, True))
