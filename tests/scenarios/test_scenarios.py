"""Every `*.txt` beside this file, told again: the machine does what is written there, and nothing is mounted twice."""

from pathlib import Path

import pytest

from core.story import check, read

FILES = sorted(Path(__file__).parent.glob("*.txt"))

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_scenario(path: Path, rewrite: bool) -> None:
    before, after, world = check(path, rewrite=rewrite)
    assert not world.floor.overlaps
    assert not world.store.refusals
    assert rewrite or before.splitlines() == after.splitlines(), (
        "look at the diff; bless it with --rewrite if it is right"
    )


def test_scenarios_are_many_and_a_third_of_them_start_in_the_middle_of_something() -> None:
    stories = [read(path.read_text()) for path in FILES]
    interrupted = [story for story in stories if story.start]
    assert len(stories) >= 250
    assert 3 * len(interrupted) >= len(stories)


def test_no_two_scenarios_tell_the_same_story() -> None:
    told: dict[tuple[object, ...], str] = {}
    for path in FILES:
        story = read(path.read_text())
        key = (story.given, story.start, *story.events)
        assert key not in told, f"{path.stem} is {told[key]} over again"
        told[key] = path.stem


def test_scenarios_say_in_their_first_line_what_happens_and_why() -> None:
    silent = [path.stem for path in FILES if len(" ".join(read(path.read_text()).comment)) < 30]
    assert not silent
