"""A server panics while its partner loses its disks: nobody serves, so a person is asked, in whatever order it happens."""

from __future__ import annotations

import pytest

from ostkeeper.sim.config import Config, Settings, objects_of
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.night import simulate


@pytest.mark.parametrize(("panics", "lost"), [(1.0, 1.0), (4.0, 1.0), (1.0, 4.0), (60.0, 1.0), (1.0, 60.0)])
def test_a_person_is_asked_when_a_server_panics_and_its_partner_loses_its_disks(panics: float, lost: float) -> None:
    faults = (Fault("host-panics", panics, None, ("oss1",)), Fault("disks-lost", lost, None, ("oss2",)))
    night = simulate(objects_of(Config(targets=4)), faults, Settings(), seed=3, longest=300.0)
    assert night.unserved, "a fault that leaves nobody to serve"
    assert any("AwaitingApproval" in wait for wait in night.waits), night.waits
    assert not night.violations
