"""What the node remembers survives a crash at any point, and is never mistaken for nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostkeeper.agent.store import MountRecord, State, Store, StoreError, load, save
from ostkeeper.core.diskview import Mark

pytestmark = pytest.mark.scenario

CLUSTER, DISK = "0d9f7c4e-cluster", "5f3c-disk"
OLD = State().with_epochs(CLUSTER, {DISK: 41})
NEW = OLD.with_epochs(CLUSTER, {DISK: 42}).with_mount(
    "scratch-OST0000", MountRecord(DISK, "boot-1", 42, "mounted", Mark("oss1", "sdb"))
)


def test_state_reads_back_as_written(tmp_path: Path) -> None:
    save(tmp_path, NEW)
    assert load(tmp_path) == NEW
    assert load(tmp_path).epoch(CLUSTER, DISK) == 42
    assert load(tmp_path).epoch("another-cluster", DISK) == 0


def test_first_start_is_empty(tmp_path: Path) -> None:
    assert Store(tmp_path / "var" / "lib").state == State()


async def test_epoch_never_goes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    await store.see_epochs(CLUSTER, {DISK: 42, "other": 7})
    await store.see_epochs(CLUSTER, {DISK: 41})
    assert Store(tmp_path).state.epochs == {CLUSTER: {DISK: 42, "other": 7}}


async def test_mount_of_an_earlier_boot_is_not_ours(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = MountRecord(DISK, "boot-1", 42)
    await store.record_mount("scratch-OST0000", record)
    again = Store(tmp_path).state
    assert again.mounted("scratch-OST0000", "boot-1") == record
    assert again.mounted("scratch-OST0000", "boot-2") is None
    await store.forget_mount("scratch-OST0000")
    assert Store(tmp_path).state.mounted("scratch-OST0000", "boot-1") is None


async def test_writes_asked_for_at_once_all_land(tmp_path: Path) -> None:
    store = Store(tmp_path)
    await asyncio.gather(*(store.see_epochs(CLUSTER, {f"disk-{n}": n}) for n in range(1, 20)))
    assert Store(tmp_path).state.epochs[CLUSTER] == {f"disk-{n}": n for n in range(1, 20)}


async def test_write_whose_caller_went_is_not_undone_by_the_next(tmp_path: Path) -> None:
    store, unstall = Store(tmp_path), threading.Event()
    stalled = asyncio.ensure_future(store._worker.run(unstall.wait))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.see_epochs(CLUSTER, {DISK: 42}), 0.05)
    assert store.state.epoch(CLUSTER, DISK) == 0, "not durable, so not shown"
    unstall.set()
    await store.record_mount("scratch-OST0000", MountRecord(DISK, "boot-1", 42))
    await stalled
    assert store.state == Store(tmp_path).state
    assert store.state.epoch(CLUSTER, DISK) == 42


class Killed(BaseException):
    """The process dies here: no handler of the store's runs."""


STEPS = ("open", "fsync", "rename")


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int, *, after: bool) -> Callable[[], int]:
    """Let the process die before, or right after, the step-th of its system calls; hand back how many were made."""
    made = 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal made
            made += 1
            if made == step and not after:
                raise Killed
            result = call(*arguments, **named)
            if made == step:
                raise Killed
            return result

        return wrapped

    for name in STEPS:
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    return lambda: made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, 6))
def test_crash_at_any_step_leaves_the_old_state_or_the_new(
    step: int, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, OLD)
    with monkeypatch.context() as patched:
        made = crash_at(patched, step, after=after)
        with pytest.raises(Killed):
            save(tmp_path, NEW)
    assert made() == step
    renamed = step > 3 or (step == 3 and after)
    assert load(tmp_path) == (NEW if renamed else OLD)
    save(tmp_path, NEW)
    assert load(tmp_path) == NEW


def test_save_takes_the_five_steps_that_the_crashes_are_tried_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        made = crash_at(patched, 0, after=False)
        save(tmp_path, NEW)
    assert made() == 5, "open, fsync, rename, open and fsync of the directory"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_temporary_file_cut_short_by_a_crash_is_ignored(share: float, tmp_path: Path) -> None:
    save(tmp_path, NEW)
    whole = (tmp_path / "state.json").read_bytes()
    save(tmp_path, OLD)
    (tmp_path / "state.json.new").write_bytes(whole[: int(len(whole) * share)])
    assert load(tmp_path) == OLD


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw.replace(b"42", b"12"),
        lambda raw: b"\0" * len(raw),
        lambda raw: json.dumps([1, 2]).encode(),
        lambda raw: b'{"sha256": "x"}',
    ],
    ids=["empty", "cut short", "an epoch changed", "zeros", "another shape", "no state"],
)
def test_damaged_file_is_an_error_and_never_empty(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    save(tmp_path, NEW)
    path = tmp_path / "state.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match="mounts nothing") as told:
        Store(tmp_path)
    assert str(path) in str(told.value)


async def test_failed_write_raises_and_is_not_shown_as_durable(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "state.json.new").mkdir()
    with pytest.raises(StoreError, match="nothing that rests on it is done"):
        await store.see_epochs(CLUSTER, {DISK: 42})
    assert store.state.epoch(CLUSTER, DISK) == 0
    (tmp_path / "state.json.new").rmdir()
    await store.see_epochs(CLUSTER, {DISK: 42})
    assert Store(tmp_path).state.epoch(CLUSTER, DISK) == 42


WRITER = """
import asyncio, sys
from pathlib import Path
from ostkeeper.agent.store import Store

async def main():
    store = Store(Path(sys.argv[1]))
    for epoch in range(1, 100000):
        await store.see_epochs("cluster", {"disk": epoch})
        print(epoch, flush=True)

asyncio.run(main())
"""


def test_epoch_that_was_durable_is_there_after_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(25):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        durable = [int(line) for line in writer.stdout.read().splitlines() if line.isdigit()]
    assert load(tmp_path).epoch("cluster", "disk") >= max(durable, default=25)
