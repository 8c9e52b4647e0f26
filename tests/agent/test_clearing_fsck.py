"""What a killed e2fsck leaves in MMP, with the real one: who refuses it, and the one way out that checks both servers."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.blocks import block_of, superblock_of, with_mark, write_block
from agent.disks import SharedDisk, run
from ostkeeper.agent import fsckmark
from ostkeeper.agent.backends import mmp
from ostkeeper.agent.backends.base import DiskError
from ostkeeper.agent.locks import Locks
from ostkeeper.cli.main import main
from ostkeeper.core.diskview import MmpState

pytestmark = pytest.mark.contract
WATCH = 0.6


@contextmanager
def e2fsck_at_a_prompt(disk: SharedDisk) -> Iterator[subprocess.Popen[bytes]]:
    """A real e2fsck of oss1 that has found an error and asks what to do."""
    run("debugfs", "-w", "-R", "ssv free_blocks_count 7", str(disk.image))
    ours, theirs = pty.openpty()
    with subprocess.Popen(["e2fsck", "-f", disk.oss1.device], stdin=theirs, stdout=theirs, stderr=theirs) as checking:
        os.close(theirs)
        said = b""
        while not said.rstrip().endswith(b"?") and b"<y>" not in said:
            said += os.read(ours, 4096)
        try:
            yield checking
        finally:
            checking.kill()
            checking.wait()
            os.close(ours)


def left_by_e2fsck(disk: SharedDisk, node: str = "") -> None:
    """The block as a killed e2fsck of this server, or of another, leaves it."""
    name = (node or os.uname().nodename).encode()
    write_block(disk.image, with_mark(disk.image, name, b"sda", mmp.SEQUENCE_FSCK))


def killed(disk: SharedDisk) -> None:
    """The same, by a real one: it takes 11 s, for it looks at MMP as a mount does."""
    with e2fsck_at_a_prompt(disk) as checking:
        checking.send_signal(signal.SIGKILL)
        checking.wait()
    assert int.from_bytes(block_of(disk.image)[4:8], "little") == mmp.SEQUENCE_FSCK


def seen_on(disk: SharedDisk, boot_id: str = "boot-of-oss2", node: str = "oss2") -> fsckmark.Look:
    """What the other server sees: the same block, in a boot of its own."""
    return replace(fsckmark.look(disk.oss2.device, WATCH), boot_id=boot_id, node=node)


def test_e2fsck_and_mount_refuse_what_a_killed_e2fsck_left(disk: SharedDisk) -> None:
    killed(disk)
    again = subprocess.run(["e2fsck", "-f", "-y", disk.oss1.device], capture_output=True, text=True, check=False)
    assert again.returncode & 8, "an operational error: nothing was checked"
    assert "clear_mmp" in again.stdout + again.stderr, "the only way that it names"
    assert subprocess.run(["mount", "-t", "ext4", disk.oss1.device, str(disk.oss1.mount_point)], check=False).returncode


def test_cleared_after_both_have_looked_and_e2fsck_runs_again(
    disk: SharedDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    killed(disk)
    patient = fsckmark.look

    def short(device: str) -> fsckmark.Look:
        return replace(patient(device, WATCH), boot_id=f"boot-of-{Path(device).name}")

    monkeypatch.setattr(fsckmark, "look", short)
    before = disk.image.read_bytes()
    assert main(["clear-fsck", disk.oss2.device]) == 0
    said = re.search(r"--partner (\S+)", capfd.readouterr().out)
    assert said is not None
    assert disk.image.read_bytes() == before, "the first look writes nothing"
    command = ["clear-fsck", disk.oss1.device, "--partner", said[1], "--lock-dir", str(tmp_path), "--e2fsck-options=-y"]
    assert main(command) == 1, "e2fsck: errors were corrected"
    assert "MMP cleared" in capfd.readouterr().out
    disk.oss1.mount()
    disk.oss1.unmount()
    assert run("e2fsck", "-f", "-n", disk.oss1.device)


def test_nothing_is_cleared_while_e2fsck_waits_at_its_prompt(disk: SharedDisk) -> None:
    with e2fsck_at_a_prompt(disk) as checking:
        with pytest.raises(DiskError, match=rf"e2fsck \(pid {checking.pid}\)") as told:
            fsckmark.look(disk.oss1.device, WATCH)
        assert told.value.reason == "DeviceBusy"


def test_running_e2fsck_is_found_by_a_shell_that_may_not_look_into_processes(
    disk: SharedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsckmark, "holders", lambda *_: [])
    with e2fsck_at_a_prompt(disk), pytest.raises(DiskError) as told:
        fsckmark.look(disk.oss1.device, WATCH)
    assert told.value.reason == "DeviceBusy"


def test_block_that_is_rewritten_while_it_is_watched_is_not_cleared(
    disk: SharedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_e2fsck(disk)
    later = with_mark(disk.image, b"oss1", b"later", mmp.SEQUENCE_FSCK)
    monkeypatch.setattr("ostkeeper.agent.fsckmark.time.sleep", lambda _: write_block(disk.image, later))
    with pytest.raises(DiskError) as told:
        fsckmark.look(disk.oss1.device, WATCH)
    assert told.value.reason == "FsckRunning"


def test_ordinary_sequence_and_clean_are_none_of_its_business(disk: SharedDisk) -> None:
    for sequence in (4711, mmp.SEQUENCE_CLEAN):
        write_block(disk.image, with_mark(disk.image, b"oss1", b"sda", sequence))
        with pytest.raises(DiskError) as told:
            fsckmark.look(disk.oss1.device, WATCH)
        assert told.value.reason == "NotFsck"


@pytest.mark.parametrize("case", ["own words", "another block", "old words", "no words", "a third host"])
def test_words_that_do_not_allow_it_are_refused(disk: SharedDisk, case: str) -> None:
    left_by_e2fsck(disk)
    if case == "a third host":
        left_by_e2fsck(disk, "rescue")
    mine, theirs = fsckmark.look(disk.oss1.device, WATCH), seen_on(disk)
    words = {
        "own words": mine.words,
        "another block": theirs.words.replace(theirs.digest, "0" * 64),
        "old words": replace(theirs, wall=theirs.wall - 660).words,
        "no words": "trust me",
        "a third host": theirs.words,
    }[case]
    assert fsckmark.refusal(mine, words, "")
    assert case == "a third host" or not fsckmark.refusal(mine, theirs.words, "")


def test_word_that_the_partner_is_off_counts_for_a_block_of_either(disk: SharedDisk) -> None:
    left_by_e2fsck(disk, "oss2")
    mine = fsckmark.look(disk.oss1.device, WATCH)
    assert fsckmark.refusal(mine, "", "oss2") == ""
    assert "neither this server" in fsckmark.refusal(mine, "", "oss9")


def test_clear_refuses_a_block_that_changed_since_the_look_and_a_device_that_is_held(disk: SharedDisk) -> None:
    left_by_e2fsck(disk)
    mine = fsckmark.look(disk.oss1.device, WATCH)
    left_by_e2fsck(disk, "oss2")
    with pytest.raises(DiskError) as told:
        fsckmark.clear(mine)
    assert told.value.reason == "BlockChanged"
    held = os.open(disk.oss1.device, os.O_RDONLY | os.O_EXCL)
    with pytest.raises(DiskError) as busy:
        fsckmark.clear(mine)
    os.close(held)
    assert busy.value.reason == "DeviceBusy"


def test_nothing_is_cleared_while_a_child_of_the_agent_holds_the_target(
    disk: SharedDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    left_by_e2fsck(disk)
    mine, theirs = fsckmark.look(disk.oss1.device, WATCH), seen_on(disk)
    monkeypatch.setattr(fsckmark, "look", lambda device: mine)
    with Locks(tmp_path / "locks").take("scratch-OST0000", "mount"):
        words = ["--partner", theirs.words, "--lock-dir", str(tmp_path)]
        assert main(["clear-fsck", disk.oss1.device, *words]) == 3
    assert "Nothing was written" in capfd.readouterr().err
    assert mmp.parse(block_of(disk.image), superblock_of(disk.image)).state is MmpState.FSCK
