"""Random interleavings of faults: nothing is ever mounted twice, and once all is repaired the pair comes to rest.

Hypothesis shrinks a night that goes wrong; its story is printed as a scenario file, to be put into `tests/scenarios`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

from core.chaos import GIVEN, WORDS, heal, night, unrest
from core.story import Story

pytestmark = pytest.mark.sim

WAITS = st.sampled_from((0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 15.0, 20.0))
DEATHS = st.sampled_from(("oss1 panics", "oss1 hangs", "oss1 loses its mains", "oss2 hangs", "oss2 loses its mains"))
NIGHTS = st.lists(st.tuples(WAITS, st.sampled_from(WORDS)), min_size=2, max_size=12)


def told(story: Story) -> str:
    lines = [f"given  {story.given}", *(f"{when:6.1f}s  ! {words}" for when, words in story.events)]
    return "\n".join([*lines, f"until  {story.until:g}s"])


@seed(20261123)
@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(GIVEN), st.tuples(WAITS, DEATHS), NIGHTS)
def test_nothing_is_mounted_twice_and_all_comes_to_rest_whatever_the_night(
    setup: str, death: tuple[float, str], faults: list[tuple[float, str]]
) -> None:
    world, story = night(setup, [*faults[:1], death, *faults[1:]])
    note(told(story))
    heal(world, 400)
    assert not unrest(world), "\n".join(world.log.lines[-40:])
