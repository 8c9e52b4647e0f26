"""Runs in which nobody answers and nobody repairs: what waits for a person says so, what needs nobody is done."""

import pytest

from ostkeeper.sim.config import Config, Settings
from ostkeeper.sim.draw import REPLIES, UNATTENDED, attended, draw
from ostkeeper.sim.faults import parse
from ostkeeper.sim.run import simulate
from ostkeeper.sim.shrink import NightFile, read, write
from ostkeeper.sim.unattended import suffices

pytestmark = pytest.mark.sim
GONE = parse("host oss1 loses its power", 2.0)


def test_third_of_the_runs_is_unattended_and_nobody_answers_in_them() -> None:
    alone = [seed for seed in range(1, 301) if not attended(seed)]
    assert len(alone) == 300 // UNATTENDED
    assert not [fault for seed in alone for fault in draw(seed)[1] if fault.kind in REPLIES]


def test_dead_server_of_an_automatic_pair_needs_nobody() -> None:
    assert suffices(Config(), (GONE,))
    assert simulate(Config(), (GONE,), 1, helped=False).ok


@pytest.mark.parametrize(
    "config",
    [Config(mode="Manual"), Config(mode="Observe"), Config(settings=Settings(drilled=False)), Config(levels="bmc")],
    ids=["Manual", "Observe", "not drilled", "a BMC that dies with its server"],
)
def test_what_needs_a_person_is_no_finding_as_long_as_it_says_so(config: Config) -> None:
    assert not suffices(config, (GONE,))
    assert simulate(config, (GONE,), 1, helped=False).ok


def test_no_person_is_called_needless_where_two_servers_are_gone_or_a_device_is_ill() -> None:
    assert not suffices(Config(), (GONE, parse("host oss2 hangs", 3.0)))
    assert not suffices(Config(), (GONE, parse("pdu-left silent", 3.0)))


def test_file_of_a_run_keeps_that_nobody_attends() -> None:
    for helped in (True, False):
        assert read(write(NightFile(7, Config(), (GONE,), helped=helped))).helped is helped
