"""One run: a night of faults, then everything is repaired and people help, then all that can be served has to be.

In one run of three nobody repairs and nobody answers; `unattended` says what has to hold then.

Here: the order of a run and what it amounts to. Not here: what a seed draws (`draw`), how many runs make a soak (`soak`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.claims import pair_key
from ostkeeper.sim import unattended
from ostkeeper.sim.config import Config, objects_of
from ostkeeper.sim.draw import attended, day_of, draw
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.levers import LEVERS
from ostkeeper.sim.world import World

BOUND = 400.0
"""Seconds within which all is served after the last fault has ended and people began to help."""
LOOK = 5.0
"""Seconds between two looks whether all is served."""
AFTER = 12.0
"""Seconds from the last fault's end to the end of the night: what it set off has to begin before the repair."""
Trace = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What one run amounts to."""

    seed: int
    config: Config
    faults: tuple[Fault, ...]
    violations: tuple[str, ...]
    """What was seen that must never be."""
    unserved: tuple[str, ...]
    """Targets that could be served in the end and were not, each with what is known about it. Where nobody attends: also
    those that wait for a person without saying so."""
    events: int
    seconds: float
    """Of virtual time."""
    transitions: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Nothing that must never be, and everything served."""
        return not self.violations and not self.unserved


def run_seed(seed: int) -> Result:
    """Draw a seed's world and night, and run it."""
    config, faults = draw(seed)
    return simulate(config, faults, seed, helped=attended(seed))


def simulate(
    config: Config, faults: Sequence[Fault], seed: int, trace: Trace | None = None, *, helped: bool = True
) -> Result:
    """Run one night in a world. The same arguments give the same run, event by event, in any process."""
    return night(dawn(config, seed, trace), config, faults, seed, helped=helped)


def dawn(config: Config, seed: int, trace: Trace | None = None) -> World:
    """A world at rest, before the first fault: the same for all seeds of one day."""
    world = World(objects_of(config), day_of(seed), config.settings, trace)
    world.begin()
    return world


def night(world: World, config: Config, faults: Sequence[Fault], seed: int, *, helped: bool = True) -> Result:
    """What becomes of a world at rest. From here on everything random comes from this seed.

    `helped`: after the faults everything is repaired and people answer. Otherwise nobody does either (`unattended`).
    """
    world.kernel.random.seed(seed)
    world.kernel.run(play(world, faults))
    world.checker.look_for_waits()
    unserved: tuple[str, ...] = ()
    if not world.checker.violations:
        if helped:
            mend(world)
        alone = unattended.suffices(config, faults)
        left = partial(missing, world) if helped else partial(unattended.findings, world, alone=alone)
        if not world.kernel.run_until(lambda: not left() or bool(world.checker.violations), BOUND, LOOK):
            unserved = left()
    return Result(
        seed,
        config,
        tuple(faults),
        tuple(world.checker.violations),
        unserved,
        world.kernel.events,
        world.kernel.now,
        world.checker.transitions,
    )


def play(world: World, faults: Sequence[Fault]) -> float:
    """Schedule the faults. Returns the second at which the night is over."""
    kernel, start, over = world.kernel, world.kernel.now, world.kernel.now
    for fault in faults:
        kernel.at(start + fault.at, kernel.net, begin, world, fault)
        if fault.until is not None:
            kernel.at(start + fault.until, kernel.net, end, world, fault)
        over = max(over, start + (fault.until or fault.at))
    return over + AFTER


def begin(world: World, fault: Fault) -> None:
    """A fault happens, or begins to last."""
    world.say("fault", fault.sentence)
    undo = LEVERS[fault.kind](world, *fault.args)
    if undo is not None:
        world.open_faults[fault] = undo


def end(world: World, fault: Fault) -> None:
    """A fault that lasts is over, unless it was ended already, or never took hold."""
    undo = world.open_faults.pop(fault, None)
    if undo is not None:
        world.say("fault", f"over: {fault.sentence}")
        undo()


def mend(world: World) -> None:
    """All faults end, what stands still is repaired, and people help from now on."""
    for fault in tuple(world.open_faults):
        end(world, fault)
    world.repair()
    world.people.apply()
    world.people.help()


def missing(world: World) -> tuple[str, ...]:
    """Targets that should be served and are not, with what is known about each."""
    pairs = {pair.key: pair for pair in world.store.every(OSSPair)}
    late = [(ost.target, unserved(world, pairs.get(pair_key(ost)), ost)) for ost in world.store.every(OST)]
    late += [(target, "retired, and still assigned") for pair in pairs.values() for target in ghosts(world, pair)]
    return tuple(f"{target}: {why}" for target, why in late if why)


def ghosts(world: World, pair: OSSPair) -> list[str]:
    """Targets that no OST declares, that their server reports unmounted in order, and that are assigned all the same."""
    declared = {ost.target for ost in world.store.every(OST)}
    found = []
    for grant in pair.status.assignments if pair.status else ():
        oss = world.store.find(OSS, grant.node)
        reports = oss.status.targets if oss and oss.status else ()
        idle = any(t.target == grant.target and t.state == "Unmounted" and not t.child for t in reports)
        disks = oss.status.disks if oss and oss.status else ()
        clean = any(d.target == grant.target and d.state == "Clean" for d in disks)
        if grant.target not in declared and idle and clean:
            found.append(grant.target)
    return found


def unserved(world: World, pair: OSSPair | None, ost: OST) -> str:
    """Why a target does not count as served; empty: it is."""
    if ost.spec.desired != "Mounted":
        return ""
    grant = pair.status.assignment(ost.target) if pair and pair.status else None
    if pair is None or grant is None:
        return "assigned to nobody"
    host = world.hosts[grant.node]
    if grant.intent == "Serve" and host.running and host.mounted(ost.target):
        return ""
    open_ = pair.status.active_failover if pair.status else ""
    return f"{grant.intent} for {grant.node} at epoch {grant.epoch}, not mounted there{f'; {open_} is open' if open_ else ''}"
