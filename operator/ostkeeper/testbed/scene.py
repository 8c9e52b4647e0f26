"""What a person would see on the floor at one moment: servers, feeds, targets, failovers.

Here: frozen values, how they are put together from raw API objects, and what changed between two of them, in plain
words. Pure. Not here: looking (`observer`), drawing (`livetable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Raw = Mapping[str, Any]
"""An object as the API server sent it."""
GROUP = "failovers", "osspairs", "osts"
"""The resources that a scene is made of."""


@dataclass(frozen=True, slots=True)
class FeedSeen:
    """One power path, as it really is."""

    name: str
    on: bool


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """One server: what is true, and what the operator makes of it."""

    name: str
    pair: str
    running: bool
    powered: bool
    crashed: bool = False
    """Dead although it has power, until that is cycled."""
    hung: bool = False
    cut_off: bool = False
    """Its network reaches nobody."""
    feeds: tuple[FeedSeen, ...] = ()
    verdict: str = ""
    """The operator's verdict; empty before the first."""
    mounts: tuple[str, ...] = ()
    """Targets that are really mounted here."""

    @property
    def condition(self) -> str:
        """What is really so, in one or two words."""
        if not self.powered:
            return "no power"
        if not self.running:
            return "crashed" if self.crashed else "boots"
        if self.hung:
            return "hangs"
        return "cut off" if self.cut_off else "runs"


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """One OST: what is declared, what the operator says, where it really is."""

    name: str
    """Name of the OST object."""
    target: str
    """Lustre's name."""
    pair: str
    home: str
    node: str = ""
    state: str = ""
    mounted_on: tuple[str, ...] = ()
    """Every server that really has it mounted: never more than one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a Failover's timeline."""

    time: str
    failover: str
    phase: str
    message: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything at one moment."""

    servers: tuple[ServerSeen, ...] = ()
    targets: tuple[TargetSeen, ...] = ()
    pairs: tuple[Raw, ...] = ()
    failovers: tuple[Raw, ...] = ()
    overlaps: int = 0
    samples: int = 0

    def server(self, name: str) -> ServerSeen:
        """The server of this name. Raises `KeyError`."""
        for server in self.servers:
            if server.name == name:
                return server
        raise KeyError(name)

    def failover(self, name: str) -> Raw:
        """The Failover of this name, empty while there is none."""
        return next((fo for fo in self.failovers if fo["metadata"]["name"] == name), {})

    def phase(self, name: str) -> str:
        """The phase of a Failover; empty before the first."""
        return str(self.failover(name).get("status", {}).get("phase", ""))

    def names(self) -> frozenset[str]:
        """The names of all Failovers so far."""
        return frozenset(fo["metadata"]["name"] for fo in self.failovers)

    def opened(self, known: frozenset[str], type_: str, pair: str) -> str:
        """The name of the first Failover of a type and pair that is not among the known; empty: there is none."""
        fresh = [
            fo
            for fo in self.failovers
            if fo["metadata"]["name"] not in known and fo["spec"]["type"] == type_ and fo["spec"]["pairName"] == pair
        ]
        return min(fresh, key=lambda fo: int(fo["spec"]["epoch"]))["metadata"]["name"] if fresh else ""

    def asking(self, type_: str, pair: str) -> str:
        """The name of the Failover of a type and pair that waits for an answer; empty: there is none."""
        found = (
            fo["metadata"]["name"]
            for fo in self.failovers
            if (fo["spec"]["type"], fo["spec"]["pairName"]) == (type_, pair)
        )
        return next((name for name in found if self.phase(name) == "AwaitingApproval"), "")

    def condition(self, pair: str, kind: str) -> tuple[bool, str]:
        """Whether a pair's condition is True, and its message."""
        found = next((p for p in self.pairs if p["metadata"]["name"] == pair), {})
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == kind:
                return condition["status"] == "True", condition.get("message", "")
        return False, "no status yet"

    def serving(self, pairs: Iterable[str]) -> bool:
        """Whether every target of these pairs is really mounted once, where it is assigned, and is said to be Mounted."""
        mine = [t for t in self.targets if t.pair in set(pairs)]
        return bool(mine) and all(t.state == "Mounted" and t.mounted_on == (t.node,) for t in mine)

    def at_home(self, pairs: Iterable[str]) -> bool:
        """The same, and at home."""
        return self.serving(pairs) and all(t.node == t.home for t in self.targets if t.pair in set(pairs))

    @property
    def timeline(self) -> tuple[Entry, ...]:
        """Every timeline entry of every Failover, the oldest first."""
        found = [
            Entry(entry["time"], fo["metadata"]["name"], entry["phase"], entry["message"])
            for fo in self.failovers
            for entry in fo.get("status", {}).get("timeline", [])
        ]
        return tuple(sorted(found, key=lambda entry: entry.time))


