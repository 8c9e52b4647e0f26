"""What counts as a sign of life of a suspect: movement that this leader has seen itself, and nothing that it saw first."""

import pytest

from ostkeeper.api.common import ObjectMeta
from ostkeeper.api.oss import OSS, OSSSpec, OSSStatus, PairRef
from ostkeeper.core.events import Led, Seen
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.pair import PairMachine

pytestmark = pytest.mark.scenario


def report(version: int, uptime: int) -> OSS:
    return OSS(
        metadata=ObjectMeta(name="oss1", uid="u", resource_version=str(version)),
        spec=OSSSpec(pair=PairRef(namespace="scratch", name="pair-a")),
        status=OSSStatus(boot_id="b", uptime_seconds=uptime),
    )


def test_first_sight_of_a_dead_servers_report_is_no_sign_of_life_for_a_new_leader() -> None:
    """A new leader on a busy machine read the old report late, took it for a new one, and aborted 80 times a minute."""
    machine = PairMachine("scratch/pair-a", Heartbeats())
    machine.step(Seen(report(7, 600)), 1.0)
    machine.step(Led("t1"), 10.0)
    machine.step(Seen(report(8, 600)), 15.0)
    assert machine.view.report_moved == {}


def test_report_that_is_made_anew_is_a_sign_of_life() -> None:
    machine = PairMachine("scratch/pair-a", Heartbeats())
    machine.step(Led("t1"), 10.0)
    machine.step(Seen(report(8, 600)), 15.0)
    machine.step(Seen(report(9, 660)), 20.0)
    assert machine.view.report_moved == {"oss1": 20.0}
