"""What the live table shows to a person, on wide and on narrow terminals."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from demo.floors import ost, scene, server
from ostkeeper.testbed.livetable import Picture
from ostkeeper.testbed.scene import FeedSeen, Scene

pytestmark = pytest.mark.scenario


def drawn(seen: Scene, width: int = 150, lines: tuple[str, ...] = ()) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=50, highlight=False)
    console.print(Picture(seen, lines, "3. oss1 crashes"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def floor() -> Scene:
    dark = (FeedSeen("pdu-left/1", False), FeedSeen("pdu-right/1", True))
    dead = server("oss1", running=False, powered=False, feeds=dark, verdict="Fenced")
    taken = server("oss2", ["scratch-OST0000"])
    return scene([dead, taken], [ost(0, "oss1", "oss2", "Mounted"), ost(1, "oss2")], samples=1234)


def test_wide_terminal_shows_servers_and_osts_side_by_side() -> None:
    lines = drawn(floor())
    row = next(line for line in lines if line.startswith("oss1"))
    assert "no power" in row
    assert "○ ●" in row
    assert "Fenced" in row
    assert row.split()[-5:] == ["OST0000", "oss1", "oss2", "Mounted", "oss2"]


def test_narrow_terminal_shows_them_one_below_the_other() -> None:
    lines = drawn(floor(), width=80)
    assert not any("Fenced" in line and "OST0000" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["OST0000", "oss1", "oss2", "Mounted", "oss2"] for line in lines)


def test_ost_that_is_mounted_nowhere_says_so() -> None:
    assert any("OST0001" in line and "nowhere" in line for line in drawn(floor()))


def test_ost_that_is_mounted_twice_names_both_servers() -> None:
    both = [server("oss1", ["scratch-OST0000"]), server("oss2", ["scratch-OST0000"])]
    assert any("oss1, oss2" in line for line in drawn(scene(both, [ost(0, "oss1", "oss1", "Mounted")])))


def test_monitor_that_saw_a_double_mount_is_not_overlooked() -> None:
    assert any("none was ever held twice" in line and "1,234" in line for line in drawn(floor()))
    assert any("MOUNTED TWICE 2 times" in line for line in drawn(replace(floor(), overlaps=2)))


def test_long_lines_do_not_wrap() -> None:
    lines = drawn(floor(), width=120, lines=("x" * 300, "the newest"))
    assert lines[-1].strip() == "the newest"
    assert sum("xxx" in line for line in lines) == 1
