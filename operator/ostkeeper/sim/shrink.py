"""From a seed that fails to the smallest night that still does, and that night as a text file which a test replays.

Here: leaving out faults and peculiarities one by one, and the file's form. Not here: what fails (`run.Result`).

    # mounted twice: scratch-OST0000: oss2 begins to mount it, and oss1 could still write to it
    seed    1365
    config  targets 1
    config  settings.drift 0.005
    fault   {"kind": "host-hangs", "at": 12.0, "until": 30.0, "args": ["oss1"]}   # host oss1 hangs
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from ostkeeper.sim.config import Config, Settings
from ostkeeper.sim.draw import attended, draw
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.run import Result, simulate

MOST = 400
"""Runs after which what was reached is small enough."""
Fails = Callable[[Result], bool]


class NightFileError(Exception):
    """A file is not a night. The text names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class NightFile:
    """What is needed to play one night again."""

    seed: int
    config: Config
    faults: tuple[Fault, ...]
    why: tuple[str, ...] = ()
    """What was seen in it."""
    helped: bool = True
    """People repair and answer in the end (`run.night`)."""

    def play(self) -> Result:
        """Run it."""
        return simulate(self.config, self.faults, self.seed, helped=self.helped)


def fails(result: Result) -> bool:
    """Something was seen that must never be, or a target was not served in the end."""
    return not result.ok


def shrink(seed: int, still: Fails = fails, night: NightFile | None = None, most: int = MOST) -> NightFile:
    """Leave out what can be left out, until nothing more can. `night`: where to begin, if not with what the seed draws.

    Raises ValueError when it does not fail to begin with.
    """
    small = night or NightFile(seed, *draw(seed), helped=attended(seed))
    last = small.play()
    if not still(last):
        raise ValueError(f"seed {seed} is well: there is nothing to shrink")
    runs, again = 1, True
    while again:
        again = False
        for smaller in _smaller(small):
            if runs >= most:
                return _told(small, last)
            runs += 1
            result = smaller.play()
            if still(result):
                small, last, again = smaller, result, True
                break
    return _told(small, last)


def _told(night: NightFile, result: Result) -> NightFile:
    return replace(night, why=(*result.violations, *result.unserved)[:4])


def _smaller(night: NightFile) -> Iterator[NightFile]:
    """Each with one thing less: a fault, the end of one, a peculiarity of the world."""
    for place in range(len(night.faults)):
        yield replace(night, faults=night.faults[:place] + night.faults[place + 1 :])
    plain = Config()
    for field in fields(Config):
        if field.name != "settings" and getattr(night.config, field.name) != getattr(plain, field.name):
            yield replace(night, config=replace(night.config, **{field.name: getattr(plain, field.name)}))
    usual, settings = Settings(), night.config.settings
    for field in fields(Settings):
        if getattr(settings, field.name) != getattr(usual, field.name):
            changed = replace(settings, **{field.name: getattr(usual, field.name)})
            yield replace(night, config=replace(night.config, settings=changed))
    for place, fault in enumerate(night.faults):
        if fault.until is not None:
            endless = replace(fault, until=None)
            yield replace(night, faults=(*night.faults[:place], endless, *night.faults[place + 1 :]))


# --- the file


def write(night: NightFile) -> str:
    """The night as text."""
    lines = [*(f"# {line}" for line in night.why), f"seed    {night.seed}"]
    plain = Config().wire()
    for name, value in night.config.wire().items():
        if name == "settings":
            usual = plain["settings"]
            lines += [f"config  settings.{n} {json.dumps(v)}" for n, v in value.items() if v != usual[n]]
        elif value != plain[name]:
            lines.append(f"config  {name} {json.dumps(value)}")
    if not night.helped:
        lines.append("people  none")
    lines += [f"fault   {json.dumps(fault.wire())}   # {fault.sentence}" for fault in night.faults]
    return "\n".join(lines) + "\n"


def read(text: str) -> NightFile:
    """A night from its text. Raises NightFileError."""
    seed: int | None = None
    config: dict[str, Any] = Config().wire()
    faults: list[Fault] = []
    why: list[str] = []
    helped = True
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        try:
            match word:
                case "":
                    pass
                case "#":
                    why.append(rest)
                case "seed":
                    seed = int(rest)
                case "config":
                    _set(config, *rest.strip().split(" ", 1))
                case "people":
                    helped = _people(rest.strip())
                case "fault":
                    faults.append(Fault.parse(json.JSONDecoder().raw_decode(rest.strip())[0]))
                case _:
                    raise ValueError("a line begins with seed, config, people, fault or #")
        except (ValueError, KeyError, TypeError) as error:
            raise NightFileError(f"line {number}: {line!r}: {error}") from error
    if seed is None:
        raise NightFileError("there is no seed")
    return NightFile(seed, Config.parse(config), tuple(faults), tuple(why), helped)


def _people(word: str) -> bool:
    if word not in ("none", "help"):
        raise ValueError("people: none or help")
    return word == "help"


def _set(config: dict[str, Any], name: str, value: str) -> None:
    where, _, inner = name.partition(".")
    into, key = (config[where], inner) if inner else (config, where)
    if key not in into:
        raise ValueError(f"no such word of a run: {name}")
    into[key] = json.loads(value)
