"""What `ostkeeper simulate` does: manifests in, nights told, exit status out.

Here: reading the words of the command line, playing nights on all processors, a progress bar. Not here: how a night looks
(`nightshow`, `nightpage`).
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import get_args

from ostkeeper.api.common import Resource, seconds
from ostkeeper.api.failover import Answer
from ostkeeper.api.oss import MOST_TARGETS
from ostkeeper.cli import nightpage, nightshow
from ostkeeper.cli.manifests import ManifestError, load
from ostkeeper.core.claims import find_problems, pair_key
from ostkeeper.core.events import Problem
from ostkeeper.sim import fmea
from ostkeeper.sim.config import Settings, Site
from ostkeeper.sim.faults import KINDS, Fault, parse
from ostkeeper.sim.narrate import Night
from ostkeeper.sim.night import simulate
from ostkeeper.sim.people import EDITABLE

DEFAULT_AT = "10s"
FINE, UNSERVED, UNUSABLE, BROKEN = 0, 1, 2, 3


class UsageError(Exception):
    """The command line cannot be used. The text names the word and what it could be."""


def run(arguments: argparse.Namespace) -> int:
    """Carry it out. Returns the exit status."""
    try:
        if arguments.faults:
            sys.stdout.write("".join(f"{kind.sentence}\n" for kind in KINDS.values()))
            return FINE
        if not arguments.filename:
            raise UsageError("-f: say where the manifests are: a folder, a file, or - for standard input")
        site, problems = site_of(arguments.filename)
        faults = tuple(fault_of(each, site) for each in arguments.fault or ())
        if bool(faults) == arguments.fmea:
            raise UsageError("give one --fault at least, or --fmea; `--faults` lists the faults that are understood")
    except (ManifestError, UsageError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    for problem in problems:
        sys.stderr.write(f"{problem.kind} {problem.key}: {problem.reason}: {problem.message}\n")
    settings = Settings(drilled=not arguments.not_armed)
    if arguments.fmea:
        return _fmea(site, settings, arguments.output)
    return _night(site, faults, settings, arguments)


def site_of(paths: list[str]) -> tuple[Site, tuple[Problem, ...]]:
    """The site that the manifests declare, and what is wrong between its objects. Raises ManifestError."""
    found = load(paths)
    pairs, osts, devices = tuple(found.pairs), tuple(found.osts), tuple(found.devices)
    for pair in pairs:
        count = sum(pair_key(ost) == pair.key for ost in osts)
        if count > MOST_TARGETS:
            said = f"OSSPair {pair.key}: {count} OSTs name it, and a pair holds {MOST_TARGETS} targets at most"
            raise ManifestError(f"{said}; declare the rest in another pair")
    nodes = tuple(server for pair in pairs for server in pair.servers)
    return Site(pairs, osts, devices, nodes), find_problems(pairs, osts, devices)


def fault_of(given: Mapping[str, str], site: Site) -> Fault:
    """One --fault with its --at and --until. Raises UsageError: words, times or names that nobody knows."""
    words = given["words"]
    at, until = _time(given.get("at", DEFAULT_AT), "--at"), given.get("until")
    try:
        fault = parse(words, at, _time(until, "--until") if until else None)
    except ValueError as error:
        close = get_close_matches(words, [kind.sentence for kind in KINDS.values()], 1, 0.4)
        hint = f"--fault: did you mean {close[0]!r}? " if close else "--fault: "
        raise UsageError(f"{hint}{error}") from None
    if fault.until is not None and fault.until <= fault.at:
        raise UsageError(f"--until {until}: {words!r} begins at {fault.at:g}s; it has to end later")
    known = names_of(site)
    for subject, name in zip(KINDS[fault.kind].subjects, fault.args, strict=True):
        if subject in known and name not in known[subject]:
            raise UsageError(
                f"--fault {words!r}: there is no {_SAID[subject]} {name}; there are {', '.join(known[subject])}"
            )
        if subject == "object" and (wrong := _wrong_object(fault.kind, name, site)):
            raise UsageError(f"--fault {words!r}: {wrong}")
    return fault


def _wrong_object(kind: str, name: str, site: Site) -> str:
    """Why the simulator cannot do that to an object; empty: it can."""
    if kind == "edit":
        return _wrong_edit(name, site)
    if kind == "delete":
        return _wrong_deletion(name, site)
    answers = get_args(Answer)
    return "" if name in answers else f"{name} is not an answer; those are {', '.join(answers)}"


def _wrong_edit(words: str, site: Site) -> str:
    """`NAME.FIELD=VALUE` of a pair, an OST or a fence device."""
    name, _, rest = words.partition(".")
    field, equals, value = rest.partition("=")
    if not (field and equals):
        return f"{words} is not NAME.FIELD=VALUE, such as pair-a.mode=Manual"
    declared: dict[str, type[Resource]] = {obj.name: type(obj) for obj in (*site.pairs, *site.osts, *site.devices)}
    if name not in declared:
        return f"there is no object {name}; there are {', '.join(declared)}"
    fields = EDITABLE[declared[name]]
    if field not in fields:
        return f"the simulator does not set {field} of {name}; it sets {', '.join(fields)}"
    return "" if re.fullmatch(fields[field], value) else f"{field} takes {fields[field]}, not {value!r}"


def _wrong_deletion(words: str, site: Site) -> str:
    """`KIND/NAME`, or `Failover/open`."""
    kind, slash, name = words.partition("/")
    servers = [server for pair in site.pairs for server in pair.servers]
    names = {"OSS": servers, "Failover": ["open"]}
    for obj in (*site.pairs, *site.osts, *site.devices):
        names.setdefault(obj.kind, []).append(obj.name)
    if not slash or kind not in names:
        return f"{words} is not KIND/NAME with one of {', '.join(sorted(names))}"
    return "" if name in names[kind] else f"there is no {kind} {name}; there are {', '.join(names[kind])}"


_SAID = {
    "host": "server",
    "device": "fence device",
    "target": "target",
    "operator": "operator",
    "pair": "pair",
    "a": "party",
    "b": "party",
}


def names_of(site: Site) -> dict[str, tuple[str, ...]]:
    """What each word of a fault's sentence may be."""
    hosts = tuple(server for pair in site.pairs for server in pair.servers)
    operators = tuple(f"op{number}" for number in range(1, Settings().operators + 1))
    parties = (*hosts, *(device.name for device in site.devices), *operators, "api")
    return {
        "host": hosts,
        "device": tuple(device.name for device in site.devices),
        "pair": tuple(pair.name for pair in site.pairs),
        "target": tuple(ost.target for ost in site.osts),
        "operator": operators,
        "a": parties,
        "b": (*parties, "everyone"),
    }


