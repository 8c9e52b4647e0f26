"""What holds of the pair machine whatever is seen, when it is seen, and whenever the operator is lost.

Idempotence, convergence, restarts at any point, order of observations, stale observations. A failing example is shrunk by
hypothesis and can be told as a scenario. The same of the agent's machine: `tests/host/test_properties.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from core.chaos import alive
from core.lens import WATCHED, Window, reordering, repeating, spurious, stale
from core.machines import Mount
from core.pairs import build
from core.story import happen, world_of
from core.test_crash_after_every_write import RUNS, check, end_of, start
from core.world import World
from ostkeeper.api.osspair import Assignment, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e

pytestmark = pytest.mark.scenario

QUICK = settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
NAMES = st.sampled_from(sorted(RUNS))
SEEDS = st.integers(0, 10_000)
BOTH = "Automatic; levels pdus, bmc"
ENDS: dict[str, tuple[object, ...]] = {}


def undisturbed(name: str) -> tuple[object, ...]:
    """How a run ends when nothing disturbs it."""
    if name not in ENDS:
        world = start(RUNS[name])
        world.run(RUNS[name].until)
        ENDS[name] = end_of(world)
    return ENDS[name]


def acts(world: World) -> list[tuple[str, ...]]:
    """What was granted and shot, in order: what must not depend on how the operator came to know."""
    told: list[tuple[str, ...]] = []
    for write in world.writes:
        if isinstance(write, e.CutPower):
            told.append(("cut", str(write.feed)))
        elif isinstance(write, e.WritePair):
            told += [(a.intent, a.target, a.node) for a in write.status.assignments]
    return told


# ---- idempotence


@pytest.mark.parametrize("name", sorted(RUNS))
def test_plan_asks_for_nothing_more_on_the_state_that_its_own_step_has_left(name: str) -> None:
    world = start(RUNS[name])
    asked = spurious(world)
    world.run(RUNS[name].until)
    assert not asked
    assert end_of(world) == undisturbed(name)


@seed(20261123)
@QUICK
@given(NAMES, SEEDS)
def test_observations_and_answers_that_are_repeated_or_old_change_nothing(name: str, dice: int) -> None:
    once, twice = start(RUNS[name]), start(RUNS[name])
    repeating(twice, dice)
    for world in (once, twice):
        world.run(RUNS[name].until)
    assert acts(twice) == acts(once)
    assert end_of(twice) == undisturbed(name)


# ---- order


@seed(20261123)
@QUICK
@given(NAMES, SEEDS)
def test_order_of_what_is_seen_at_one_moment_does_not_matter(name: str, dice: int) -> None:
    world = start(RUNS[name])
    reordering(world, dice)
    world.run(RUNS[name].until)
    check(world)
    assert end_of(world) == undisturbed(name)
    plain = start(RUNS[name])
    plain.run(RUNS[name].until)
    assert set(acts(world)) == set(acts(plain))


# ---- stale observations

WINDOWS = st.lists(
    st.builds(
        lambda what, begins, length, fate: Window(what, begins, begins + length, fate),
        st.sampled_from(WATCHED),
        st.sampled_from((0.0, 3.0, 8.0, 14.0, 20.0, 30.0)),
        st.sampled_from((2.0, 6.0, 15.0, 40.0, 500.0)),
        st.sampled_from(("dropped", "delayed", "old")),
    ),
    min_size=1,
    max_size=4,
)


@seed(20261123)
@QUICK
@given(WINDOWS)
def test_nobody_is_shot_and_nothing_moves_however_stale_the_view_of_a_floor_that_is_well(windows: list[Window]) -> None:
    world = world_of(BOTH)
    stale(world, windows)
    world.run(90)
    check(world)
    assert {act for act in acts(world) if act[0] != "Serve" and act[0] != "Hold"} == set()
    assert {a.target: a.node for a in world.status.assignments} == {
        "scratch-OST0000": "oss1",
        "scratch-OST0001": "oss2",
    }


@seed(20261123)
@QUICK
@given(WINDOWS, st.sampled_from(("oss1 panics", "oss1 hangs", "oss1 loses its mains")), st.sampled_from((2.0, 9.0)))
def test_stale_view_of_a_death_shoots_and_moves_no_more_than_a_fresh_one(
    windows: list[Window], death: str, at: float
) -> None:
    fresh, blurred = world_of(BOTH), world_of(BOTH)
    stale(blurred, windows)
    for world in (fresh, blurred):
        world.run(at)
        happen(world, death)
        world.run(100)
        check(world)
    levels = {("cut", "bmc-oss1")}  # a level more is no wider: it is the same server
    assert set(acts(blurred)) <= set(acts(fresh)) | levels


# ---- restarts


@seed(20261123)
@QUICK
@given(NAMES, st.lists(st.tuples(st.floats(0.1, 30.0), st.sampled_from((0.5, 3.0, 6.0))), min_size=1, max_size=3))
def test_operator_that_is_lost_at_any_moment_changes_no_end(name: str, losses: list[tuple[float, float]]) -> None:
    world, at = start(RUNS[name]), 0.0
    for wait, away in losses:
        at += wait
        world.run(at)
        world.crash_operator()
        at += away
        world.run(at)
        world.start_operator()
    world.run(at + RUNS[name].until + 30)
    check(world)
    assert end_of(world) == undisturbed(name)


# ---- convergence

PLACES = st.fixed_dictionaries(
    {
        "node": st.sampled_from(("oss1", "oss2")),
        "intent": st.sampled_from(("Serve", "Hold", "Release")),
        "mounted": st.booleans(),
        "dirty": st.booleans(),
        "desired": st.sampled_from(("Mounted", "Unmounted")),
        "home": st.sampled_from(("oss1", "oss2")),
    }
)


def left_in(places: list[dict[str, Any]], failback: str) -> World:
    """A world in which the pair was left like that, both servers running, and nobody led since."""
    world = build(
        homes=tuple(p["home"] for p in places),
        spec={"failback": {"mode": failback, "soak": "10s"}},
        releaseTimeout="30s",
    )
    pair, assignments = world.pair, list[Assignment]()
    assert pair.status is not None
    for server in world.floor.servers.values():
        server.mounts.clear()
    for a, place in zip(pair.status.assignments, places, strict=True):
        change = {"node": place["node"], "intent": place["intent"]}
        assignments.append(a.model_copy(update=change))
        disk = world.floor.disks[a.target]
        disk.dirty, disk.mark = place["mounted"] or place["dirty"], place["node"]
        if place["mounted"]:
            world.floor.servers[place["node"]].mounts[a.target] = Mount(a.epoch, done=True)
        ost = next(o for o in world.store.every(OST) if o.target == a.target)
        world.store.edit(OST, ost.name, desired=place["desired"])
    world.store.put(
        world.store.get(OSSPair, pair.name).model_copy(
            update={"status": pair.status.model_copy(update={"assignments": tuple(assignments)})}
        )
    )
    world.start_operator()
    return world


@seed(20261123)
@QUICK
@given(st.lists(PLACES, min_size=1, max_size=3), st.sampled_from(("Manual", "Automatic")))
def test_pair_without_faults_comes_to_rest_from_any_state_and_stays_there(
    places: list[dict[str, Any]], failback: str
) -> None:
    world = left_in(places, failback)
    world.run(120)
    check(world)
    for place, a in zip(places, world.status.assignments, strict=True):
        assert a.intent == ("Serve" if place["desired"] == "Mounted" else "Release")
        assert (a.target in world.mounted()[a.node]) == (place["desired"] == "Mounted")
        if failback == "Automatic" and place["desired"] == "Mounted":
            assert a.node == place["home"]
    assert all(alive(world, node) for node in ("oss1", "oss2"))
    world.writes.clear()
    world.run(180)
    assert len(world.writes) <= 2, [getattr(w, "why", type(w).__name__) for w in world.writes]
