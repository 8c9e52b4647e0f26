"""The properties of `test_properties` can fail: each catches machines that are broken on purpose, over its own draws.

Here: the mutants, each as replacements of functions of the core, by the property that has to catch them. A mutant that
breaks the undisturbed run as well would prove nothing of the disturbance, so that is looked at, too. Not here: mutants that
the simulator hunts (`ostkeeper.sim.mutants`), those of the agent's machine (`tests/host/test_properties_can_fail.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from core import test_properties as properties
from core.drawn import caught
from core.test_crash_after_every_write import RUNS, end_of, start
from ostkeeper.core import (
    able,
    blocked,
    ending,
    failover,
    fencing,
    heartbeats,
    mirror,
    opening,
    orderly,
    pair,
    plan,
    verdict,
)
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.pair import PairMachine
from ostkeeper.core.verdict import Life, Witnesses
from ostkeeper.core.view import View
from ostkeeper.sim.broken import any_release
from ostkeeper.sim.mutants import Patch, at_work

pytestmark = pytest.mark.scenario

Catches = Callable[..., None]


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *args, **named: value


# --- the operator that takes over


def _own_shots_only(right: Any) -> Any:
    """It powers on what it has cut itself: of its predecessor's shots it knows nothing."""

    def power_on(view: Any, fo: Any, c: Any, now: float, effects: Any) -> bool:
        if fo.phase == "Complete":
            return bool(right(view, fo, c, now, effects))
        own = tuple(s for s in fo.status.shots if any(f.device == s.device_name for f in c.shots))
        status = fo.status.model_copy(update={"shots": own})
        return bool(right(view, fo.model_copy(update={"status": status}), c, now, effects))

    return power_on


def _phase_since_ever(right: Any) -> Any:
    """A phase that it has not seen begin has lasted for ever."""

    def enter(self: Any, phase: str, now: float) -> None:
        taken_over = not self.phase and phase
        right(self, phase, now)
        if taken_over:
            self.phase_since = -math.inf

    return enter


def _answer_lost(right: Any) -> Any:
    """What was answered to its predecessor it takes for Failover."""

    def fencing(view: Any, fo: Any, c: Any, now: float) -> Any:
        if c.began == c.phase_since:
            fo = fo.model_copy(update={"status": fo.status.model_copy(update={"answer": "Failover"})})
        return right(view, fo, c, now)

    return fencing


def _slot_not_read(right: Any) -> Any:
    """It takes the slot again, as if its predecessor had not: another Failover, under an epoch of its own."""

    def create(view: Any, now: float) -> Any:
        if view.term != "t1":
            node = next((n for n in view.servers if view.silent(n) and view.held_by(n)), "")
            return opening.reserve(view, node, "again") if node else right(view, now)
        return right(view, now)

    return create


def _dismissal_forgotten(right: Any) -> Any:
    """That a person dismissed it was told to its predecessor."""

    def abort(view: Any, fo: Any, c: Any, why: str, now: float) -> Any:
        return right(view, fo, c, "seen alive again" if c.began == c.phase_since else why, now)

    return abort


# --- the order, repetitions


def _last_seen(_: Any) -> Any:
    """What comes last is taken, not what is newest."""
    return lambda new, old: True


def _answers_hold_nothing(right: Any) -> Any:
    """What an answer says is stored is not taken in: its watch will show it."""

    def wrote(self: Any, event: Any, now: float) -> None:
        right(self, type(event)(event.op, event.outcome, None, event.detail), now)

    return wrote


def _any_answer(right: Any) -> Any:
    """Any answer is the one that is waited for."""

    def wrote(self: Any, event: Any, now: float) -> None:
        right(self, type(event)(self.view.busy, event.outcome, event.object, event.detail), now)

    return wrote


def _never_busy(right: Any) -> Any:
    """It does not remember that it has asked for the slot."""

    def reserve(view: Any, node: str, why: str) -> Any:
        effects = right(view, node, why)
        view.busy = 0
        return effects

    return reserve


# --- stale observations


def _any_report(_: Any) -> Any:
    """What an agent reported once is what is."""

    def report(self: Any, node: str) -> Any:
        oss = self.osses.get(node)
        return oss.status if oss else None

    return report


def _any_lease(_: Any) -> Any:
    """A lease that differs is a renewal, be it an old one."""
    return lambda version, than: True


