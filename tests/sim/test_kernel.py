"""Virtual time: order, pauses, deaths, drifting clocks."""

from __future__ import annotations

import math

import pytest

from ostkeeper.sim.kernel import Actor, Kernel

pytestmark = pytest.mark.sim


def test_equal_times_run_in_the_order_in_which_they_were_scheduled() -> None:
    kernel, ran = Kernel(1), list[str]()
    for name in ("b", "a", "c"):
        kernel.at(5.0, kernel.net, ran.append, name)
    kernel.at(4.0, kernel.net, ran.append, "first")
    kernel.run(5.0)
    assert ran == ["first", "b", "a", "c"]
    assert kernel.events == 4


def test_paused_actor_does_late_and_in_order_what_was_due() -> None:
    kernel, ran, actor = Kernel(1), list[tuple[float, str]](), Actor("op1")
    for at, name in ((1.0, "one"), (2.0, "two"), (9.0, "nine")):
        kernel.at(at, actor, lambda name=name: ran.append((kernel.now, name)))
    kernel.pause(actor)
    kernel.at(5.0, kernel.net, kernel.resume, actor)
    kernel.run(10.0)
    assert ran == [(5.0, "one"), (5.0, "two"), (9.0, "nine")]


def test_dead_actor_does_nothing_of_what_was_due() -> None:
    kernel, ran, actor = Kernel(1), list[str](), Actor("agent")
    kernel.at(2.0, actor, ran.append, "late")
    kernel.at(1.0, kernel.net, kernel.kill, actor)
    kernel.run(3.0)
    assert ran == []


def test_drifting_clock_goes_there_and_back() -> None:
    actor = Actor("op1", rate=1.001, offset=500.0)
    assert actor.clock(100.0) == pytest.approx(600.1)
    assert actor.when(actor.clock(123.0)) == pytest.approx(123.0)
    assert actor.when(math.inf) == math.inf
