"""All nights of a day from one world at rest: it comes to rest once, and each night is played by a child of the process.

To come to rest (leaders, first reports, all that is armed) takes a third of a run. A forked child begins with its parent's
memory as it stands, so that what it plays is, event by event, what `run.simulate` plays of the same seed; it ends without
tidying up. Here: processes, and nothing of the simulation. Not here: what a night is (`run`), many days (`soak`).
"""

from __future__ import annotations

import gc
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import TypeVar

from ostkeeper.sim.draw import day_of, draw
from ostkeeper.sim.run import Result, dawn, night
from ostkeeper.sim.world import World

T = TypeVar("T")


class ChildError(Exception):
    """A night's process ended without a result: it raised (its traceback stands above), or was killed."""


def run_seeds(first: int, beyond: int) -> Iterator[Result]:
    """The results of all seeds from the first up to, and without, the second. Raises ChildError."""
    for _, seeds in groupby(range(first, beyond), day_of):
        world: World | None = None
        for seed in seeds:
            config, faults = draw(seed)
            world = world or dawn(config, seed)
            yield in_a_child(partial(night, world, config, faults, seed))


def in_a_child(work: Callable[[], T]) -> T:
    """Do it in a copy of this process. Raises ChildError where it did not come to a result."""
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
        raise ChildError(f"process {child} ended with status {os.waitstatus_to_exitcode(status)} and no result")
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
