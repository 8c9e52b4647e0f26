"""The only loop: what it hands to a machine, when, and in which order."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agent_shell.virtual_time import LoopClock, run
from ostkeeper.core.events import Tick
from ostkeeper.shell import LEAST_WAIT, drive

pytestmark = pytest.mark.scenario

START = 1000.0


class Enough(Exception):
    """The machine has seen what the test wanted it to see."""


@dataclass
class Recorder:
    """A machine that writes down what it is told, and ends the loop after `limit` steps."""

    limit: int
    wake: Callable[[float], float] = lambda now: math.inf
    wake_at: float = math.inf
    seen: list[tuple[str, float]] = field(default_factory=list)

    def step(self, event: str | Tick, now: float) -> list[str]:
        self.seen.append(("tick" if isinstance(event, Tick) else event, now - START))
        if len(self.seen) == self.limit:
            raise Enough
        self.wake_at = self.wake(now)
        return [f"{event}!"] if isinstance(event, str) else []


def driven(machine: Recorder, *events: str, later: tuple[float, str] | None = None) -> list[str]:
    """Drive until the machine has had enough; return the effects that were handed out."""
    performed: list[str] = []

    async def main() -> None:
        inbox: asyncio.Queue[str] = asyncio.Queue()
        for event in events:
            inbox.put_nowait(event)
        if later:
            asyncio.get_running_loop().call_later(later[0], inbox.put_nowait, later[1])
        with pytest.raises(Enough):
            await drive(machine, inbox, performed.append, LoopClock())

    run(main())
    return performed


def test_events_come_one_by_one_in_order_and_their_effects_are_performed() -> None:
    machine = Recorder(limit=3)
    assert driven(machine, "a", "b", "c") == ["a!", "b!"]
    assert [event for event, _ in machine.seen] == ["a", "b", "c"]


def test_tick_comes_when_wake_at_has_passed_and_not_before() -> None:
    machine = Recorder(limit=2, wake_at=START + 5, wake=lambda now: START + 7.5)
    driven(machine)
    assert machine.seen == [("tick", 5.0), ("tick", 7.5)]


def test_event_ends_the_wait_for_wake_at() -> None:
    machine = Recorder(limit=2, wake_at=START + 5, wake=lambda now: START + 5)
    driven(machine, later=(2.0, "news"))
    assert machine.seen == [("news", 2.0), ("tick", 5.0)]


def test_due_tick_comes_before_the_next_of_many_waiting_events() -> None:
    machine = Recorder(limit=5, wake=lambda now: now)
    driven(machine, "a", "b", "c")
    assert [event for event, _ in machine.seen] == ["a", "tick", "b", "tick", "c"]


def test_wake_at_left_in_the_past_does_not_spin() -> None:
    machine = Recorder(limit=4, wake_at=START, wake=lambda now: START)
    driven(machine)
    assert [moment for _, moment in machine.seen] == pytest.approx([0.0, LEAST_WAIT, 2 * LEAST_WAIT, 3 * LEAST_WAIT])


def test_what_step_raises_ends_the_loop() -> None:
    class Broken:
        wake_at = START

        def step(self, event: str | Tick, now: float) -> list[str]:
            raise ZeroDivisionError("a bug")

    async def main() -> None:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await drive(Broken(), asyncio.Queue[str](), lambda effect: None, LoopClock())

    run(main())
