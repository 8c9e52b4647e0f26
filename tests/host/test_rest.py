"""A plan is skipped only where it would have asked for nothing: an agent's machine that plans on every event does no more."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from host.rig import HERE, STILL, Eager, Rig, grant
from ostkeeper.core import hostevents as ev
from ostkeeper.core import hostsigns
from ostkeeper.core.host import HostMachine
from ostkeeper.core.hoststate import Server
from ostkeeper.sim import agents
from ostkeeper.sim.run import run_seed

pytestmark = pytest.mark.sim

SAME_MOMENT = 1e-6
"""Seconds: one wake reckoned from two plans may differ by a rounding."""


class Twins(HostMachine):
    """In the place of a HostMachine: the one under test, and an eager one, told the same at the same times.

    A Tick comes when either wants one, so that a wake that the first one forgot is found as well. `skipped` counts the
    plans that only the second one made.
    """

    skipped = 0

    def __init__(self, server: Server, stored: ev.Remembered, corrupt: str = "") -> None:
        super().__init__(server, stored, corrupt)
        self.eager = Eager(server, stored, corrupt)
        self.told: list[str] = []

    def step(self, event: ev.HostEvent, now: float) -> list[ev.HostEffect]:
        """One step of both. Raises AssertionError with the last events where they differ."""
        self.told = [*self.told[-12:], f"{now:.3f}s {event}"[:400]]
        effects, expected = super().step(event, now), self.eager.step(event, now)
        assert effects == expected, "\n".join([*self.told, f"got      {effects}", f"expected {expected}"])
        first, last = sorted((self.wake_at, self.eager.wake_at))
        self.wake_at = last if last - first < SAME_MOMENT else first
        return effects

    def _rests(self, event: ev.HostEvent, now: float) -> bool:
        rests = super()._rests(event, now)
        Twins.skipped += rests
        return rests


def _differ(first: int, beyond: int) -> str:
    """What the first difference in these nights was; empty: there was none."""
    for seed in range(first, beyond):
        crashed = [violation for violation in run_seed(seed).violations if "AssertionError" in violation]
        if crashed:
            return f"seed {seed}: {crashed[0]}"
    return ""


@pytest.mark.parametrize("first", range(1, 81, 20))
def test_no_plan_is_skipped_that_an_agent_needs(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "HostMachine", Twins)
    before = Twins.skipped
    assert _differ(first, first + 20) == ""
    assert Twins.skipped > before, "no plan was skipped: nothing was compared"


def test_mount_that_the_pair_adopted_upon_the_answer_just_given_is_adopted_with_the_next_event() -> None:
    adopted = grant("Serve", 2, adopted={"nonce": "adopt-1"})
    rig = Rig(mounts=dict(HERE), disk=STILL, grants=[adopted], status={"nonce": {"value": "adopt-1"}}, willing=False)
    rig.machine = Twins(rig.machine.host.server, rig.stored)
    rig.start()
    rig.wait(2.0, 0.5)
    assert any(isinstance(effect, ev.Remember) and effect.mounts for effect in rig.effects)


def _nothing(*_: object) -> bool:
    return False


def _never(*_: object) -> float:
    return math.inf


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_under_way", _nothing),
        ("ages_at", _never),
        ("_reading", _nothing),
        ("_object", _nothing),
        ("_table", _nothing),
    ],
)
def test_skipping_too_much_is_found(name: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "HostMachine", Twins)
    monkeypatch.setattr(hostsigns, name, broken)
    assert "AssertionError" in (_differ(1, 41))


def _lease_runs_out_while_a_mount_is_refused() -> None:
    """The refusal that is reported changes with the lease, and no event tells of that."""
    rig = Rig(disk=STILL._replace(activity="Fsck", ordinary=False))
    rig.machine = Twins(rig.machine.host.server, rig.stored)
    rig.start()
    assert rig.target().reason == "FsckRuns"
    rig.leased = False
    rig.wait(30.0, 0.5)
    assert rig.target().reason == "LeaseNotHeld"


def test_lease_that_runs_out_while_a_mount_is_refused_is_noticed() -> None:
    _lease_runs_out_while_a_mount_is_refused()


def test_lease_that_runs_out_is_missed_if_lapses_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostsigns, "lapses_at", _never)
    with pytest.raises(AssertionError):
        _lease_runs_out_while_a_mount_is_refused()
