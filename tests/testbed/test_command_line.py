"""`ostkeeper testbed` as a person types it: up in one shell, verbs in another, Ctrl-C, and nothing is left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.hostlab import needs_root_and_loop
from waiting import wait_for

PROGRAM = [sys.executable, "-m", "ostkeeper.cli.main", "testbed"]
START_SECONDS = 120.0
"""Control plane and four servers on a busy machine; 10 s on an idle one."""


def typed(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "--dir", str(directory), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


@contextmanager
def up(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = directory.with_suffix(".log")
    with log.open("wb") as output:
        words = ["--dir", str(directory), "up", "--pairs", "1", "--osts", "1", "--bare"]
        process = subprocess.Popen([*PROGRAM, *words], stdout=output, stderr=output, start_new_session=True)
    try:
        wait_for(lambda: "Ctrl-C ends it" in log.read_text() or process.poll() is not None, START_SECONDS, "it is up")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30)


def left_of(directory: Path) -> list[str]:
    """Processes, loop devices and mounts that name this directory."""
    left = [f"mount: {line}" for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if str(directory) in backing.read_text():
            left.append(f"loop: {backing}")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = os.readlink(entry / "cwd")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and (str(directory) in words or place.startswith(str(directory))):
            left.append(f"process {entry.name}: {words}")
    return left


def namespaces_of_servers(truth: dict[str, Any]) -> list[str]:
    """Boot IDs that some process still sees: a namespace that outlived its world."""
    boots = {host["boot_id"] for host in truth["hosts"].values()}
    return [boot for boot in boots if any(boot in words for words in left_of(Path(boot)))]


@pytest.mark.e2e
@needs_root_and_loop
@pytest.mark.parametrize("ending", ["Ctrl-C", "down"])
def test_nothing_is_left_when_a_testbed_ends(tmp_path: Path, ending: str) -> None:
    directory = tmp_path / "w"
    with up(directory) as process:
        assert typed(directory, "exec", "oss1", "--", "sh", "-c", "hostname; exit 3").stdout == "oss1\n"
        assert typed(directory, "hang", "oss2").returncode == 0
        typed(directory, "exec", "oss1", "--", "mount", _device(directory, "scratch-OST0000"), "/mnt/ost0000")
        assert typed(directory, "stall", "oss1").returncode == 0
        truth = json.loads(typed(directory, "truth").stdout)
        assert truth["hosts"]["oss1"]["mounts"] == {"scratch-OST0000": "/mnt/ost0000"}
        assert (truth["hosts"]["oss2"]["hung"], truth["overlaps"]) == (True, 0)
        if ending == "down":
            assert typed(directory, "down").returncode == 0
        else:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    wait_for(lambda: not left_of(directory), 30, f"everything of {directory} is gone: {left_of(directory)}")
    assert namespaces_of_servers(truth) == []


def _device(directory: Path, target: str) -> str:
    device = json.loads(typed(directory, "truth").stdout)["targets"][target]["device"]
    assert isinstance(device, str)
    return device


@pytest.mark.e2e
@needs_root_and_loop
def test_verbs_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    directory = tmp_path / "w"
    with up(directory):
        wrong = typed(directory, "power", "cut", "oss9")
        assert (wrong.returncode, wrong.stderr) == (1, "no server 'oss9'; there are oss1, oss2\n")
        assert typed(directory, "exec", "oss1", "--", "sh", "-c", "exit 3").returncode == 3
        assert typed(directory, "device", "pdu-left/1", "slow").returncode == 1
        assert "another directory" in typed(tmp_path, "up").stderr


@pytest.mark.contract
def test_verb_without_a_testbed_says_how_to_start_one(tmp_path: Path) -> None:
    wrong = typed(tmp_path, "truth")
    assert wrong.returncode == 1
    assert f"ostkeeper testbed up --dir {tmp_path}" in wrong.stderr
