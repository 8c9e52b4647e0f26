"""One task a pair: feeds each machine what concerns it, restarts it when it breaks, and keeps the fuse's numbers.

Here: routing and life of the tasks. Handlers and watches call in from the event loop and return at once. Not here: any
decision; which one pair machine exists is decided by its object alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ostkeeper.api import OST, FenceDevice, OSSPair
from ostkeeper.api.common import Resource
from ostkeeper.controller.index import Index
from ostkeeper.controller.objects import Json, key_of
from ostkeeper.controller.perform import Performer
from ostkeeper.core.events import (
    NODE,
    Beat,
    Beaten,
    Claims,
    Deposed,
    Effect,
    Event,
    Gone,
    Led,
    NodeSeen,
    NodeState,
    PoliciesTried,
    Problem,
    Proven,
    Seen,
    Tell,
)
from ostkeeper.core.fuse import servers_of
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.ports import Clock, Cluster
from ostkeeper.shell import Machine, drive

logger = logging.getLogger(__name__)
RESTART_FIRST = 1.0
RESTART_MOST = 60.0
LOAD = 10.0
"""Problems are looked for again after this many times what it took the last time: in a small cluster at once, in one with
10,000 OSTs a few times a second."""

MakeMachine = Callable[[str, Heartbeats], "Machine[Event, Effect]"]
MakePerformer = Callable[[str, "asyncio.Queue[Event]"], Performer]


@dataclass(slots=True)
class PairTask:
    """One pair's machine, running."""

    key: str
    task: asyncio.Task[None] | None = None
    inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    claims: tuple[Problem, ...] = ()
    footing: tuple[object, ...] = ()
    """UID, servers and devices that the pair names: when they change, all that concerns it is shown again."""


