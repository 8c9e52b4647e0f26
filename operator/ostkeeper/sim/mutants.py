"""Operators and agents that are broken on purpose: whoever hunts must find each, or finds nothing worth knowing.

Here: each mutant as replacements of functions of the core or of an agent's steps, the nights that give it an occasion, and
the hunt, which counts runs until something is seen that must never be. Not here: what is seen (`checker`, `core.invariants`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ostkeeper.api.oss import Released
from ostkeeper.api.osspair import ReleasedWarrant
from ostkeeper.core import (
    blocked,
    ending,
    failover,
    fencing,
    hosttargets,
    nonces,
    opening,
    orderly,
    permission,
)
from ostkeeper.core.campaign import Rounds
from ostkeeper.core.power import PowerState
from ostkeeper.core.view import View
from ostkeeper.core.writes import assign, write_failover
from ostkeeper.sim.acts import MountAct
from ostkeeper.sim.config import Config, Settings
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.run import simulate

MOST = 60
"""Runs after which a hunt gives up."""
Night = Callable[[Random], tuple[Config, tuple[Fault, ...]]]
Patch = tuple[Any, str, Callable[[Any], Any]]
"""Where a function stands, its name there, and what makes the broken one from the right one."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way of being broken."""

    sentence: str
    night: Night
    patches: tuple[Patch, ...]


@contextmanager
def at_work(patches: tuple[Patch, ...]) -> Iterator[None]:
    """Break it, and mend it again. Raises LookupError where a function is not there any more: the mutant is out of date."""
    saved: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, broken in patches:
            right = owner[name] if isinstance(owner, dict) else vars(owner).get(name)
            if right is None:
                raise LookupError(f"{owner}: has no {name} any more; the mutant is out of date")
            saved.append((owner, name, right))
            _put(owner, name, broken(right))
        yield
    finally:
        for owner, name, right in reversed(saved):
            _put(owner, name, right)


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def hunt(name: str) -> int:
    """In which run the mutant was found; 0: in none."""
    mutant = MUTANTS[name]
    with at_work(mutant.patches):
        for seed in range(1, MOST + 1):
            if not simulate(*mutant.night(Random(seed)), seed).ok:
                return seed
    return 0


# --- nights


def _at(random: Random, least: float, most: float) -> float:
    return round(random.uniform(least, most), 2)


