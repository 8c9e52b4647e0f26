"""The testbed's entry: the operator stops itself right after the write of a phase was acknowledged, once for each order."""

import signal
from pathlib import Path
from typing import Any

import pytest

from ostkeeper.api.failover import FailoverStatus, Phase
from ostkeeper.core.events import Outcome
from ostkeeper.ports import Cluster, Written
from ostkeeper.testbed import operator_entry
from ostkeeper.testbed.operator_entry import trap
from ostkeeper.testbed.operators import WHEN, WHEN_FILE, order_file

pytestmark = pytest.mark.scenario


class Stored:
    """Answers every write with `outcome`."""

    outcome = Outcome.OK

    async def write_failover(self, key: str, version: str, status: FailoverStatus) -> Written:
        return Written(self.outcome)


class Struck:
    """What the entry did to itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.signals: list[signal.Signals] = []
        self.stored = Stored()
        monkeypatch.setattr(operator_entry, "strike", self.signals.append)

    def cluster(self) -> Cluster:
        stored: Any = self.stored
        return trap(stored)


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> Struck:
    monkeypatch.delenv(WHEN, raising=False)
    monkeypatch.delenv(WHEN_FILE, raising=False)
    return Struck(monkeypatch)


async def write(cluster: Cluster, phase: Phase) -> None:
    await cluster.write_failover("scratch/pair-a-7", "1", FailoverStatus(phase=phase))


async def test_order_from_the_environment_is_obeyed_once(struck: Struck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WHEN, "Fencing:kill")
    cluster = struck.cluster()
    await write(cluster, "Holding")
    assert struck.signals == []
    await write(cluster, "Fencing")
    await write(cluster, "Fencing")
    assert struck.signals == [signal.SIGKILL]


async def test_orders_from_files_are_obeyed_at_any_time_and_taken_away(
    struck: Struck, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "op-1.when"
    monkeypatch.setenv(WHEN_FILE, str(file))
    cluster = struck.cluster()
    await write(cluster, "Relocating")
    for order in ("Relocating:stop", "Recovering:kill"):
        order_file(file, order.partition(":")[0]).write_text(f"{order}\n")
    await write(cluster, "Fencing")
    assert struck.signals == []
    await write(cluster, "Relocating")
    await write(cluster, "Relocating")
    assert struck.signals == [signal.SIGSTOP]
    await write(cluster, "Recovering")
    await write(cluster, "Recovering")
    assert struck.signals == [signal.SIGSTOP, signal.SIGKILL]
    assert list(tmp_path.iterdir()) == []


async def test_write_that_was_not_acknowledged_is_no_phase(struck: Struck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WHEN, "Fencing:kill")
    struck.stored.outcome = Outcome.CONFLICT
    await write(struck.cluster(), "Fencing")
    assert struck.signals == []


def test_operator_without_an_order_is_not_wrapped_and_a_wrong_order_is_told(
    struck: Struck, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(struck.cluster(), Stored)
    monkeypatch.setenv(WHEN, "Shooting:kill")
    with pytest.raises(ValueError, match="not PHASE:kill or PHASE:stop; phases are AwaitingApproval"):
        struck.cluster()