def targets_of(osts: Sequence[Raw], mounts: Mapping[str, Iterable[str]]) -> tuple[TargetSeen, ...]:
    """The targets, sorted by index. `mounts`: server → the targets that it really has mounted."""
    found = []
    for ost in sorted(osts, key=lambda ost: int(ost["spec"]["index"])):
        spec, status = ost["spec"], ost.get("status", {})
        target = f"{spec['fileSystem']}-OST{spec['index']:04x}"
        found.append(
            TargetSeen(
                name=ost["metadata"]["name"],
                target=target,
                pair=spec["pairName"],
                home=spec["homeNode"],
                node=status.get("node", ""),
                state=status.get("state", ""),
                mounted_on=tuple(host for host, has in mounts.items() if target in has),
            )
        )
    return tuple(found)


def verdicts_of(pairs: Sequence[Raw]) -> dict[str, str]:
    """Server → the operator's verdict."""
    rows = [server for pair in pairs for server in pair.get("status", {}).get("servers", [])]
    return {row["name"]: row["verdict"] for row in rows}


def short(target: str) -> str:
    """OST0003 for scratch-OST0003."""
    return target.rpartition("-")[2]


def changes(before: Scene, after: Scene) -> list[str]:
    """What happened between two looks, one sentence each: truth first, then what the operator says about it."""
    return [*_truth(before, after), *_said(before, after)]


def _truth(before: Scene, after: Scene) -> list[str]:
    said = []
    known = {server.name: server for server in before.servers}
    for server in after.servers:
        was = known.get(server.name)
        if was is None:
            continue
        off = [feed.name for feed, old in zip(server.feeds, was.feeds, strict=True) if old.on and not feed.on]
        on = [feed.name for feed, old in zip(server.feeds, was.feeds, strict=True) if feed.on and not old.on]
        said += [f"{server.name}: {', '.join(off)} off"] if off else []
        said += [f"{server.name}: {', '.join(on)} on"] if on else []
        if server.condition != was.condition:
            said.append(f"{server.name} {_sentence(server)}")
        said += _mounting(server, was)
    return said


def _sentence(server: ServerSeen) -> str:
    words = {"no power": "has no power", "crashed": "has crashed", "cut off": "is cut off from the network"}
    return words.get(server.condition, server.condition)


def _mounting(server: ServerSeen, was: ServerSeen) -> list[str]:
    new = [short(target) for target in server.mounts if target not in was.mounts]
    gone = [short(target) for target in was.mounts if target not in server.mounts]
    said = [f"{server.name} has mounted {', '.join(new)}"] if new else []
    if gone:
        verb = "has unmounted" if server.running else "has lost"
        said.append(f"{server.name} {verb} {', '.join(gone)}")
    return said


def _said(before: Scene, after: Scene) -> list[str]:
    said = []
    known = {server.name: server.verdict for server in before.servers}
    for server in after.servers:
        if server.verdict and server.verdict != known.get(server.name, server.verdict):
            said.append(f"operator: {server.name} is {server.verdict}")
    old = len(before.timeline)
    seen = set(before.timeline)
    fresh = [entry for entry in after.timeline if entry not in seen] if len(after.timeline) > old else []
    return said + [f"{entry.failover} {entry.phase}: {entry.message}" for entry in fresh]
