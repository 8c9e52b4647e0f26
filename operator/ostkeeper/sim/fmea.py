"""Failure modes and effects: every single and every double fault on a user's own site, and what becomes of the OSTs.

Here: which faults there are, which nights stand for which others, and what each amounts to. Not here: one night (`night`),
how it is laid out (`cli.simulate`).

Pairs decide each for itself, so a night is played with one pair and its devices; only what two pairs share (the fuse, the
budget, a PDU) needs two of them. Nights that differ in nothing but names are played once: pairs of the same shape, and the
two servers of a pair whose halves are alike. What is slow to be noticed comes first: a silent BMC is a week old when its
server dies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, product
from typing import Any, Literal

from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.claims import pair_key
from ostkeeper.sim.config import Settings, Site
from ostkeeper.sim.draw import THIRD_HOSTS
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.narrate import Night
from ostkeeper.sim.night import simulate

HIDDEN = 5.0
"""Second at which a fault comes that hurts nobody by itself."""
OPEN = 50.0
"""Second at which one comes that does: by then probes have found the other."""
LONGEST = 900.0
HOST_KINDS = (
    "host-dies",
    "host-loses-power",
    "host-panics",
    "host-hangs",
    "disks-stall",
    "disks-lost",
)
AGENT_KINDS = ("agent-dies", "reports-refused")
IDENTITY_KINDS = ("bmc-misled", "pdu-replaced", "declared-twice", "boards-alike")
"""Another device answers than the declared one, or none can be told from another. Not played together with each other."""
DEVICE_KINDS = ("device-silent", "device-slow", "device-stuck", "device-lying")
BLIND = ("host-hangs", "host-panics", "disks-stall", "disks-lost")
"""Beside a feed that lies about a server that stands still nobody can tell: outside of the fault model (`faults`)."""
SITE_KINDS = ("leader-dies", "leader-pauses", "api-down")
TOGETHER = (("host-dies", "host-dies"), ("host-hangs", "host-dies"), ("host-dies", "host-hangs"))
"""What befalls servers of two pairs at once."""
Decided = Literal["nobody had to", "the operator", "a person is asked", "nobody can"]


@dataclass(frozen=True, slots=True)
class Row:
    """What one fault, or two, amounts to for one pair, or for two."""

    pairs: tuple[str, ...]
    faults: tuple[str, ...]
    interrupted: int
    """How many OSTs were away for a moment at least."""
    unserved: tuple[str, ...]
    """OSTs that nobody serves in the end."""
    seconds: float | None
    """From the last fault until all were served for good; None: not without a person."""
    decided: Decided
    why: str
    """What is waited for, where nobody serves."""
    violations: tuple[str, ...] = ()
    played: tuple[str, ...] = ()
    """The pairs with which it was played: these, or others that differ in names only."""
    alike: int = 1
    """For two pairs: how many twos of pairs it stands for."""

    @property
    def ok(self) -> bool:
        """Everything is served again, and nobody was needed."""
        return not self.unserved and not self.violations

    def renamed(self, names: Mapping[str, str]) -> Row:
        """The same for another pair of this shape."""
        pattern = re.compile(
            r"(?<![\w-])(" + "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True)) + r")(?![\w])"
        )

        def say(text: str) -> str:
            return pattern.sub(lambda found: names[found.group(1)], text)

        return Row(
            tuple(map(say, self.pairs)),
            tuple(map(say, self.faults)),
            self.interrupted,
            tuple(map(say, self.unserved)),
            self.seconds,
            self.decided,
            say(self.why),
            tuple(map(say, self.violations)),
            self.played,
            self.alike,
        )


@dataclass(frozen=True, slots=True)
class Table:
    """The whole analysis."""

    singles: tuple[Row, ...]
    doubles: tuple[Row, ...]
    played: int
    """How many nights were played; the others differ from one of these in names only."""

    @property
    def ok(self) -> bool:
        """No single fault leaves an OST unserved without a person."""
        return all(row.ok for row in self.singles)

    @property
    def broken(self) -> tuple[Row, ...]:
        """Nights in which something was seen that must never be: a bug of ours."""
        return tuple(row for row in (*self.singles, *self.doubles) if row.violations)

    def wire(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"ok": self.ok}


@dataclass(frozen=True, slots=True)
class Job:
    """A night to be played, and all that it stands for."""

    site: Site
    faults: tuple[Fault, ...]
    stands_for: tuple[Mapping[str, str], ...] = field(default=({},))
    """The names to be put in the place of its own, once for each night that it stands for and that gets a row."""
    alike: int = 1
    """How many twos of pairs it stands for, which get no row of their own."""


def play(job: Job, settings: Settings | None = None) -> tuple[Row, ...]:
    """Play one night; a row for each night that it stands for."""
    night = simulate(job.site, job.faults, settings, longest=LONGEST)
    row = replace(row_of(tuple(pair.name for pair in job.site.pairs), night), alike=job.alike)
    return tuple(row.renamed(names) if names else row for names in job.stands_for)


def row_of(pairs: tuple[str, ...], night: Night) -> Row:
    """What a night amounts to."""
    gone = tuple(ost.ost for ost in night.unserved)
    seconds = None if gone else max((ost.back or 0.0 for ost in night.osts), default=0.0)
    return Row(
        pairs,
        night.faults,
        sum(1 for ost in night.osts if ost.away),
        gone,
        seconds,
        _decided(night),
        _why(night) if gone else "",
        night.violations,
        pairs,
    )


def _decided(night: Night) -> Decided:
    if night.unserved:
        return "a person is asked" if night.waits else "nobody can"
    acted = any(fo.phase not in ("Observed", "Aborted", "") for fo in night.failovers)
    return "the operator" if acted else "nobody had to"


def _why(night: Night) -> str:
    """What the status says; where it says nothing, what was said last."""
    if night.waits:
        return "; ".join(night.waits)
    verdicts = [line.words for line in night.lines if line.sort == "verdict"]
    return verdicts[-1] if verdicts else "the operator cannot know, or cannot write"


# --- which faults there are


def faults_of(pair: OSSPair, devices: Iterable[FenceDevice], osts: tuple[OST, ...] = ()) -> tuple[Fault, ...]:
    """Every single fault of one pair, its devices and what all share. What hides comes first, what hurts later.

    A LUN is lost on the server that does not serve it.
    """
    first, second = pair.servers
    found = [Fault(kind, OPEN, None, (server,)) for kind in HOST_KINDS for server in pair.servers]
    found += [Fault("disk-gone", HIDDEN, None, (pair.partner_of(o.spec.home_node), o.target)) for o in osts]
    found += [Fault(kind, HIDDEN, None, (server,)) for kind in AGENT_KINDS for server in pair.servers]
    found += [Fault("cut", HIDDEN, None, (server, "api")) for server in pair.servers]
    found += [Fault("cut", HIDDEN, None, (first, second))]
    found += [Fault(kind, HIDDEN, None, (device.name,)) for kind in DEVICE_KINDS for device in devices]
    first_of = {ost.spec.home_node: ost.target for ost in sorted(osts, key=lambda o: o.spec.index, reverse=True)}
    found += [Fault(kind, HIDDEN, None, (first_of[s],)) for kind in THIRD_HOSTS for s in pair.servers if s in first_of]
    found += _misidentified(pair, devices)
    return (*found, *(Fault(kind, HIDDEN) for kind in SITE_KINDS))


def _misidentified(pair: OSSPair, devices: Iterable[FenceDevice]) -> Iterator[Fault]:
    """Each address of the pair that leads to another device, and boards with one system UUID."""
    first, second = pair.servers
    known = {device.name: device for device in devices}
    pdus = sorted(name for name, device in known.items() if device.spec.has_outlets)
    for server, other in ((first, second), (second, first)):
        feeds = (feed for level in pair.fencing_of(server) for feed in level.feeds)
        names = dict.fromkeys(f.device_name for f in feeds if f.device_name in known and f.device_name not in pdus)
        yield from (Fault("bmc-misled", HIDDEN, None, (name, other)) for name in names)
    yield from (Fault("pdu-replaced", HIDDEN, None, (name,)) for name in pdus)
    yield from (Fault("declared-twice", HIDDEN, None, both) for both in combinations(pdus, 2))
    yield Fault("boards-alike", HIDDEN, None, (first, second))


def possible(one: Fault, other: Fault) -> bool:
    """Whether both can be so at once, and any operator could tell what is."""
    if one.args == other.args and one.args and {one.kind, other.kind} & set(_ENDS):
        return False
    if one.kind.startswith("device") and other.kind.startswith("device") and one.args == other.args:
        return False
    if one.kind in IDENTITY_KINDS and other.kind in IDENTITY_KINDS:
        return False
    kinds = {one.kind, other.kind}
    if kinds & set(THIRD_HOSTS) and kinds & set(BLIND):
        return False
    lies = [fault for fault in (one, other) if fault.kind == "device-lying"]
    return not (lies and kinds & set(BLIND))


_ENDS = ("host-dies", "host-loses-power")
"""What becomes of the rest of a server does not matter beside these."""


# --- which nights stand for which


def jobs(site: Site) -> tuple[Job, ...]:
    """All nights that have to be played: single faults first."""
    shapes: dict[str, list[Part]] = {}
    for pair in site.pairs:
        part = part_of(site, pair)
        shapes.setdefault(part.shape, []).append(part)
    singles: list[Job] = []
    doubles: list[Job] = []
    for parts in shapes.values():
        for job in _jobs_of(parts):
            (singles if len(job.faults) == 1 else doubles).append(job)
    return (*singles, *doubles, *_across(site, list(shapes.values())))


@dataclass(frozen=True, slots=True)
class Part:
    """One pair, with what belongs to it."""

    site: Site
    names: tuple[str, ...]
    """Names of servers, devices, objects and targets, in an order that its shape gives."""
    shape: str
    """The same for pairs that differ in names only."""

    @property
    def pair(self) -> OSSPair:
        """The one pair."""
        return self.site.pairs[0]


def part_of(site: Site, pair: OSSPair, *, swapped: bool = False) -> Part:
    """A pair with its OSTs and devices; `swapped`: as seen from its second server."""
    osts = tuple(o for o in site.osts if pair_key(o) == pair.key)
    servers = pair.servers[::-1] if swapped else pair.servers
    feeds = [f.device_name for server in servers for level in pair.fencing_of(server) for f in level.feeds]
    known = {d.name: d for d in site.devices if d.metadata.namespace == pair.metadata.namespace}
    devices = tuple(known[name] for name in dict.fromkeys(feeds) if name in known)
    ordered = sorted(
        osts, key=lambda o: (servers.index(o.spec.home_node) if o.spec.home_node in servers else 9, o.spec.index)
    )
    names = (*servers, *dict.fromkeys(feeds), *(o.name for o in ordered), *(o.target for o in ordered), pair.name)
    nodes = tuple(server for server in site.nodes if server in servers)
    wires = {server: groups for server, groups in site.wires.items() if server in servers}
    part = Site((pair,), osts, devices, nodes, site.policies, wires)
    return Part(part, names, _shape(part, servers, names))


def _shape(site: Site, servers: tuple[str, ...], names: tuple[str, ...]) -> str:
    """The specs with every name replaced by its place."""
    place = {name: f"#{number}" for number, name in reversed(list(enumerate(names)))}
    pair = site.pairs[0].spec.wire()
    pair["nodes"] = sorted(pair["nodes"], key=lambda node: servers.index(node["name"]))
    outlets: dict[tuple[str, str], int] = {}
    for node in pair["nodes"]:
        for feed in (feed for level in node["fencing"] for feed in level["feeds"]):
            where = (feed["deviceName"], feed.get("outlet", ""))
            feed["outlet"] = outlets.setdefault(where, len(outlets))
    osts = [_plain_ost(o) for o in sorted(site.osts, key=lambda o: names.index(o.name))]
    devices = sorted((names.index(d.name), _plain_device(d)) for d in site.devices)
    whole = json.dumps(
        [pair, osts, devices, sorted(names.index(n) for n in site.nodes), repr(site.wires)], sort_keys=True
    )
    return re.sub(r'"([^"]+)"', lambda found: f'"{place.get(found.group(1), found.group(1))}"', whole)


def _plain_ost(ost: OST) -> dict[str, Any]:
    wire = ost.spec.wire()
    kept = ("homeNode", "desired", "serveFrom", "deletionPolicy")
    return {name: wire[name] for name in kept if name in wire} | {"backend": sorted(wire["backend"])}


def _plain_device(device: FenceDevice) -> str:
    wire = device.spec.wire()
    for union in ("ipmi", "snmpPDU", "redfish", "fenceAgent"):
        if union in wire:
            wire[union] = union
    return json.dumps(wire, sort_keys=True)


def _jobs_of(parts: list[Part]) -> Iterator[Job]:
    """The nights of pairs that are all of one shape: played with the first of them."""
    mine = parts[0]
    mirror = part_of(mine.site, mine.pair, swapped=True)
    turn = dict(zip(mine.names, mirror.names, strict=True)) if mirror.shape == mine.shape else {}
    single = faults_of(mine.pair, mine.site.devices, mine.site.osts)
    known: set[tuple[tuple[str, tuple[str, ...]], ...]] = set()
    nights: list[tuple[Fault, ...]] = [(replace(fault, at=HIDDEN),) for fault in single]
    nights += [both for both in combinations(single, 2) if possible(*both)]
    for faults in nights:
        if _named(faults, {}) in known:
            continue
        known.add(_named(faults, {}))
        ways: list[Mapping[str, str]] = [{}]
        if turn and _named(faults, turn) not in known:
            known.add(_named(faults, turn))
            ways.append(turn)
        whom = [dict(zip(mine.names, part.names, strict=True)) for part in parts]
        yield Job(mine.site, faults, tuple(_both(way, other) for other in whom for way in ways))


def _both(way: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """First one's names, then the other's; nothing for a name that stays."""
    said = {name: other.get(way.get(name, name), name) for name in (*way, *other)}
    return said if any(name != new for name, new in said.items()) else {}


def _named(faults: Iterable[Fault], names: Mapping[str, str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The faults under other names, in an order of their own."""
    return tuple(sorted((f.kind, tuple(sorted(names.get(a, a) for a in f.args))) for f in faults))