class Supervisor:
    """All pairs of one operator. Everything is called from one event loop."""

    def __init__(
        self,
        index: Index,
        heartbeats: Heartbeats,
        clock: Clock,
        cluster: Cluster,
        machine: MakeMachine,
        performer: MakePerformer,
    ) -> None:
        self.index, self.heartbeats = index, heartbeats
        self._clock, self._cluster = clock, cluster
        self._machine, self._performer = machine, performer
        self._tasks: dict[str, PairTask] = {}
        self._pairs_of: dict[str, list[str]] = {}
        """The pairs that name a server: one, where nothing is wrong."""
        self._nodes: dict[str, NodeState] = {}
        self._term = ""
        self._begun = 0
        self._policies: PoliciesTried | None = None
        self.problems: tuple[Problem, ...] = ()
        """What is wrong, as last looked for."""
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._late: list[tuple[list[str], Event]] = []
        """Events that wait for the problems to be looked for, so that no machine sees an object before its claims."""
        self._looking: asyncio.TimerHandle | None = None
        self._look_takes = 0.0
        self.changed: Callable[[], None] = lambda: None
        """Called when specs have changed, after the problems were looked for."""

    # --- what the watches say

    def show(self, kind: type[Resource], raw: Json) -> None:
        """A new version of an object."""
        found, spec_changed = self.index.put(kind, raw)
        key = key_of(raw)
        if found is None:
            self._look_soon()
            return
        concerned = self.index.pairs_of(kind.kind, key, found)
        if spec_changed:
            self._late.append((concerned, Seen(found)))
            self._look_soon()
        else:
            self._deliver(concerned, Seen(found))
        if isinstance(found, OSSPair):
            self._count(found)

    def gone(self, kind: str, key: str) -> None:
        """A watch or a sweep said that an object is gone."""
        concerned = self.index.pairs_of(kind, key)
        found = self.index.drop(kind, key)
        if kind == "OSSPair":
            self._end(key, found.servers if isinstance(found, OSSPair) else ())
        self._late.append((concerned, Gone(kind, key)))
        self._look_soon()

    def beaten(self, beat: Beat) -> None:
        """An agent's lease. `Heartbeats` knows already."""
        self._deliver_to_server(beat.node, Beaten(beat))

    def proven(self) -> None:
        """The lease watch lives. `Heartbeats` knows already."""
        for running in self._tasks.values():
            running.inbox.put_nowait(Proven())

    def node(self, state: NodeState) -> None:
        """A Kubernetes Node or its lease."""
        self._nodes[state.name] = state
        self._deliver_to_server(state.name, NodeSeen(state))

    def node_gone(self, name: str) -> None:
        """A Kubernetes Node was deleted: its server has no such witness any more."""
        self._nodes.pop(name, None)
        self._deliver_to_server(name, Gone(NODE, name))

    def policies(self, tried: PoliciesTried) -> None:
        """The admission policies were tried."""
        self._policies = tried
        self._broadcast(tried)

    def led(self, term: str) -> None:
        """This operator leads: all clocks start again."""
        self._term = term
        self.heartbeats.restart(self._clock.monotonic())
        self._broadcast(Led(self._begin()))

    def went_back(self) -> None:
        """etcd was restored: what was seen may be newer than what is. Forget the leases, and begin as a new leader does.

        Versions that went back would look like leases that never move again, and like objects not worth reading.
        """
        self.heartbeats.pulses.clear()
        if self._term:
            self.led(self._term)

    def _begin(self) -> str:
        """What a machine is to call the term: never the same twice, since a machine that begins anew counts its nonces anew."""
        self._begun += 1
        return f"{self._term}.{self._begun}"

    def deposed(self) -> None:
        """This operator does not lead any more."""
        self._term = ""
        self._broadcast(Deposed())

    def problem_of(self, kind: str, key: str) -> Problem | None:
        """What is wrong with an object, as last looked for."""
        return next((p for p in self.problems if (p.kind, p.key) == (kind, key)), None)

    def device(self, key: str) -> FenceDevice | None:
        """A FenceDevice as the watch showed it last."""
        return self.index.devices.get(key)

    async def close(self) -> None:
        """End all tasks. Mounts stay, as everywhere."""
        tasks = [running.task for running in self._tasks.values() if running.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- delivering

    def _deliver(self, keys: Iterable[str], event: Event) -> None:
        for key in keys:
            if running := self._tasks.get(key):
                running.inbox.put_nowait(event)

    def _deliver_to_server(self, server: str, event: Event) -> None:
        self._deliver(self._pairs_of.get(server, ()), event)

    def _broadcast(self, event: Event) -> None:
        self._deliver(list(self._tasks), event)

    def _look_soon(self) -> None:
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(min(1.0, LOAD * self._look_takes), self._look)

    def _look(self) -> None:
        """Look for problems between objects; then show the objects, and start the tasks of new pairs."""
        self._looking = None
        began = self._clock.monotonic()
        self.problems = self.index.problems()
        self._problems = self.index.by_pair(self.problems)
        self._look_takes = self._clock.monotonic() - began
        for key, running in self._tasks.items():
            problems = self._problems.get(key, ())
            if problems != running.claims:
                running.claims = problems
                running.inbox.put_nowait(Claims(problems))
        self._pairs_of = {}
        for pair in self.index.pairs.values():
            for server in pair.servers:
                self._pairs_of.setdefault(server, []).append(pair.key)
        self.heartbeats.declared(self._pairs_of)
        late, self._late = self._late, []
        for keys, event in late:
            self._deliver(keys, event)
        for pair in list(self.index.pairs.values()):
            self._settle(pair)
        self.changed()

    def _settle(self, pair: OSSPair) -> None:
        """Start a new pair's task; show everything again to one that stands on other objects than before."""
        self._count(pair)
        footing = (pair.metadata.uid, pair.servers, tuple(_feed_devices(pair)))
        running = self._tasks.get(pair.key)
        if running is None:
            running = self._tasks[pair.key] = PairTask(pair.key, footing=footing)
            running.task = asyncio.create_task(self._keep(running), name=f"pair {pair.key}")
        elif running.footing != footing:
            running.footing = footing
            for event in self._facts(pair):
                running.inbox.put_nowait(event)

    # --- the tasks

    async def _keep(self, running: PairTask) -> None:
        """Drive one pair's machine; after a bug of ours a fresh one, which knows nothing and waits its time again."""
        rest = RESTART_FIRST
        while True:
            running.inbox = asyncio.Queue()
            self._greet(running)
            performer = self._performer(running.key, running.inbox)
            began = self._clock.monotonic()
            try:
                await drive(self._machine(running.key, self.heartbeats), running.inbox, performer, self._clock)
            except Exception as error:
                logger.exception("the machine of pair %s broke; a fresh one starts in %.0fs", running.key, rest)
                await self._tell_broken(running.key, error)
            finally:
                performer.close()
            if self._clock.monotonic() - began > RESTART_MOST:
                rest = RESTART_FIRST
            await asyncio.sleep(rest)
            rest = min(RESTART_MOST, rest * 2)

    def _greet(self, running: PairTask) -> None:
        """All that a new machine has to know, its claims and the objects first, the leadership last."""
        running.claims = self._problems.get(running.key, ())
        running.inbox.put_nowait(Claims(running.claims))
        if pair := self.index.pairs.get(running.key):
            for event in self._facts(pair):
                running.inbox.put_nowait(event)
        if self._policies:
            running.inbox.put_nowait(self._policies)
        if self._term:
            running.inbox.put_nowait(Led(self._begin()))

    def _facts(self, pair: OSSPair) -> list[Event]:
        beats = [self.heartbeats.pulses[name].beat for name in pair.servers if self.heartbeats.known(name)]
        return [
            *(Seen(found) for found in self.index.related(pair)),
            *(NodeSeen(self._nodes[name]) for name in pair.servers if name in self._nodes),
            *(Beaten(beat) for beat in beats),
        ]

    def _end(self, key: str, servers: Iterable[str]) -> None:
        running = self._tasks.pop(key, None)
        if running and running.task:
            running.task.cancel()
        for server in servers:
            self.heartbeats.servers.pop(server, None)
            self.heartbeats.out.pop(server, None)

    async def _tell_broken(self, key: str, error: Exception) -> None:
        pair = self.index.pairs.get(key)
        message = (
            f"a bug of the operator: {type(error).__name__}: {error}. A fresh machine starts; its log has the rest"
        )
        tell = Tell("OSSPair", key, pair.metadata.uid if pair else "", "Warning", "MachineBroken", message)
        await self._cluster.tell(tell)

    # --- the fuse

    def _count(self, pair: OSSPair) -> None:
        """Tell the fuse about the servers of a pair: whose failures at one moment count together."""
        members = self.index.members.get(pair.key, {}).values()
        osts = [found for found in members if isinstance(found, OST)]
        self.heartbeats.servers.update(servers_of(pair, osts, self.index.devices))


def _feed_devices(pair: OSSPair) -> list[str]:
    """The devices that a pair's feeds name, in order."""
    return [feed.device_name for node in pair.spec.nodes for level in node.fencing for feed in level.feeds]