def _dies(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs and goes on much later."""
    return Config(levels=random.choice(("pdus,bmc", "bmc"))), (Fault("host-hangs", _at(random, 1, 4), 70.0, ("oss1",)),)


def _dies_on_pdus(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    return Config(levels="pdus"), _dies(random)[1]


def _dies_unseen(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """It hangs, and its one fence device falls silent once it is suspected."""
    silent = Fault("device-silent", _at(random, 9.0, 11.5), 60.0, ("bmc-oss1",))
    return Config(levels="bmc"), (Fault("host-hangs", 1.0, 70.0, ("oss1",)), silent)


def _asked(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Manual, and nobody answers before the night is over."""
    return Config(mode="Manual"), (Fault("host-panics", _at(random, 1, 4), 40.0, ("oss1",)),)


def _moved(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A planned move of a target."""
    config = Config(failback="Automatic")
    return config, (Fault("edit", _at(random, 1, 4), 40.0, ("scratch-ost0000.serveFrom=Partner",)),)


def _moved_twice(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Unmounted and mounted again; then moved."""
    first = Fault("edit", 1.0, _at(random, 8, 12), ("scratch-ost0000.desired=Unmounted",))
    return Config(), (first, Fault("edit", _at(random, 20, 24), 50.0, ("scratch-ost0000.serveFrom=Partner",)))


def _isolated_beside_a_liar(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server that nobody reaches writes on, its BMC lies, and a person says: Failover."""
    return Config(levels="bmc", mode="Manual"), (
        Fault("cut", 1.0, 80.0, ("oss1", "all")),
        Fault("device-lying", 1.5, 80.0, ("bmc-oss1",)),
        Fault("answers", _at(random, 30, 36), None, ("Failover",)),
    )


def _stuck(answer: str) -> Night:
    """It hangs, its BMC takes orders and switches nothing; in Blocked a person answers."""

    def night(random: Random) -> tuple[Config, tuple[Fault, ...]]:
        return Config(levels="bmc"), (
            Fault("host-hangs", 1.0, 75.0, ("oss1",)),
            Fault("device-stuck", 0.5, 60.0, ("bmc-oss1",)),
            Fault("answers", _at(random, 20, 25), None, (answer,)),
        )

    return night


def _dead_and_silent(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """It is dead, no device answers, and a person has looked: ConfirmDead."""
    return Config(levels="bmc"), (
        Fault("host-loses-power", 1.0, 110.0, ("oss1",)),
        Fault("answers", _at(random, 11, 13), None, ("Failover",)),
        Fault("answers", _at(random, 45, 50), None, ("ConfirmDead",)),
    )


def _fails_to_mount(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """What takes over cannot mount at first."""
    return Config(), (
        Fault("host-dies", 1.0, None, ("oss1",)),
        Fault("mounts-fail", 1.0, _at(random, 30, 40), ("oss2",)),
    )


def _hung_mount(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A mount hangs, its agent is started anew, and the target is to move."""
    return Config(), (
        Fault("edit", 1.0, 8.0, ("scratch-ost0000.desired=Unmounted",)),
        Fault("mounts-hang", 5.0, 60.0, ("oss1",)),
        Fault("agent-restarts", _at(random, 12, 14), None, ("oss1",)),
        Fault("edit", _at(random, 20, 24), 60.0, ("scratch-ost0000.serveFrom=Partner",)),
    )


def _waits(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """MMP is not to be cleared."""
    return Config(mmp="Wait"), _dies(random)[1]


def _drilled(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    return Config(settings=Settings(drilled=False)), (Fault("drill", _at(random, 1, 4), 100.0, ("oss1",)),)


# --- how they are broken


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *args, **named: value


def _unknown_is_off(right: Any) -> Any:
    def take(self: Rounds, op: int, reading: Any, now: float) -> None:
        unknown = reading.state is PowerState.UNKNOWN
        right(self, op, replace(reading, state=PowerState.OFF) if unknown else reading, now)

    return take


def _on_is_off(right: Any) -> Any:
    def take(self: Rounds, op: int, reading: Any, now: float) -> None:
        right(self, op, replace(reading, state=PowerState.OFF, watts=None), now)

    return take


def _straight_to_fencing(_: Any) -> Any:
    def holding(view: Any, fo: Any, c: Any, now: float) -> Any:
        shots = fencing.shots_of(fo, fo.status, 0)
        update = {"hold_epoch": view.status.epoch, "level": 0, "shots": shots}
        return [] if view.busy else write_failover(view, fo, "at once", phase="Fencing", **update)

    return holding


def _released_at_once(_: Any) -> Any:
    def release(turn: Any, target: Any, grant: Any) -> None:
        target.released = Released(epoch=grant.epoch, boot_id=turn.host.server.boot_id)

    return release


def _any_release(_: Any) -> Any:
    def released(view: Any, a: Any) -> Any:
        report = view.target_report(a.node, a.target)
        done = report.released if report else None
        if a.intent != "Release" or done is None:
            return None
        return ReleasedWarrant(node=a.node, epoch=a.epoch, dirty=done.dirty)

    return released


def _checked_never(_: Any) -> Any:
    def checked(self: Any, target: Any, event: Any, now: float) -> None:
        boot = self.host.server.boot_id
        target.releasing = Released(epoch=target.busy_epoch, boot_id=boot)

    return checked


def _same_epoch(_: Any) -> Any:
    def same(assignments: Any, targets: Any, epoch: int, **named: Any) -> Any:
        return assign(assignments, targets, epoch - 1, **named)

    return same


def _partner_s_feeds(right: Any) -> Any:
    def snapshot(view: Any, node: str, **named: Any) -> Any:
        return right(view, view.pair.partner_of(node), **named)

    return snapshot


def _word_clears(right: Any) -> Any:
    def seal(certificate: Any) -> Any:
        word = certificate.confirmed_by is not None
        return right(certificate.model_copy(update={"clear_mmp": True}) if word else certificate)

    return seal


def _sealed(**update: Any) -> Callable[[Any], Any]:
    """A certificate that says something else."""
    return lambda right: lambda certificate: right(certificate.model_copy(update=update))


def _still_whatever(right: Any) -> Any:
    def disk_report(target: Any, now: float) -> Any:
        report = right(target, now)
        return report.model_copy(update={"state": "Still"}) if report.state == "Advancing" else report

    return disk_report


def _power_first(right: Any) -> Any:
    def abort(view: Any, fo: Any, c: Any, why: str, now: float) -> Any:
        effects: list[Any] = []
        if fo.status.shots and not ending.power_on(view, fo, c, now, effects) and effects:
            return effects
        return right(view, fo, c, why, now)

    return abort


def _everything_moves(right: Any) -> Any:
    def relocating(view: Any, fo: Any, c: Any, now: float) -> Any:
        held = View.held_by
        setattr(View, "held_by", lambda self, _: self.status.assignments)  # noqa: B010
        try:
            return right(view, fo, c, now)
        finally:
            setattr(View, "held_by", held)  # noqa: B010

    return relocating


def _clear_always(right: Any) -> Any:
    def clearing(host: Any, target: Any, grant: Any, now: float) -> Any:
        told = right(host, target, grant, now)
        return permission.Clearing(True, why="why not") if target.reading and target.reading.ordinary else told

    return clearing


def _prepared_at_once(right: Any) -> Any:
    def prepared(turn: Any, target: Any, grant: Any) -> bool:
        right(turn, target, grant)
        return target.reading is not None

    return prepared


def _never_again(right: Any) -> Any:
    def fail(self: Any, target: Any, reason: str, message: str, now: float) -> None:
        right(self, target, reason, message, now)
        target.retry_at = 1e12

    return fail


def _no_flush(_: Any) -> Any:
    return lambda self: None


def _first_feed(right: Any) -> Any:
    return lambda fo, level: right(fo, level)[:1]


def _no_reading(_: Any) -> Any:
    return property(lambda self: True)


def _read_long_ago(right: Any) -> Any:
    def shoot(view: Any, fo: Any, c: Any, now: float) -> Any:
        c.read_began = max(now - 5.0, c.phase_since)
        return [replace(e, deadline=now + 60.0) if hasattr(e, "deadline") else e for e in right(view, fo, c, now)]

    return shoot


def _without_shots(right: Any) -> Any:
    return lambda fo, status, level: ()


def _never_noted(right: Any) -> Any:
    return lambda view, fo, certificate: view.status.fenced


MUTANTS: dict[str, Mutant] = {
    "unknown-is-off": Mutant("Unknown counts as OFF", _dies_unseen, ((Rounds, "take", _unknown_is_off),)),
    "on-is-off": Mutant("any answer counts as OFF", _stuck("Restart"), ((Rounds, "take", _on_is_off),)),
    "shoots-before-the-hold": Mutant(
        "it fences without a Hold", _dies, ((failover.HANDLERS, "Holding", _straight_to_fencing),)
    ),
    "forgets-a-feed": Mutant(
        "one feed of a level is not cut and not read", _dies_on_pdus, ((fencing, "level_feeds", _first_feed),)
    ),
    "needs-no-reading": Mutant("no round has to be read", _dies, ((Rounds, "done", _no_reading),)),
    "shoots-on-an-old-read": Mutant("the quorum read is one of long ago", _dies, ((fencing, "shoot", _read_long_ago),)),
    "shoots-unwritten": Mutant(
        "an off is not written before it is done", _dies, ((fencing, "shots_of", _without_shots),)
    ),
    "asks-nobody": Mutant(
        "Manual acts as Automatic",
        _asked,
        (
            (opening, "not_unasked", _always("")),
            (failover, "not_unasked", _always("")),
        ),
    ),
    "holds-at-the-same-epoch": Mutant("a Hold takes no new epoch", _dies, ((failover, "assign", _same_epoch),)),
    "moves-at-the-same-epoch": Mutant(
        "an orderly move takes no new epoch", _moved, ((orderly, "assign", _same_epoch),)
    ),
    "aborts-at-the-same-epoch": Mutant(
        "a target is given back at its old epoch", _stuck("Dismiss"), ((ending, "assign", _same_epoch),)
    ),
    "forgets-who-is-dead": Mutant("the dead boot is not noted", _dies, ((failover, "with_fenced", _never_noted),)),
    "moves-everything": Mutant(
        "all targets move, held or not", _dies, ((failover.HANDLERS, "Relocating", _everything_moves),)
    ),
    "takes-any-release": Mutant(
        "a release of another epoch counts", _moved_twice, ((orderly, "released", _any_release),)
    ),
    "powers-on-in-hold": Mutant(
        "power comes back before the grant", _stuck("Dismiss"), ((blocked, "abort", _power_first),)
    ),
    "word-clears-mmp": Mutant("ConfirmDead clears MMP", _dead_and_silent, ((fencing, "seal", _word_clears),)),
    "believes-still-disks": Mutant(
        "a moving disk is reported still, and counts as unmoved",
        _isolated_beside_a_liar,
        (
            (nonces, "disk_report", _still_whatever),
            (nonces, "_moved", _always(False)),
            (fencing, "vetoes", _always("")),
        ),
    ),
    "stays-blocked": Mutant("Blocked is never left", _dies_unseen, ((failover.HANDLERS, "Blocked", _always([])),)),
    "releases-at-once": Mutant(
        "released is told before it is", _moved, ((hosttargets, "_release", _released_at_once),)
    ),
    "mounts-unprepared": Mutant(
        "neither a fresh read nor the store is waited for", _dies, ((hosttargets, "_prepared", _prepared_at_once),)
    ),
    "clears-uncertified": Mutant(
        "MMP is cleared though the policy says Wait", _waits, ((permission, "clearing", _clear_always),)
    ),
    "mounts-unflushed": Mutant("what is cached is not flushed", _dies, ((MountAct, "flush_cache", _no_flush),)),
    "certifies-another-epoch": Mutant(
        "a certificate of another Hold is used", _dies, ((fencing, "seal", _sealed(hold_epoch=41)),)
    ),
    "certifies-another-boot": Mutant(
        "the boot ID is not looked at", _dies, ((fencing, "seal", _sealed(boot_id="oss1-boot-0")),)
    ),
    "certifies-no-disk": Mutant("no disk is read after the off", _dies, ((fencing, "seal", _sealed(disks=())),)),
    "certifies-no-feed": Mutant("no feed is proven", _dies, ((fencing, "seal", _sealed(feeds=())),)),
}
"""By name."""
