"""Every `*.txt` beside this file, told again: the machine does what is written there, and nothing is mounted twice."""

from pathlib import Path

import pytest

from core.story import check

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