def _silence_is_death(right: Any) -> Any:
    """Whose heartbeat is silent has failed."""

    def judge(witnesses: Any, *names: Any) -> Any:
        dead = Witnesses(Life.STALE, Life.STALE, Life.STALE, Life.STALE)
        return right(dead if witnesses.heartbeat is Life.STALE else witnesses, *names)

    return judge


def _unknown_is_stale(right: Any) -> Any:
    """Unknown counts as dead."""

    def witness(*args: Any) -> Any:
        life = right(*args)
        return Life.STALE if life is Life.UNKNOWN else life

    return witness


# --- rest


def _again_and_again(right: Any) -> Any:
    """The pair's conditions are told with every plan."""
    return lambda *args: False


LOST = properties.test_operator_that_is_lost_at_any_moment_changes_no_end
REPEATED = properties.test_observations_and_answers_that_are_repeated_or_old_change_nothing
AGAIN = properties.test_plan_asks_for_nothing_more_on_the_state_that_its_own_step_has_left
LATE = properties.test_watches_that_are_late_each_by_itself_change_no_end
AT_ONCE = properties.test_order_of_what_is_seen_at_one_moment_does_not_matter
PAST = properties.test_what_was_true_once_shoots_and_moves_no_more_than_what_is_true_now
WELL = properties.test_nobody_is_shot_and_nothing_moves_however_stale_the_view_of_a_floor_that_is_well
DEATH = properties.test_stale_view_of_a_death_shoots_and_moves_no_more_than_a_fresh_one
RESTS = properties.test_pair_without_faults_comes_to_rest_from_any_state_and_stays_there

MUTANTS: dict[str, tuple[Catches, tuple[Patch, ...]]] = {
    "own-shots-only": (LOST, ((ending, "power_on", _own_shots_only), (failover, "power_on", _own_shots_only))),
    "phase-since-ever": (LOST, ((Campaign, "enter", _phase_since_ever),)),
    "answer-lost": (LOST, ((failover.HANDLERS, "Fencing", _answer_lost),)),
    "dismissal-forgotten": (LOST, ((blocked, "abort", _dismissal_forgotten),)),
    "slot-not-read": (LOST, ((plan, "create", _slot_not_read),)),
    "last-seen": (LATE, ((pair, "_later", _last_seen),)),
    "answers-hold-nothing": (LATE, ((PairMachine, "_wrote", _answers_hold_nothing),)),
    "answers-hold-nothing, at one moment": (AT_ONCE, ((PairMachine, "_wrote", _answers_hold_nothing),)),
    "any-answer": (REPEATED, ((PairMachine, "_wrote", _any_answer),)),
    "last-seen, repeated": (REPEATED, ((pair, "_later", _last_seen),)),
    "never-busy": (AGAIN, ((opening, "reserve", _never_busy), (orderly, "reserve", _never_busy))),
    "told-again": (AGAIN, ((mirror, "same", _again_and_again),)),
    "any-report": (PAST, ((View, "report", _any_report),)),
    "any-lease": (PAST, ((heartbeats, "newer", _any_lease),)),
    "any-release": (PAST, ((orderly, "released", any_release),)),
    "silence-is-death": (WELL, ((verdict, "judge", _silence_is_death),)),
    "unknown-is-dead": (WELL, ((verdict, "_disk", _unknown_is_stale), (verdict, "_network", _unknown_is_stale))),
    "asks-no-partner": (
        DEATH,
        (
            (verdict, "judge", _silence_is_death),
            (able, "partner_unable", _always("")),
            (fencing, "partner_unable", _always("")),
        ),
    ),
    "never-served-again": (RESTS, ((orderly, "intents", _always([])),)),
    "never-home": (RESTS, ((orderly, "_failback", _always(None)),)),
}


def broken_anyway(name: str) -> bool:
    """Whether the run ends otherwise though nothing disturbs it."""
    world = start(RUNS[name])
    world.run(RUNS[name].until)
    return end_of(world) != properties.undisturbed(name)[0]


def every_run(test: Catches) -> list[str]:
    """The runs that a property is told over; one without a name: it is told over none."""
    return sorted(RUNS) if any(mark.name == "parametrize" for mark in getattr(test, "pytestmark", ())) else [""]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_property_catches_the_mutant_over_its_own_draws(mutant: str) -> None:
    test, patches = MUTANTS[mutant]
    for name in every_run(test):
        told = {"name": name} if name else {}
        if name:
            properties.undisturbed(name)
        with at_work(patches):
            if caught(test, **told):
                assert not name or test is AGAIN or not broken_anyway(name), f"{name}: it shows undisturbed"
                return
    raise AssertionError(f"{mutant}: nobody notices")
