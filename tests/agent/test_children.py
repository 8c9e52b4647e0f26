"""Children outlive their agent, and the target's lock tells the next one."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ostkeeper.agent.children import Child, Children, NotStartedError
from ostkeeper.agent.locks import LockHeldError, Locks
from waiting import wait_for, wait_for_async

pytestmark = pytest.mark.scenario

TARGET = "scratch-OST0000"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe on which a child hangs until the test opens it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def hanging(gate: Path) -> list[str]:
    return ["sh", "-c", f"read line < {gate}; echo went on >&2; exit 32"]


def open_gate(gate: Path) -> None:
    with gate.open("w") as pipe:
        pipe.write("go\n")


async def start(children: Children, locks: Locks, argv: list[str], target: str = TARGET) -> Child:
    return await children.start(target, "mount", argv, locks.take(target))


async def test_child_holds_its_targets_lock_until_it_ends_and_says_why(
    children: Children, locks: Locks, gate: Path
) -> None:
    child = await start(children, locks, hanging(gate))
    holder = children.alive(TARGET)
    assert holder is not None
    assert (holder.verb, holder.pid, child.running) == ("mount", child.pid, True)
    with pytest.raises(LockHeldError, match=f"mount .pid {child.pid}. holds target-{TARGET}"):
        locks.take(TARGET)
    open_gate(gate)
    ended = await child.wait()
    assert (ended.returncode, ended.output) == (32, "went on")
    assert children.alive(TARGET) is None
    assert await child.wait() == ended


async def test_hung_child_blocks_no_other_target(children: Children, locks: Locks, gate: Path) -> None:
    hung = await start(children, locks, hanging(gate))
    other = await start(children, locks, ["true"], "scratch-OST0001")
    assert (await other.wait()).returncode == 0
    assert hung.running
    open_gate(gate)
    await hung.wait()


AGENT = """
import asyncio, sys
from pathlib import Path
from ostkeeper.agent.children import Children
from ostkeeper.agent.locks import Locks

async def main(directory, gate, linger):
    locks = Locks(directory / "locks")
    agent = locks.take_agent()
    child = await Children(locks, directory / "children").start(
        "scratch-OST0000", "mount", ["sh", "-c", f"read line < {gate}; echo done > {directory}/done"],
        locks.take("scratch-OST0000"))
    print(child.pid, flush=True)
    if linger:
        await child.wait()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "linger"))
"""


@contextmanager
def an_agent(directory: Path, gate: Path, *, linger: bool) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", AGENT, str(directory), str(gate), "linger" if linger else "leave"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        yield agent, int(agent.stdout.readline())


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "ended in order"])
def test_child_and_its_lock_outlive_the_agent(killed: bool, tmp_path: Path, locks: Locks, gate: Path) -> None:
    with an_agent(tmp_path, gate, linger=killed) as (agent, child_pid):
        if killed:
            agent.send_signal(signal.SIGKILL)
        agent.wait(timeout=10)
    next_agent = locks.take_agent()  # the lock of the one agent is free: children do not inherit that one
    holder = Children(locks, tmp_path / "children").alive(TARGET)
    assert holder is not None
    assert (holder.pid, holder.verb) == (child_pid, "mount")
    with pytest.raises(LockHeldError):
        locks.take(TARGET)
    open_gate(gate)
    wait_for(lambda: locks.holder(TARGET) is None, 10, "the child of the old agent has ended")
    assert (tmp_path / "done").read_text() == "done\n"
    next_agent.release()


def test_second_agent_on_a_host_is_refused(tmp_path: Path, locks: Locks, gate: Path) -> None:
    with an_agent(tmp_path, gate, linger=True) as (agent, _):
        with pytest.raises(LockHeldError, match=f"pid {agent.pid}"):
            locks.take_agent()
        open_gate(gate)
    locks.take_agent().release()


async def test_missing_command_lets_the_lock_go(children: Children, locks: Locks) -> None:
    with pytest.raises(FileNotFoundError):
        await start(children, locks, ["no-such-mount"])
    assert children.alive(TARGET) is None


async def test_child_whose_time_has_passed_is_not_started(children: Children, locks: Locks, tmp_path: Path) -> None:
    trace = tmp_path / "started"
    with pytest.raises(NotStartedError):
        await children.start(TARGET, "mount", ["touch", str(trace)], locks.take(TARGET), until=time.monotonic() - 1)
    assert not trace.exists()
    assert children.alive(TARGET) is None


async def test_child_whose_caller_goes_while_the_root_disk_stalls_is_never_started(
    children: Children, locks: Locks, tmp_path: Path, gate: Path
) -> None:
    log = tmp_path / "children" / f"{TARGET}.mount.log"
    os.mkfifo(log)  # opening it for writing blocks, as a stalled root disk would
    trace = tmp_path / "started"
    starting = asyncio.ensure_future(start(children, locks, ["touch", str(trace)]))
    await wait_for_async(lambda: children.alive(TARGET) is not None, 5, "it is being started")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert children.alive(TARGET) is not None, "it could still be started, as far as anyone can tell"
    descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    await wait_for_async(lambda: children.alive(TARGET) is None, 5, "the start was given up")
    os.close(descriptor)
    assert not trace.exists()


async def test_command_is_found_through_path_and_speaks_c(
    children: Children, locks: Locks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = tmp_path / "bin" / "mount"
    wrapper.parent.mkdir()
    wrapper.write_text('#!/bin/sh\necho "$LC_ALL $PWD"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    assert (await (await start(children, locks, ["mount"])).wait()).output == "C /"


async def test_only_the_last_words_of_a_talkative_child_are_kept(children: Children, locks: Locks) -> None:
    child = await start(children, locks, ["sh", "-c", "yes | head -c 100000; echo the end"])
    output = (await child.wait()).output
    assert output.endswith("the end")
    assert len(output) <= 4096


@pytest.mark.parametrize("name", ["../agent", "a/b", "", ".hidden", "a b"])
def test_target_that_is_no_file_name_is_refused(name: str, locks: Locks) -> None:
    with pytest.raises(ValueError, match="cannot name a lock file"):
        locks.take(name)


def test_lock_is_held_until_every_copy_is_released(locks: Locks) -> None:
    lock = locks.take(TARGET)
    copy = lock.duplicate()
    lock.release()
    lock.release()
    assert locks.holder(TARGET) is not None
    copy.release()
    assert locks.holder(TARGET) is None
    with pytest.raises(ValueError, match="released already"):
        lock.note("mount")


def test_scribbled_lock_file_still_locks(locks: Locks, tmp_path: Path) -> None:
    with locks.take(TARGET):
        (tmp_path / "locks" / f"target-{TARGET}.lock").write_text("scribble")
        holder = locks.holder(TARGET)
        assert holder is not None
        assert str(holder) == f"somebody (pid ?) holds target-{TARGET}"