def _across(site: Site, shapes: list[list[Part]]) -> Iterator[Job]:
    """Servers of two pairs at once: one night for each two shapes and what the two share, which is all that can matter."""
    classes: dict[tuple[int, int, tuple[str, ...]], list[tuple[Part, Part]]] = {}
    order = {id(part): number for number, parts in enumerate(shapes) for part in parts}
    for one, other in combinations([part for parts in shapes for part in parts], 2):
        if order[id(one)] > order[id(other)]:
            one, other = other, one
        key = (order[id(one)], order[id(other)], _shared(one, other))
        classes.setdefault(key, []).append((one, other))
    for members in classes.values():
        one, other = members[0]
        both = _joined(site, one, other)
        for kinds, first, second in product(TOGETHER, (0, 1), (0, 1)):
            servers = (one.names[first], other.names[second])
            faults = tuple(Fault(kind, OPEN, None, (server,)) for kind, server in zip(kinds, servers, strict=True))
            yield Job(both, faults, alike=len(members))


def _shared(one: Part, other: Part) -> tuple[str, ...]:
    """What two pairs have in common, by place in their shapes: devices; and whether a file system."""
    devices = tuple(f"{one.names.index(n)}={other.names.index(n)}" for n in one.names if n in other.names)
    systems = {o.spec.file_system for o in one.site.osts} & {o.spec.file_system for o in other.site.osts}
    return (*devices, "file system" if systems else "")


def _joined(site: Site, one: Part, other: Part) -> Site:
    devices = tuple({d.key: d for part in (one, other) for d in part.site.devices}.values())
    return Site(
        (one.pair, other.pair),
        one.site.osts + other.site.osts,
        devices,
        one.site.nodes + other.site.nodes,
        site.policies,
        {**one.site.wires, **other.site.wires},
    )


def analyse(site: Site, run: Callable[[tuple[Job, ...]], Iterable[tuple[Row, ...]]]) -> Table:
    """Play all nights of a site. `run` plays jobs, in any order and beside each other, as its caller likes."""
    todo = jobs(site)
    rows = [row for rows in run(todo) for row in rows]
    place = {pair.name: number for number, pair in enumerate(site.pairs)}
    rows.sort(key=lambda row: (tuple(place[pair] for pair in row.pairs), row.faults))
    single = tuple(row for row in rows if len(row.faults) == 1)
    return Table(single, tuple(row for row in rows if len(row.faults) > 1), len(todo))
