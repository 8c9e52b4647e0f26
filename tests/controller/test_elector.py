"""Leader election on a clock and a lease that the test moves: who leads, and above all, who does not any more."""

import contextlib
import copy
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from ostkeeper.controller.client import ApiError
from ostkeeper.controller.elector import Elector
from ostkeeper.core.election import Terms

pytestmark = pytest.mark.scenario
Json = dict[str, Any]


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> str:
        return f"2026-11-23T04:00:{self.now:09.6f}Z"


class FakeLease:
    """One Lease with resourceVersions. `takes`: seconds that a call takes; `broken`: it raises; `lossy`: after writing."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.record, self.version = clock, None, 0
        self.takes, self.broken, self.lossy = 0.0, False, False

    record: Json | None

    async def get(self) -> Json | None:
        self._pass()
        return copy.deepcopy(self.record)

    async def create(self, spec: Json) -> Json:
        self._pass()
        if self.record:
            raise ApiError(409, "AlreadyExists", "")
        return self._store({"metadata": {}, "spec": spec})

    async def replace(self, record: Json) -> Json:
        self._pass()
        if self.record is None:
            raise ApiError(404, "NotFound", "")
        if record["metadata"].get("resourceVersion") != self.record["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        return self._store(record)

    def _store(self, record: Json) -> Json:
        self.version += 1
        self.record = copy.deepcopy(record)
        self.record["metadata"]["resourceVersion"] = str(self.version)
        if self.lossy:
            raise ApiError(0, "TimeoutError", "the answer was lost")
        return copy.deepcopy(self.record)

    def _pass(self) -> None:
        self.clock.now += self.takes
        if self.broken:
            raise ApiError(0, "TimeoutError", "no answer")


def now(work: Coroutine[Any, Any, None]) -> None:
    """Run what never waits: here only the fake clock does."""
    with contextlib.suppress(StopIteration):
        work.send(None)
        raise AssertionError("it waited")


class Candidate:
    def __init__(self, name: str, lease: FakeLease, clock: FakeClock) -> None:
        self.story: list[str] = []
        self.elector = Elector(
            lease, name, clock, self._led, lambda: self.story.append("deposed"), Terms(4.0, 2.5, 0.5)
        )

    def _led(self, term: str) -> None:
        self.story.append("led")
        self.terms = [*getattr(self, "terms", []), term]

    def attempt(self) -> None:
        now(self.elector.attempt())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lease(clock: FakeClock) -> FakeLease:
    return FakeLease(clock)


@pytest.fixture
def one(lease: FakeLease, clock: FakeClock) -> Candidate:
    return Candidate("one", lease, clock)


@pytest.fixture
def two(lease: FakeLease, clock: FakeClock) -> Candidate:
    return Candidate("two", lease, clock)


def leads(candidate: Candidate, clock: FakeClock) -> bool:
    return candidate.elector.leading(clock.now)


def test_first_creates_the_lease_and_the_second_waits(one: Candidate, two: Candidate, clock: FakeClock) -> None:
    one.attempt()
    two.attempt()
    assert (one.story, two.story) == (["led"], [])
    assert (leads(one, clock), leads(two, clock)) == (True, False)


def test_second_takes_over_only_after_the_record_stood_still_as_it_saw_it(
    one: Candidate, two: Candidate, clock: FakeClock
) -> None:
    one.attempt()
    clock.now += 60.0  # long dead: but the second has only just looked
    two.attempt()
    assert two.story == []
    clock.now += 4.0
    two.attempt()
    assert two.story == []
    clock.now += 0.1
    two.attempt()
    assert two.story == ["led"]


def test_renewal_starts_the_others_wait_again(one: Candidate, two: Candidate, clock: FakeClock) -> None:
    one.attempt()
    for _ in range(20):
        two.attempt()
        clock.now += 1.0
        one.attempt()
    assert (one.story, two.story) == (["led"], [])


def test_leadership_counts_from_the_start_of_the_renewal(one: Candidate, lease: FakeLease, clock: FakeClock) -> None:
    lease.takes = 1.0  # acquiring is a read and a write: the write began at 101
    one.attempt()
    assert one.elector.leading(102.4)
    one.attempt()
    began = clock.now - 1.0
    assert one.elector.leading(began + 2.4)
    assert not one.elector.leading(began + 2.5)


def test_paused_leader_knows_it_before_anything_else_runs(one: Candidate, two: Candidate, clock: FakeClock) -> None:
    one.attempt()
    two.attempt()
    clock.now += 2.6  # SIGSTOP; at SIGCONT the first thing that runs may well be a shot
    assert not leads(one, clock)
    clock.now += 2.0
    two.attempt()
    one.attempt()
    assert (one.story, two.story) == (["led", "deposed"], ["led"])
    assert [leads(one, clock), leads(two, clock)] == [False, True]


def test_paused_leader_whom_nobody_replaced_leads_anew_and_not_on(one: Candidate, clock: FakeClock) -> None:
    one.attempt()
    clock.now += 60.0
    one.attempt()
    assert one.story == ["led", "deposed", "led"]
    assert one.terms[0] != one.terms[1]


@pytest.mark.parametrize("seed", range(20))
def test_never_two_at_one_moment_whatever_is_lost(
    seed: int, one: Candidate, two: Candidate, lease: FakeLease, clock: FakeClock
) -> None:
    """Each loses calls, answers and time, now and then; a shot of the one never falls into a term of the other."""
    draw = random.Random(seed)
    for _ in range(500):
        lease.broken, lease.lossy = draw.random() < 0.15, draw.random() < 0.1
        lease.takes = draw.choice([0.0, 0.0, 0.3, 1.2])
        draw.choice([one, two]).attempt()
        assert not (leads(one, clock) and leads(two, clock)), f"seed {seed}: two leaders at {clock.now:.1f}"
        clock.now += draw.choice([0.1, 0.3, 0.5, 0.7, 6.0])
    assert one.story.count("led") > 1, "this seed tries nothing: the first never led twice"
    assert two.story.count("led") > 1, "this seed tries nothing: the second never led twice"


def test_leader_gives_up_when_it_cannot_renew(one: Candidate, lease: FakeLease, clock: FakeClock) -> None:
    one.attempt()
    lease.broken = True
    for _ in range(3):
        clock.now += 0.8
        one.attempt()
    assert one.story == ["led"]
    clock.now += 0.2
    one.attempt()
    assert one.story == ["led", "deposed"]


def test_lost_answer_to_a_renewal_is_no_reason_to_give_up(one: Candidate, lease: FakeLease, clock: FakeClock) -> None:
    one.attempt()
    lease.lossy = True
    clock.now += 0.5
    one.attempt()
    lease.lossy = False
    clock.now += 0.5
    one.attempt()
    assert one.story == ["led"]
    assert leads(one, clock)


def test_deleted_lease_deposes_at_once(one: Candidate, lease: FakeLease) -> None:
    one.attempt()
    lease.record = None
    one.attempt()
    assert one.story == ["led", "deposed"]


def test_edited_lease_that_still_names_us_is_renewed(one: Candidate, lease: FakeLease, clock: FakeClock) -> None:
    one.attempt()
    assert lease.record
    lease.version += 1
    lease.record["metadata"] |= {"resourceVersion": str(lease.version), "labels": {"by": "an admin"}}
    clock.now += 2.0
    one.attempt()
    assert one.story == ["led"]
    assert leads(one, clock)


def test_released_lease_is_taken_at_once_and_not_by_who_released_it(
    one: Candidate, two: Candidate, clock: FakeClock
) -> None:
    one.attempt()
    now(one.elector.release())
    assert not leads(one, clock)
    two.attempt()
    assert (one.story, two.story) == (["led", "deposed"], ["led"])


def test_durations_that_would_let_two_lead_are_refused() -> None:
    with pytest.raises(ValueError, match=r"renew deadline \(5s\) < lease duration \(4s\)"):
        Terms(lease_duration=4.0, renew_deadline=5.0)
