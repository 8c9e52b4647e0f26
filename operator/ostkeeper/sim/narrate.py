"""A simulated night in plain words: what went wrong, what the operator made of it, and what it did about it.

Here: lines with their second, taken from faults, from commits and from the floor, and the state in which it all ends. Not
here: how they are laid out on a terminal or a page (`cli.simulate`), what is true of many nights (`fmea`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ostkeeper.api.common import Resource, condition_of
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST

Sort = Literal["fault", "verdict", "decision", "target", "trust", "floor"]
SHOWN_AT_LEAST = 0.05
"""Seconds of outage that are worth telling: below, nobody has noticed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: float
    """Seconds from the start of the simulation."""
    sort: Sort
    subject: str
    """Of which object or server."""
    words: str


@dataclass(frozen=True, slots=True)
class Served:
    """How one OST fared."""

    ost: str
    target: str
    home: str
    node: str
    """The server that serves it in the end; empty: none does."""
    state: str
    """As `kubectl get ost` shows it in the end."""
    away: float
    """For how many seconds in all it was not served."""
    spans: tuple[tuple[float, float], ...]
    """From when to when it was not."""
    back: float | None
    """Seconds from the last fault until it was served for good; 0: it was never away; None: it is away in the end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One Failover in the end."""

    name: str
    type: str
    node: str
    phase: str
    answered_by: str
    """Who decided: `policy`, a person, or nobody yet."""
    message: str


@dataclass(frozen=True, slots=True)
class Night:
    """One simulation, told."""

    faults: tuple[str, ...]
    lines: tuple[Line, ...]
    osts: tuple[Served, ...]
    failovers: tuple[Ended, ...]
    waits: tuple[str, ...]
    """What a person is needed for in the end, as conditions and Failovers say it."""
    violations: tuple[str, ...]
    """What must never be: empty, or a bug of ours."""
    seconds: float
    events: int
    seed: int

    @property
    def unserved(self) -> tuple[Served, ...]:
        """What nobody serves in the end."""
        return tuple(ost for ost in self.osts if ost.back is None)

    def wire(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(slots=True)
class Narrator:
    """Listens to the commits of one world. `said` grows as the night goes on."""

    now: Callable[[], float]
    said: list[Line] = field(default_factory=list)

    def tell(self, sort: Sort, subject: str, words: str) -> None:
        """Something happened just now; what was said of the same just before is not said again."""
        if words and (not self.said or (self.said[-1].subject, self.said[-1].words) != (subject, words)):
            self.said.append(Line(round(self.now(), 3), sort, subject, words))

    def committed(self, before: Resource | None, after: Resource | None, who: str) -> None:
        """An object was written; None: it did not, or does not, exist."""
        match before, after:
            case _, OSSPair():
                self._pair(before if isinstance(before, OSSPair) else None, after)
            case _, Failover():
                self._failover(before if isinstance(before, Failover) else None, after)
            case OST(), OST():
                self._ost(before, after)
            case FenceDevice(), FenceDevice():
                self._device(before, after)
            case Resource(), None:
                self.tell("decision", before.name, f"{before.kind} {before.name} was deleted by {who}")
            case _:
                pass

    def _pair(self, before: OSSPair | None, after: OSSPair) -> None:
        if after.status is None:
            return
        old = before.status if before else None
        was = {server.name: server.verdict for server in old.servers} if old else {}
        for server in after.status.servers:
            if was.get(server.name, "Healthy") != server.verdict:
                self.tell("verdict", server.name, f"{server.name} is {server.verdict}: {server.message}")
        for condition in ("Armed", "EpochRegressed"):
            now, then = (
                condition_of(after.status.conditions, condition),
                condition_of(old.conditions if old else (), condition),
            )
            if now and then and now.status != then.status:
                said = f": {now.message}" if now.message else ""
                self.tell(
                    "trust",
                    after.name,
                    f"{after.name} is {'' if now.status == 'True' else 'not '}{_WORD[condition]}{said}",
                )

    def _failover(self, before: Failover | None, after: Failover) -> None:
        if after.status is None:
            self.tell(
                "decision",
                after.name,
                f"{after.spec.type} {after.name} of {after.spec.node}: {after.spec.evidence.sentence}",
            )
            return
        old = before.status if before else None
        known = len(old.timeline) if old else 0
        for entry in after.status.timeline[known:] if known < len(after.status.timeline) else ():
            self.tell("decision", after.name, f"{entry.phase}: {entry.message}")
        if (old.phase if old else "") != after.status.phase and not after.status.timeline[known:]:
            self.tell("decision", after.name, f"{after.status.phase}: {after.status.message}")

    def _ost(self, before: OST, after: OST) -> None:
        old, new = before.status, after.status
        if new is None or (old and (old.node, old.state) == (new.node, new.state)):
            return
        self.tell("target", after.name, f"{after.name} on {new.node or 'no server'}: {new.state}")

    def _device(self, before: FenceDevice, after: FenceDevice) -> None:
        old = condition_of(before.status.conditions if before.status else (), "Ready")
        new = condition_of(after.status.conditions if after.status else (), "Ready")
        if new and old and new.status != old.status:
            said = f": {new.message}" if new.message else ""
            self.tell("trust", after.name, f"{after.name} is {'' if new.status == 'True' else 'not '}trusted{said}")


_WORD = {"Armed": "armed", "EpochRegressed": "behind what its agents have seen"}


def waits_for(pairs: tuple[OSSPair, ...]) -> tuple[str, ...]:
    """What a person is needed for, as the pairs' Stalled conditions say."""
    stalled = [(pair, condition_of(pair.status.conditions, "Stalled")) for pair in pairs if pair.status]
    return tuple(f"{pair.name}: {c.reason}: {c.message}" for pair, c in stalled if c and c.status == "True")
