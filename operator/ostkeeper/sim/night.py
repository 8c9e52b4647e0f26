"""One night on a user's own site: the faults that were asked for, nobody at hand, until nothing moves any more.

Here: how long it is watched, when an OST counts as served, and what is told of it all. Not here: seeded nights and what
must hold in them (`run`), many nights (`fmea`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.api.phases import TERMINAL
from ostkeeper.core.claims import pair_key
from ostkeeper.sim import run
from ostkeeper.sim.config import Settings, Site
from ostkeeper.sim.faults import KINDS, Fault
from ostkeeper.sim.narrate import Ended, Line, Narrator, Night, Served, waits_for
from ostkeeper.sim.world import World

GLANCE = 1.0
"""Seconds between two looks at who serves what."""
QUIET = 30.0
"""Seconds without any change after which a night is over: all is served, or a person is asked."""
LONGEST = 1800.0
"""Seconds after which a night is over in any case: twice the usual time for a boot."""


@dataclass(slots=True)
class Watch:
    """What is seen of the OSTs, glance by glance."""

    world: World
    start: float
    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """From when to when each was not served, seconds from the start."""

    def glance(self) -> None:
        """Look at all of them."""
        now = self.world.kernel.now - self.start
        for ost in self.world.site.osts:
            if ost.spec.desired == "Mounted" and not server_of(self.world, ost):
                spans = self.spans.setdefault(ost.name, [])
                goes_on = bool(spans) and spans[-1][1] >= now - 1.5 * GLANCE
                begin = spans.pop()[0] if goes_on else now - GLANCE
                spans.append((round(begin, 3), round(now, 3)))


def server_of(world: World, ost: OST) -> str:
    """The server from which clients can read and write an OST now; empty: none."""
    for host in world.hosts.values():
        if (
            ost.target in host.targets
            and host.running
            and host.mounted(ost.target)
            and not (host.stalled or not host.sees(ost.target))
        ):
            return host.name
    return ""


def simulate(
    site: Site, faults: Sequence[Fault], settings: Settings | None = None, seed: int = 1, longest: float = LONGEST
) -> Night:
    """Play faults on a site and tell what followed. Nobody answers, repairs or presses a button unless a fault says so.

    It is over once nothing has changed for a while and every OST is served or waits for a person; at the latest `longest`
    seconds after the last fault. The same arguments tell the same night in any process.
    """
    world = World(site, seed, settings or Settings())
    world.begin()
    start = world.kernel.now
    narrator = Narrator(lambda: world.kernel.now - start)
    world.store.observers.append(narrator.committed)
    for fault in faults:
        world.kernel.at(start + fault.at, world.kernel.net, narrator.tell, "fault", *_told(fault))
        if fault.until is not None:
            world.kernel.at(start + fault.until, world.kernel.net, narrator.tell, "fault", *_told(fault, end=True))
    run.play(world, faults)
    last = max((fault.until or fault.at for fault in faults), default=0.0)
    watch = Watch(world, start)
    _watch(world, watch, narrator.said, start + last, longest)
    return _night(world, faults, narrator, watch, start, seed)


def _told(fault: Fault, *, end: bool = False) -> tuple[str, str]:
    return (fault.args[0] if fault.args else fault.kind), KINDS[fault.kind].says(fault.args, end=end)


def _watch(world: World, watch: Watch, said: list[Line], last: float, longest: float) -> None:
    """Let time pass until the night is over."""
    seen, quiet_since = -1, world.kernel.now
    served: tuple[str, ...] = ()
    while world.kernel.now < last + longest:
        world.kernel.run(world.kernel.now + GLANCE)
        watch.glance()
        serving = tuple(server_of(world, ost) for ost in world.site.osts)
        if (len(said), serving) != (seen, served):
            seen, served, quiet_since = len(said), serving, world.kernel.now
        calm = world.kernel.now >= max(quiet_since, last) + QUIET
        if calm and (_all_is_well(world) or _waits(world)):
            return


def _all_is_well(world: World) -> bool:
    """Everything that shall be is served, and no Failover is open."""
    wanted = [ost for ost in world.site.osts if ost.spec.desired == "Mounted"]
    open_ = [fo for fo in world.store.every(Failover) if fo.phase not in TERMINAL]
    return all(server_of(world, ost) for ost in wanted) and not open_


def _waits(world: World) -> bool:
    """A person is needed, in every pair that does not serve all."""
    stuck = {pair_key(ost) for ost in world.site.osts if not server_of(world, ost)}
    pairs = world.store.every(OSSPair)
    asked = {pair.key for pair in pairs if waits_for((pair,))}
    return bool(stuck) and stuck <= asked


def _night(world: World, faults: Sequence[Fault], narrator: Narrator, watch: Watch, start: float, seed: int) -> Night:
    last = max((fault.at for fault in faults), default=0.0)
    osts = []
    for ost in world.site.osts:
        stored, node = world.store.find(OST, ost.key), server_of(world, ost)
        state = stored.status.state if stored and stored.status else "Pending"
        spans = tuple(watch.spans.get(ost.name, ()))
        back = max(0.0, spans[-1][1] - last) if spans else 0.0
        gone = not node and ost.spec.desired == "Mounted"
        away = sum(end - begin for begin, end in spans)
        osts.append(Served(ost.name, ost.target, ost.spec.home_node, node, state, away, spans, None if gone else back))
    return Night(
        faults=tuple(fault.sentence for fault in faults),
        lines=tuple(narrator.said),
        osts=tuple(osts),
        failovers=tuple(_ended(fo) for fo in world.store.every(Failover)),
        waits=waits_for(world.store.every(OSSPair)),
        violations=tuple(world.checker.violations),
        seconds=round(world.kernel.now - start, 3),
        events=world.kernel.events,
        seed=seed,
    )


def _ended(fo: Failover) -> Ended:
    status = fo.status
    by, message = (status.answered_by, status.message) if status else ("", "")
    return Ended(fo.name, fo.spec.type, fo.spec.node, fo.phase, by, message)
