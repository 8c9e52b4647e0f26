"""A server that has lost its disks and cannot unmount: who ends the outage, by policy."""

from __future__ import annotations

from typing import Literal

import pytest

from ostkeeper.sim.config import Config, Settings, objects_of
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.narrate import Night
from ostkeeper.sim.night import simulate


def lost(policy: Literal["Ask", "Fence"], mode: Literal["Manual", "Automatic"], *, drilled: bool = True) -> Night:
    """oss1 loses its disks, and nobody answers or repairs."""
    config = Config(mode=mode, release_failed=policy, release_timeout=60.0)
    faults = (Fault("disks-lost", 5.0, None, ("oss1",)),)
    return simulate(objects_of(config), faults, Settings(drilled=drilled), seed=1, longest=300.0)


def test_a_server_that_lost_its_disks_is_fenced_where_the_policy_says_so() -> None:
    night = lost("Fence", "Automatic")
    assert not night.unserved
    assert not night.waits
    assert not night.violations
    assert any(fo.type == "Failover" and fo.answered_by == "policy" for fo in night.failovers)


@pytest.mark.parametrize(
    ("policy", "mode", "drilled"),
    [("Ask", "Automatic", True), ("Fence", "Manual", True), ("Fence", "Automatic", False)],
)
def test_a_person_is_asked_where_the_policy_does_not_say_so_or_may_not_act(
    policy: Literal["Ask", "Fence"], mode: Literal["Manual", "Automatic"], drilled: bool
) -> None:
    night = lost(policy, mode, drilled=drilled)
    assert night.unserved
    assert night.waits
    assert not night.violations
    assert not any(fo.answered_by == "policy" and fo.type == "Failover" for fo in night.failovers)


def test_the_analysis_names_the_policy_that_leaves_it_to_a_person() -> None:
    assert "spec.failover.releaseFailed is Ask" in " ".join(lost("Ask", "Automatic").waits)
