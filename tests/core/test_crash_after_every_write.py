"""Every run is told again from every point where it could be cut off, as patroni's quorum tests do.

After write k (or the k-th off that arrived) the operator is gone; another one leads three seconds later and has to come to
the same end. Likewise every write meets a conflict, fails, or is committed while its answer is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from core.story import happen, world_of
from core.world import World
from ostkeeper.core import events as e

pytestmark = pytest.mark.sim

NEW_LEADER_AFTER = 3.0


@dataclass(frozen=True)
class Run:
    """One run: what is given, what happens, and how long it may take."""

    given: str
    events: tuple[tuple[float | str, str], ...]
    """Each at a second, or a moment after a phase is first written."""
    until: float


BOTH = "Automatic; levels pdus, bmc"
RUNS = {
    "power cut": Run(BOTH, ((2, "oss1 loses its mains"),), 45),
    "stuck outlet, second level": Run(BOTH, ((1, "right is stuck"), (2, "oss1 panics")), 60),
    "heartbeat returns in Fencing": Run(
        "Automatic; levels pdus", ((1, "right is silent"), (2, "oss1 hangs"), ("Blocked", "oss1 goes on")), 120
    ),
    "restart": Run(
        "Manual; levels pdus, bmc",
        ((1, "oss1 takes 5s to boot"), (2, "oss1 panics"), ("AwaitingApproval", "ann answers Restart")),
        60,
    ),
    "release overdue": Run(
        BOTH + "; releaseTimeout 5s",
        (
            (1, "oss1 cannot unmount"),
            (2, 'edit pair {"maintenance": ["oss1"]}'),
            ("AwaitingApproval", "ann answers Failover"),
        ),
        90,
    ),
    "switchover": Run(BOTH, ((2, 'edit ost 0000 {"serveFrom": "Partner"}'),), 30),
    "unmounted": Run(BOTH, ((2, 'edit ost 0000 {"desired": "Unmounted"}'),), 20),
    "adoption": Run("Manual; levels pdus; not adopted; oss2 has OST0000 mounted", (), 30),
    "drill": Run(
        "Manual; levels bmc; homes oss2; not drilled",
        (
            (1, "oss1 takes 5s to boot"),
            (2, 'edit pair {"drill": {"node": "oss1", "level": "bmc", "id": "d1"}}'),
        ),
        60,
    ),
    "dismissed from Blocked": Run(
        "Automatic; levels bmc",
        ((1, "bmc-oss1 is silent"), (2, "oss1 panics"), ("Blocked", "ann answers Dismiss")),
        120,
    ),
    "confirmed dead by a person": Run(
        "Automatic; levels bmc",
        (
            (1, "bmc-oss1 is silent"),
            (2, "oss1 panics"),
            ("Blocked", "oss1 loses its mains"),
            ("Blocked", "ann answers ConfirmDead"),
        ),
        90,
    ),
    "rejoin": Run(BOTH + "; rejoin PowerOn", ((1, "oss1 takes 5s to boot"), (2, "oss1 panics")), 60),
}


def start(run: Run) -> World:
    world = world_of(run.given)
    for when, words in run.events:
        act = lambda w=words: happen(world, w)  # noqa: E731
        if isinstance(when, str):
            _upon(world, when, act)
        else:
            world.clock.at(world.zero + when, act)
    return world


def _upon(world: World, phase: str, act: Callable[[], None]) -> None:
    """Run it once, a little after the newest Failover has entered a phase."""

    def look() -> None:
        if world.phase() == phase:
            world.clock.after(1.0, act)
        else:
            world.clock.after(0.25, look)

    look()


def matters(write: e.Effect) -> bool:
    return isinstance(write, e.WritePair | e.CreateFailover | e.WriteFailover)


def end_of(world: World) -> tuple[object, ...]:
    """What has to be the same, whatever was interrupted: mounts, grants, power and how the last Failover ended."""
    grants = tuple((a.target, a.node, a.intent) for a in world.status.assignments)
    fo = world.last if world.failovers else None
    how = (fo.spec.type, fo.spec.node, fo.phase) if fo else ()
    systems = tuple((s.name, s.system) for s in world.floor.servers.values())
    feeds = tuple((d.name, tuple(sorted(d.outlets.items()))) for d in world.floor.devices.values())
    return world.mounted(), grants, systems, how, world.status.active_failover, feeds


def check(world: World) -> None:
    assert not world.floor.overlaps
    assert not world.store.refusals
    assert not world.store.broken
    assert all(s.stops == 0 for s in world.floor.servers.values())


def interrupted(run: Run, nth: int, word: str, expected: tuple[object, ...]) -> tuple[World, bool]:
    """The run with a fault at its n-th write, until it has come to its end; whether there was an n-th write."""
    world, count = start(run), 0

    def again() -> None:
        if world.operator is None:
            world.start_operator()

    def hook(effect: e.Effect) -> str:
        nonlocal count
        if not (matters(effect) or isinstance(effect, e.CutPower)):
            return ""
        count += 1
        if count != nth:
            return ""
        if word == "crash":
            world.clock.after(NEW_LEADER_AFTER, again)
        return word

    world.write_hook = hook
    if word == "crash":
        world.cut_hook = hook
    at = 0.0
    while at < run.until:
        at += 5
        world.run(at)
        if count >= nth and world.operator is not None and end_of(world) == expected:
            world.run(at + 5)
            break
    return world, count >= nth


@pytest.mark.parametrize("name", RUNS)
def test_run_comes_to_the_same_end_after_a_crash_behind_every_write(name: str) -> None:
    run = RUNS[name]
    whole = start(run)
    whole.run(run.until)
    check(whole)
    expected, nth = end_of(whole), 1
    while True:
        world, there = interrupted(run, nth, "crash", expected)
        check(world)
        assert end_of(world) == expected, f"crash after write {nth}\n" + "\n".join(world.log.lines)
        if not there:
            return
        nth += 1


@pytest.mark.parametrize("word", ["conflict", "lost", "failed"])
@pytest.mark.parametrize("name", ["power cut", "heartbeat returns in Fencing", "switchover"])
def test_run_comes_to_the_same_end_when_any_write_meets_a_fault(name: str, word: str) -> None:
    run = RUNS[name]
    whole = start(run)
    whole.run(run.until)
    expected, nth, there = end_of(whole), 0, True
    while there:
        nth += 1
        world, there = interrupted(run, nth, word, expected)
        check(world)
        assert end_of(world) == expected, f"{word} at write {nth}\n" + "\n".join(world.log.lines)