def _time(text: str, option: str) -> float:
    try:
        return seconds(text if text[-1:].isalpha() else f"{text}s")
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _show(output: str, told: Night | fmea.Table, page: Callable[[], str], text: Callable[[], None]) -> None:
    """As JSON, as a page, or as text on a terminal."""
    match output:
        case "json":
            sys.stdout.write(json.dumps(told.wire(), indent=1) + "\n")
        case "html":
            sys.stdout.write(page())
        case _:
            text()


def _night(site: Site, faults: tuple[Fault, ...], settings: Settings, arguments: argparse.Namespace) -> int:
    night = simulate(site, faults, settings, arguments.seed)
    _show(arguments.output, night, lambda: nightpage.night(site, night), lambda: nightshow.night(site, night))
    if night.violations:
        return BROKEN
    return UNSERVED if night.unserved else FINE


def _fmea(site: Site, settings: Settings, output: str) -> int:
    table = fmea.analyse(site, lambda jobs: played(jobs, settings))
    _show(output, table, lambda: nightpage.fmea(site, table), lambda: nightshow.fmea(site, table))
    if table.broken:
        return BROKEN
    return FINE if table.ok else UNSERVED


# --- many nights, on all processors

_JOBS: tuple[fmea.Job, ...] = ()
_SETTINGS = Settings()


def played(jobs: tuple[fmea.Job, ...], settings: Settings) -> Iterable[tuple[fmea.Row, ...]]:
    """Play all, beside each other, with a progress bar on a terminal. The rows come in the order of the jobs."""
    global _JOBS, _SETTINGS
    _JOBS, _SETTINGS = jobs, settings
    workers = min(len(os.sched_getaffinity(0)), len(jobs))
    with nightshow.progress("nights", len(jobs)) as advance:
        if workers < 2:
            yield from _advanced((_play(place) for place in range(len(jobs))), advance)
            return
        with multiprocessing.get_context("fork").Pool(workers, initializer=gc.disable) as pool:
            yield from _advanced(pool.imap(_play, range(len(jobs)), chunksize=8), advance)


def _advanced(rows: Iterable[tuple[fmea.Row, ...]], advance: nightshow.Advance) -> Iterator[tuple[fmea.Row, ...]]:
    for each in rows:
        advance()
        yield each


def _play(place: int) -> tuple[fmea.Row, ...]:
    """One job, in a worker that has them all from its parent."""
    return fmea.play(_JOBS[place], _SETTINGS)
