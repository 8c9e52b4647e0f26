"""What holds of the pair machine whatever is seen, when it is seen, and whenever the operator is lost.

Idempotence, convergence, restarts at any point, order of observations, stale observations. A failing example is shrunk by
hypothesis and can be told as a scenario. The same of the agent's machine: `tests/host/test_properties.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import strategies as st

from core import lens
from core.chaos import alive
from core.drawn import drawn
from core.lens import WATCHED, Loss, Window
from core.machines import Mount
from core.pairs import build
from core.story import happen, world_of
from core.test_crash_after_every_write import RUNS, check, end_of, start
from core.world import World
from ostkeeper.api.osspair import Assignment, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e

pytestmark = pytest.mark.scenario

EVERY_RUN = pytest.mark.parametrize("name", sorted(RUNS))
SEEDS = st.integers(0, 10_000)
BOTH = "Automatic; levels pdus, bmc"
Acts = list[tuple[str, ...]]


@cache
def undisturbed(name: str) -> tuple[tuple[object, ...], Acts]:
    """How a run ends when nothing disturbs it, and what was granted and shot on the way."""
    world = start(RUNS[name])
    world.run(RUNS[name].until)
    return end_of(world), acts(world)


def acts(world: World) -> Acts:
    """What was granted and shot, in order: what must not depend on how the operator came to know."""
    told: Acts = []
    for write in world.writes:
        if isinstance(write, e.CutPower):
            told.append(("cut", str(write.feed)))
        elif isinstance(write, e.WritePair):
            told += [(a.intent, a.target, a.node) for a in write.status.assignments]
    return told


def said_to_be_dead(world: World) -> set[str]:
    """Servers of which any Failover says so, be it only to ask a person."""
    return {fo.spec.node for fo in world.failovers if fo.spec.evidence.verdict == "Failed"}


# ---- idempotence


@EVERY_RUN
def test_plan_asks_for_nothing_more_on_the_state_that_its_own_step_has_left(name: str) -> None:
    world = start(RUNS[name])
    asked, idle = lens.spurious(world), lens.idle_writes(world)
    world.run(RUNS[name].until)
    assert not asked
    assert not idle
    assert end_of(world) == undisturbed(name)[0]


@EVERY_RUN
@drawn(SEEDS, most=2)
def test_observations_and_answers_that_are_repeated_or_old_change_nothing(name: str, dice: int) -> None:
    world = start(RUNS[name])
    met = lens.conflicts(world)
    lens.repeating(world, dice)
    world.run(RUNS[name].until)
    assert (end_of(world), acts(world)) == undisturbed(name)
    assert not met


# ---- order

LAGS = st.fixed_dictionaries({about: st.sampled_from((0.0, 0.03, 0.3, 1.2)) for about in WATCHED})


@EVERY_RUN
@drawn(SEEDS, most=2)
def test_order_of_what_is_seen_at_one_moment_does_not_matter(name: str, dice: int) -> None:
    world = start(RUNS[name])
    met = lens.conflicts(world)
    lens.reordering(world, dice)
    world.run(RUNS[name].until)
    check(world)
    end, done = undisturbed(name)
    assert end_of(world) == end
    assert set(acts(world)) == set(done)
    assert not met


@EVERY_RUN
@drawn(LAGS, SEEDS, most=3, examples=[(dict.fromkeys(WATCHED, 1.2), 0), ({"OSSPair": 0.3, "OSS oss2": 1.2}, 0)])
def test_watches_that_are_late_each_by_itself_change_no_end(name: str, lags: dict[str, float], dice: int) -> None:
    world = start(RUNS[name])
    met = lens.conflicts(world)
    lens.lagging(world, lags)
    if dice % 2:
        lens.reordering(world, dice)
    world.run(RUNS[name].until + 10)
    check(world)
    assert end_of(world) == undisturbed(name)[0]
    assert not met, "it decided on what an answer had told it is old"


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


def frozen(*about: str, since: float = 14.0, fate: str = "dropped") -> list[Window]:
    """These observations stand still from a second on."""
    return [Window(what, since, 500.0, fate) for what in about]


@drawn(WINDOWS, examples=[(frozen("OSS oss2", "Beat oss1", "Node", since=3.0),)])
def test_nobody_is_shot_and_nothing_moves_however_stale_the_view_of_a_floor_that_is_well(windows: list[Window]) -> None:
    world = world_of(BOTH)
    lens.stale(world, windows)
    world.run(90)
    check(world)
    assert {act for act in acts(world) if act[0] != "Serve" and act[0] != "Hold"} == set()
    assert not said_to_be_dead(world)
    assert {a.target: a.node for a in world.status.assignments} == {
        "scratch-OST0000": "oss1",
        "scratch-OST0001": "oss2",
    }


@drawn(
    WINDOWS,
    st.sampled_from(("oss1 panics", "oss1 hangs", "oss1 loses its mains")),
    st.sampled_from((2.0, 9.0)),
    examples=[(frozen("Beat oss2", since=0.0), "oss1 panics", 30.0)],
)
def test_stale_view_of_a_death_shoots_and_moves_no_more_than_a_fresh_one(
    windows: list[Window], death: str, at: float
) -> None:
    fresh, blurred = world_of(BOTH), world_of(BOTH)
    lens.stale(blurred, windows)
    for world in (fresh, blurred):
        world.run(at)
        happen(world, death)
        world.run(100)
        check(world)
    assert said_to_be_dead(blurred) <= {"oss1"}
    levels = {("cut", "bmc-oss1")}  # a level more is no wider: it is the same server
    assert set(acts(blurred)) <= set(acts(fresh)) | levels


PAST = 15.0
"""Until then a server looks dead to its partner: its target is unmounted, and it does not answer on the network."""
FROM_THE_PAST = st.lists(
    st.builds(
        lambda what, begins, ends, fate: Window(what, begins, ends, fate),
        st.sampled_from(WATCHED),
        st.sampled_from((12.0, 14.0, 20.0, 24.0)),
        st.sampled_from((40.0, 500.0)),
        st.sampled_from(("dropped", "old")),
    ),
    min_size=2,
    max_size=5,
    unique_by=lambda w: w.what,
)
SINCE_THEN = ("", "oss2 panics", 'edit ost 0000 {"serveFrom": "Partner"}')


def past(node: str, since: str) -> World:
    """A server that looked dead to its partner and is well again; what happens since.

    Writing into an OSS would show it as it is: that fails here, so that the watch alone tells.
    """
    world = world_of(f"{BOTH}; no Nodes")
    world.write_hook = lambda write: "failed" if isinstance(write, e.WriteOSSReady) else ""
    ost = "0000" if node == "oss1" else "0001"
    events = [
        (0.5, f'edit ost {ost} {{"desired": "Unmounted"}}'),
        (0.5, f"{node} loses the LAN"),
        (PAST, f"{node} is back on the LAN"),
        (PAST, f'edit ost {ost} {{"desired": "Mounted"}}'),
        (25.0, since),
    ]
    for at, words in events:
        if words:
            world.clock.at(world.zero + at, lambda w=words: happen(world, w))  # type: ignore[misc]
    return world


@drawn(
    FROM_THE_PAST,
    st.sampled_from(("oss1", "oss2")),
    st.sampled_from(SINCE_THEN),
    most=8,
    examples=[
        ([*frozen("OSS oss2"), *frozen("Beat oss1", since=20.0)], "oss1", ""),
        ([*frozen("OSS oss2"), *frozen("Beat oss1", since=20.0), *frozen("Beat oss2", fate="old")], "oss1", ""),
        (frozen("OSS oss1"), "oss1", SINCE_THEN[2]),
        ([*frozen("OSS oss2"), *frozen("Beat oss1", since=20.0)], "oss1", "oss2 panics"),
    ],
)
def test_what_was_true_once_shoots_and_moves_no_more_than_what_is_true_now(
    windows: list[Window], node: str, since: str
) -> None:
    fresh, blurred = past(node, since), past(node, since)
    lens.stale(blurred, windows)
    for world in (fresh, blurred):
        world.run(100)
        check(world)
    assert said_to_be_dead(blurred) <= ({"oss2"} if "panics" in since else set())
    levels = {("cut", "bmc-oss2")} if "panics" in since else set()
    assert set(acts(blurred)) <= set(acts(fresh)) | levels


# ---- restarts

LOSSES = st.lists(
    st.builds(
        Loss,
        nth=st.integers(1, 9),
        after=st.sampled_from((0.0, 0.06, 0.3, 1.0, 4.0, 11.0)),
        away=st.sampled_from((0.5, 3.0, 6.0, 12.0)),
    ),
    min_size=1,
    max_size=3,
)


@EVERY_RUN
@drawn(
    LOSSES,
    most=3,
    examples=[
        ([Loss(6, 0.3, 3.0)],),  # between the offs and the certificate, where there are any
        ([Loss(8, 0.06, 3.0)],),  # as the targets were given back
        ([Loss(10, 0.06, 3.0)],),  # before what was cut is switched on
        ([Loss(9, 1.0, 3.0)],),  # as the power comes back
        ([Loss(12, 1.0, 3.0)],),  # as the server boots
    ],
)
def test_operator_that_is_lost_at_any_moment_changes_no_end(name: str, losses: list[Loss]) -> None:
    world = start(RUNS[name])
    lens.losing(world, losses)
    lens.insisting(world)
    world.run(RUNS[name].until + 30 + sum(loss.after + loss.away + 15 for loss in losses))
    check(world)
    assert end_of(world) == undisturbed(name)[0]


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


AWAY = {"node": "oss1", "intent": "Serve", "mounted": True, "dirty": False, "desired": "Mounted", "home": "oss2"}


@drawn(
    st.lists(PLACES, min_size=1, max_size=3),
    st.sampled_from(("Manual", "Automatic")),
    examples=[([AWAY], "Automatic"), ([{**AWAY, "intent": "Release"}], "Manual")],
)
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
