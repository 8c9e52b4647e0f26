"""Random nights: which faults there are, which of them fit the moment, and what has to hold at every moment and in the end.

A night is a list of (seconds to wait, words); the words are those of the scenario files, so that a night that goes wrong
becomes a file. Left out on purpose, since no operator can see it: a person who confirms the death of a server that lives,
and a device that lies about a server that is frozen.
"""

from __future__ import annotations

from core.story import Story, happen, world_of
from core.world import World

SERVER_FAULTS = {
    "panics": ("running",),
    "hangs": ("running",),
    "goes on": ("hung",),
    "resets": ("running", "hung", "panicked"),
    "loses its mains": (),
    "gets its mains back": (),
    "agent dies": (),
    "agent starts": (),
    "loses the API": (),
    "reaches the API": (),
    "loses the LAN": (),
    "is back on the LAN": (),
    "loses its disks": (),
    "sees its disks again": (),
    "cannot unmount": (),
    "can unmount": (),
}
"""By words: the states of the server in which it can happen; none: in all."""
DEVICE_FAULTS = ("silent", "stuck", "deaf", "slow", "unopenable", "reads-on", "well")
WORLD_FAULTS = (
    "the operator crashes",
    "the operator starts",
    "the operator freezes",
    "the operator thaws",
    "the API goes away",
    "the API comes back",
    "the next write conflicts",
    "the next write fails",
    "the next write is lost",
    "the next write crashes the operator",
    "ann answers Failover",
    "ann answers Restart",
    "ann answers Dismiss",
    "ann answers ConfirmDead",
    "ann answers Failback",
    'edit pair {"maintenance": ["oss1"]}',
    'edit pair {"maintenance": []}',
    'edit ost 0000 {"serveFrom": "Partner"}',
    'edit ost 0000 {"serveFrom": "Home"}',
    'edit ost 0001 {"desired": "Unmounted"}',
    'edit ost 0001 {"desired": "Mounted"}',
    "left reboots, outlets on",
    "right reboots",
)
WORDS = tuple(
    [f"{s} {w}" for s in ("oss1", "oss2") for w in SERVER_FAULTS]
    + [f"{d} is {w}" for d in ("left", "right", "bmc-oss1", "bmc-oss2") for w in DEVICE_FAULTS]
    + list(WORLD_FAULTS)
)
GIVEN = (
    "Automatic; levels pdus, bmc; partnerSoak 20s; bootTimeout 60s; releaseTimeout 20s; soak 20s; rejoin PowerOn;"
    " releaseFailed Fence",
    "Automatic; levels bmc; partnerSoak 20s; bootTimeout 60s; releaseTimeout 20s; soak 20s; failback Automatic",
    "Manual; levels bmc, pdus; partnerSoak 20s; bootTimeout 60s; releaseTimeout 20s; soak 20s; automaticAfter 20s",
)
BUSY = ("Holding", "Fencing", "PoweringOn")


def fits(world: World, words: str) -> bool:
    """Whether it can happen now."""
    first, _, rest = words.partition(" ")
    if first in world.floor.servers and rest in SERVER_FAULTS:
        states = SERVER_FAULTS[rest]
        return not states or world.floor.servers[first].system in states
    fo = world.last if world.failovers else None
    if words == "ann answers ConfirmDead":
        return fo is not None and not world.floor.servers[fo.spec.node].could_write
    if "answers" in words:
        return fo is not None and fo.status is not None
    match words:
        case "the operator crashes":
            return world.operator is not None
        case "the operator starts":
            return world.operator is None
        case "the operator freezes":
            return world.operator is not None and world.sleeper is None
        case "the operator thaws":
            return world.sleeper is not None
    return True


def night(given: str, faults: list[tuple[float, str]]) -> tuple[World, Story]:
    """Tell a night: the world at its end, and the story for a scenario file."""
    world, story = world_of(given), Story(given=given)
    at = 0.0
    for wait, words in faults:
        at += wait
        world.run(at)
        if fits(world, words):
            story.events.append((at, words))
            happen(world, words)
            check(world)
    world.run(at + 30)
    check(world)
    story.until = at + 30
    return world, story


def check(world: World) -> None:
    """What has to hold at every moment."""
    assert not world.floor.overlaps
    assert not world.store.refusals
    assert not world.store.broken
    assert all(server.stops == 0 for server in world.floor.servers.values())


HEALING = (
    *(f"{d} is well" for d in ("left", "right", "bmc-oss1", "bmc-oss2")),
    *(
        f"{s} {w}"
        for s in ("oss1", "oss2")
        for w in (
            "goes on",
            "gets its mains back",
            "agent starts",
            "reaches the API",
            "is back on the LAN",
            "sees its disks again",
            "can unmount",
        )
    ),
    "the API comes back",
    'edit pair {"maintenance": []}',
    'edit ost 0001 {"desired": "Mounted"}',
)


def heal(world: World, seconds: float) -> None:
    """Everything is repaired, and time passes: the operator has to come to rest, or to be asking a person."""
    if world.sleeper is not None:
        happen(world, "the operator thaws")
    for words in HEALING:
        if fits(world, words):
            happen(world, words)
    world.write_hook = lambda _: ""
    if world.operator is None:
        world.start_operator()
    world.clock.run(world.now + seconds)
    check(world)


def unrest(world: World) -> str:
    """Why it did not come to rest; empty: it did, or it asks a person."""
    status = world.status
    fo = next((f for f in world.failovers if f.name == status.active_failover), None)
    if status.active_failover and fo is None:
        return f"{status.active_failover} was never created"
    if fo is not None:
        return f"{fo.name} is still {fo.phase}" if fo.phase in BUSY else ""
    if any(n.type == "Failover" for n in status.noted):
        return ""
    mounted = {t for targets in world.mounted().values() for t in targets}
    idle = [a.target for a in status.assignments if a.target not in mounted and alive(world, a.node)]
    return f"{', '.join(idle)} is mounted nowhere, and nobody is asked" if idle else ""


def alive(world: World, node: str) -> bool:
    """Whether a server runs and its agent reaches the API."""
    server = world.floor.servers[node]
    return server.lives and server.api_link
