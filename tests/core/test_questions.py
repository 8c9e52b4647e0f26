"""A question that waits for a person holds nothing up: what happens meanwhile is dealt with within a bound.

A table: each kind of question, and beside it each kind of thing that has to be done. Nobody answers any question.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.story import happen, world_of
from core.world import World
from ostkeeper.api.common import condition_of
from ostkeeper.api.failover import Failover

GIVEN = "{mode}; levels pdus, bmc; homes {homes}; soak 10s; releaseTimeout 30s"
QUESTIONS: dict[str, tuple[str, str, str, tuple[tuple[float, str], ...]]] = {
    "failback": (
        "Automatic",
        "oss1 oss2",
        "Failback of oss2",
        ((1, 'edit ost 0000 {"serveFrom": "Partner"}'), (20, 'edit ost 0000 {"serveFrom": "Home"}')),
    ),
    "switchover": ("Manual", "oss1 oss1 oss2", "Switchover of oss1", ((1, "oss1 reports errors"),)),
    "release": (
        "Automatic",
        "oss1 oss1 oss2",
        "Failover of oss1",
        ((1, "oss1 cannot unmount"), (2, 'edit ost 0000 {"serveFrom": "Partner"}')),
    ),
    "release of what nobody wants": (
        "Automatic",
        "oss1 oss1 oss2",
        "Failover of oss1",
        ((1, "oss1 cannot unmount"), (2, 'edit ost 0000 {"desired": "Unmounted"}')),
    ),
    "failover": ("Manual", "oss1 oss1 oss2", "Failover of oss1", ((1, "oss1 panics"),)),
}
"""By name: mode, homes of the targets, what is asked, and what happens until it is asked."""


def asked(world: World, about: str, *, since: int = 0) -> bool:
    """Whether a Failover of this type and server was opened after so many others."""
    return any(f"{f.spec.type} of {f.spec.node}" == about for f in world.failovers[since:])


def waiting(world: World) -> Failover | None:
    """The question that is open."""
    fo = world.store.find(Failover, world.status.active_failover) if world.status.active_failover else None
    return fo if fo is not None and fo.phase == "AwaitingApproval" else None


def begun(question: str) -> World:
    """A world in which the question is open and nobody answers it."""
    mode, homes, about, events = QUESTIONS[question]
    world = world_of(GIVEN.format(mode=mode, homes=homes))
    for at, words in events:
        world.clock.at(world.zero + at, lambda w=words: happen(world, w))  # type: ignore[misc]
    assert world.run_until(
        lambda: (fo := waiting(world)) is not None and f"{fo.spec.type} of {fo.spec.node}" == about, 120
    )
    return world


def fenced(world: World, node: str) -> bool:
    """It was certified dead, or a person is asked about its death."""
    return any(
        f.spec.type == "Failover" and f.spec.node == node and f.spec.evidence.verdict == "Failed"
        for f in world.failovers
    ) and (world.phase() in ("AwaitingApproval", "Complete", "Holding", "Fencing", "Relocating", "Recovering"))


def emptied(world: World, node: str) -> bool:
    """Nothing is mounted there any more."""
    return not world.mounted().get(node)


def asked_to_leave(world: World, node: str) -> bool:
    """Its targets have left, or a person is asked whether they are to."""
    fo = waiting(world)
    return emptied(world, node) or (fo is not None and (fo.spec.type, fo.spec.node) == ("Switchover", node))


def drilled(world: World) -> bool:
    """The drill has a result."""
    return any(w.id == "d9" for w in world.status.wiring)


Check = Callable[[World], bool]
CASES: list[tuple[str, str, str, float, Check]] = [
    ("failback", "server dies", "oss2 panics", 60, lambda w: fenced(w, "oss2")),
    ("failback", "server sick", "oss2 reports errors", 60, lambda w: emptied(w, "oss2")),
    ("failback", "maintenance", 'edit pair {"maintenance": ["oss2"]}', 30, lambda w: emptied(w, "oss2")),
    ("failback", "desired Unmounted", 'edit ost 0001 {"desired": "Unmounted"}', 20, lambda w: unmounted(w, "OST0001")),
    ("failback", "new OST", "OST0009 is added, its home oss1", 30, lambda w: served(w, "OST0009")),
    (
        "failback",
        "overdue release",
        'oss2 cannot unmount & edit ost 0001 {"desired": "Unmounted"}',
        60,
        lambda w: asked(w, "Failover of oss2"),
    ),
    ("failback", "drill", 'edit pair {"drill": {"node": "oss1", "level": "pdus", "id": "d9"}}', 300, drilled),
    ("failback", "adopt", 'edit pair {"adopt": 99}', 30, lambda w: w.status.adopted == 99),
    ("switchover", "server dies", "oss1 panics", 60, lambda w: fenced(w, "oss1")),
    ("switchover", "partner dies", "oss2 panics", 60, lambda w: fenced(w, "oss2")),
    ("switchover", "maintenance", 'edit pair {"maintenance": ["oss1"]}', 30, lambda w: emptied(w, "oss1")),
    (
        "switchover",
        "desired Unmounted",
        'edit ost 0002 {"desired": "Unmounted"}',
        20,
        lambda w: unmounted(w, "OST0002"),
    ),
    ("switchover", "new OST", "OST0009 is added, its home oss2", 30, lambda w: served(w, "OST0009")),
    ("switchover", "drill", 'edit pair {"drill": {"node": "oss2", "level": "pdus", "id": "d9"}}', 60, drilled),
    ("switchover", "adopt", 'edit pair {"adopt": 99}', 30, lambda w: w.status.adopted == 99),
    ("release", "server dies", "oss1 panics", 60, lambda w: fenced(w, "oss1")),
    ("release", "partner dies", "oss2 panics", 60, lambda w: fenced(w, "oss2")),
    ("release", "server sick", "oss1 reports errors", 60, lambda w: asked(w, "Switchover of oss1", since=2)),
    ("release", "partner sick", "oss2 reports errors", 60, lambda w: emptied(w, "oss2")),
    ("release", "maintenance", 'edit pair {"maintenance": ["oss2"]}', 30, lambda w: emptied(w, "oss2")),
    ("release", "desired Unmounted", 'edit ost 0002 {"desired": "Unmounted"}', 20, lambda w: unmounted(w, "OST0002")),
    ("release", "new OST", "OST0009 is added, its home oss2", 30, lambda w: served(w, "OST0009")),
    ("release", "drill", 'edit pair {"drill": {"node": "oss2", "level": "pdus", "id": "d9"}}', 60, drilled),
    ("release", "adopt", 'edit pair {"adopt": 99}', 30, lambda w: w.status.adopted == 99),
    ("release of what nobody wants", "server dies", "oss1 panics", 60, lambda w: fenced(w, "oss1")),
    ("release of what nobody wants", "partner dies", "oss2 panics", 60, lambda w: fenced(w, "oss2")),
    ("release of what nobody wants", "partner sick", "oss2 reports errors", 60, lambda w: emptied(w, "oss2")),
    (
        "release of what nobody wants",
        "maintenance",
        'edit pair {"maintenance": ["oss2"]}',
        30,
        lambda w: emptied(w, "oss2"),
    ),
    ("release of what nobody wants", "new OST", "OST0009 is added, its home oss1", 30, lambda w: served(w, "OST0009")),
    ("failover", "desired Unmounted", 'edit ost 0002 {"desired": "Unmounted"}', 20, lambda w: unmounted(w, "OST0002")),
    ("failover", "drill", 'edit pair {"drill": {"node": "oss2", "level": "pdus", "id": "d9"}}', 60, drilled),
    ("failover", "adopt", 'edit pair {"adopt": 99}', 60, lambda w: w.status.adopted == 99),
]


def unmounted(world: World, target: str) -> bool:
    """It is mounted nowhere."""
    return not any(f"scratch-{target}" in targets for targets in world.mounted().values())


def served(world: World, target: str) -> bool:
    """It is mounted somewhere."""
    return not unmounted(world, target)


@pytest.mark.parametrize(
    ("question", "event", "bound", "done"),
    [pytest.param(q, words, bound, done, id=f"{q}, {name}".replace(" ", "-")) for q, name, words, bound, done in CASES],
)
def test_what_happens_while_a_question_waits_is_dealt_with(
    question: str, event: str, bound: float, done: Check
) -> None:
    world = begun(question)
    assert not done(world)
    for words in event.split(" & "):
        happen(world, words)
    assert world.run_until(lambda: done(world), bound), (event, world.log.lines[-30:])
    assert not world.floor.overlaps
    assert not world.store.broken
    assert not world.store.refusals


def still_asked(world: World, about: str) -> bool:
    """The question is open again."""
    fo = waiting(world)
    return fo is not None and f"{fo.spec.type} of {fo.spec.node}" == about


@pytest.mark.parametrize(("question", "moves"), [("failback", "0001"), ("release", "0002"), ("switchover", "0002")])
def test_a_question_that_yielded_is_asked_again_afterwards(question: str, moves: str) -> None:
    world = begun(question)
    about, first = QUESTIONS[question][2], world.last.name
    happen(world, f'edit ost {moves} {{"serveFrom": "Partner"}}')
    assert world.run_until(lambda: still_asked(world, about) and world.last.name != first, 60), world.log.lines[-20:]
    ended = world.store.get(Failover, first).status
    assert ended is not None
    assert ended.phase == "Aborted"
    assert "asked again afterwards" in ended.message
    assert any(f.spec.type == "Switchover" and f.spec.targets == (f"scratch-OST{moves}",) for f in world.failovers)
    assert world.run_until(lambda: stalled(world), 5)


def stalled(world: World) -> bool:
    """The pair says that a person is needed."""
    condition = condition_of(world.status.conditions, "Stalled")
    return condition is not None and condition.status == "True"


def test_an_answer_is_carried_out_before_a_question_yields() -> None:
    world = begun("failback")
    happen(world, "ann answers Failback")
    happen(world, 'edit ost 0001 {"serveFrom": "Partner"}')
    assert world.run_until(lambda: world.failovers[1].phase == "Complete", 60)


def test_a_failed_server_comes_before_an_answer() -> None:
    world = begun("switchover")
    happen(world, "oss2 panics")
    world.run(world.now - world.zero + 9)
    happen(world, "ann answers Failback")
    assert world.run_until(lambda: fenced(world, "oss2"), 60), world.log.lines[-20:]


def test_the_pair_names_the_question_that_comes_after_the_open_one() -> None:
    world = begun("switchover")
    happen(world, "oss2 cannot unmount")
    happen(world, 'edit ost 0002 {"desired": "Unmounted"}')
    assert world.run_until(lambda: "to be asked after this: Failover of oss2" in why_stalled(world), 60)
    assert still_asked(world, "Switchover of oss1")


def why_stalled(world: World) -> str:
    """The message of Stalled."""
    condition = condition_of(world.status.conditions, "Stalled")
    return condition.message if condition else ""
