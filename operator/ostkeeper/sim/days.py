"""All nights of a day from one world at rest: it comes to rest once, and its nights are played by children of the process.

To come to rest (leaders, first reports, all that is armed) takes as long as a night. A forked child begins with its parent's
memory as it stands, so that what it plays is, event by event, what `run.simulate` plays of the same seed; it ends without
tidying up. Worlds of some days stand side by side, and a child plays one night of each: a fork, and the pages that any night
writes to, cost a fifth of a night. Here: processes, and nothing of the simulation. Not here: what a night is (`run`), many
days (`soak`).
"""

from __future__ import annotations

import gc
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, zip_longest
from typing import TypeVar

from ostkeeper.sim.draw import attended, day_of, draw
from ostkeeper.sim.run import Result, dawn, night
from ostkeeper.sim.world import World

T = TypeVar("T")
ABREAST = 8
"""Days whose worlds stand side by side."""


class ChildError(Exception):
    """A process of nights ended without a result: it raised (its traceback stands above), or was killed."""


def run_seeds(first: int, beyond: int) -> Iterator[Result]:
    """The results of all seeds from the first up to, and without, the second, in any order. Raises ChildError."""
    days = [list(seeds) for _, seeds in groupby(range(first, beyond), day_of)]
    for start in range(0, len(days), ABREAST):
        yield from _side_by_side(days[start : start + ABREAST])


def _side_by_side(days: Sequence[Sequence[int]]) -> Iterator[Result]:
    worlds = [dawn(draw(seeds[0])[0], seeds[0]) for seeds in days]
    for seeds in zip_longest(*days):
        nights = [(world, seed) for world, seed in zip(worlds, seeds, strict=True) if seed is not None]
        yield from in_a_child(partial(_play, nights), f"seeds {', '.join(str(seed) for _, seed in nights)}")


def _play(nights: Sequence[tuple[World, int]]) -> list[Result]:
    return [night(world, *draw(seed), seed, helped=attended(seed)) for world, seed in nights]


def in_a_child(work: Callable[[], T], what: str) -> T:
    """Do it in a copy of this process. Raises ChildError, which says `what` it was, where it did not come to a result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        raise ChildError(f"{what}: their process ended with status {os.waitstatus_to_exitcode(status)} and no result")
    done: T = pickle.loads(said)
    return done


def _work(work: Callable[[], T], writing: int) -> None:
    """In the child: never returns, and flushes nothing that its parent had begun to write."""
    status = 1
    try:
        gc.disable()  # its memory is its parent's until it is written to, and it lives for a moment
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(work(), pipe)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)
