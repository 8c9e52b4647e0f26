"""One run: it is the same in every process, a server that dies is replaced, and what was broken is served in the end."""

import subprocess
import sys

import pytest

from ostkeeper.sim.config import Config, Settings
from ostkeeper.sim.draw import WEIGHTS, draw
from ostkeeper.sim.faults import KINDS, Fault, parse
from ostkeeper.sim.levers import LEVERS
from ostkeeper.sim.run import Result, run_seed, simulate

pytestmark = pytest.mark.sim

FAILOVER = "Failover: >Holding", "Failover: Fencing>Relocating", "Failover: Recovering>Complete"


def told(result: Result) -> str:
    return f"{result.seed} {result.violations} {result.unserved} {result.events} {result.seconds} {result.transitions}"


def test_run_without_faults_stays_at_rest() -> None:
    result = simulate(Config(), (), 1)
    assert result.ok
    assert not result.transitions


@pytest.mark.parametrize(
    "words", ["host oss1 dies", "host oss1 hangs", "host oss1 panics", "host oss1 loses its power"]
)
def test_target_of_a_server_that_fails_is_moved_unasked(words: str) -> None:
    result = simulate(Config(), (parse(words, 1.0, 60.0),), 1)
    assert result.ok
    assert all(result.transitions.get(edge) for edge in FAILOVER)


def test_day_of_the_install_ends_with_every_target_at_home() -> None:
    assert simulate(Config(settings=Settings(adopted=False, drilled=False)), (), 1).ok


def test_seed_gives_the_same_run_in_another_process_with_another_hash_seed() -> None:
    code = (
        "import sys; from sim.test_runs import told; from ostkeeper.sim.run import run_seed; print(told(run_seed(7)))"
    )
    path = ":".join(sys.path)
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert runs == [told(run_seed(7))] * 2


def test_every_kind_of_fault_can_happen_and_is_drawn() -> None:
    assert set(LEVERS) == set(KINDS)
    assert set(WEIGHTS) == set(KINDS)


def test_draw_never_combines_what_is_outside_of_the_fault_model() -> None:
    for seed in range(500):
        kinds = {fault.kind for fault in draw(seed)[1]}
        assert not ("device-lying" in kinds and "host-hangs" in kinds)
        assert not ("etcd-restored" in kinds and "agent-forgets" in kinds)


def test_fault_that_lasts_ends_when_it_says() -> None:
    fault = Fault("host-loses-power", 1.0, 5.0, ("oss1",))
    assert simulate(Config(), (fault,), 3).ok
