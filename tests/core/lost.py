"""Worlds that begin where an operator was lost right after a write: adoption, orderly moves, rejoin, deletion.

`start  lost after WORDS; EVENT; EVENT; then EVENT`: the events befall a pair at rest, in this order and at once (`+60s`
lets a minute pass); the operator is lost with the first write after them whose line in the log has these words, and what
comes after `then` happens at that moment. Five seconds later, at second 0, another operator leads. Here: playing the way
there, for these ways are short. Not here: the moments of a Failover, which are stored without being played (`interrupted`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from core.world import World, Write
from core.worldlog import effect_lines

PATIENCE = 900.0
"""Seconds within which the write has to come."""
LEADERLESS = 5.0


def begin(world: World, start: str, happen: Callable[[World, str], None]) -> World:
    """Play up to the write, lose the operator, and let another one lead. Raises ValueError when the write never comes."""
    head, *events = (part.strip() for part in start.split(";"))
    words = head.removeprefix("lost after ")
    lost = False

    def hook(write: Write) -> str:
        nonlocal lost
        text = " ".join(effect_lines([write], world.zero)).replace("scratch-OST", "OST")
        if lost or words not in text:
            return ""
        lost = True
        return "crash"

    world.log.muted = True
    world.log.lines.clear()
    before = [e for e in events if not e.startswith("then ")]
    for words_ in before[:-1] if before else []:
        _pass(world, words_, happen)
    world.write_hook = hook
    for words_ in before[-1:]:
        _pass(world, words_, happen)
    if not world.run_until(lambda: lost, PATIENCE):
        raise ValueError(f"start: nothing that was written has {words!r}")
    world.write_hook = lambda _: ""
    for event in events:
        if event.startswith("then "):
            happen(world, event.removeprefix("then "))
    world.clock.run(world.now + LEADERLESS)
    world.zero = world.now
    world.writes.clear()
    world.log.muted = False
    world.start_operator()
    return world


def _pass(world: World, words: str, happen: Callable[[World, str], None]) -> None:
    if found := re.fullmatch(r"\+([\d.]+)s", words):
        world.clock.run(world.now + float(found[1]))
    else:
        happen(world, words)
