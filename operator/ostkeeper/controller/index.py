"""All objects of the five kinds as the watches showed them: who is concerned by what, and what is wrong between objects.

Here: the newest version of each object, bad ones as problems, which pairs an object concerns. A cache, for wake-ups,
problems and probes; acts rest on quorum reads. Not here: watching (`ears`), the machines (`supervisor`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ostkeeper.api import OSS, OST, Failover, FenceDevice, OSSPair
from ostkeeper.api.common import Resource
from ostkeeper.controller.cluster import devices_named
from ostkeeper.controller.objects import BadObjectError, Json, Parser, key_of
from ostkeeper.core.claims import find_problems, pair_key, stamp
from ostkeeper.core.events import Problem


@dataclass(slots=True)
class Index:
    """The objects by kind and key."""

    parser: Parser
    pairs: dict[str, OSSPair] = field(default_factory=dict)
    osts: dict[str, OST] = field(default_factory=dict)
    osses: dict[str, OSS] = field(default_factory=dict)
    devices: dict[str, FenceDevice] = field(default_factory=dict)
    failovers: dict[str, Failover] = field(default_factory=dict)
    members: dict[str, dict[tuple[str, str], OST | Failover]] = field(default_factory=dict)
    """The OSTs and Failovers of each pair, by kind and key: pairName never changes."""
    bad: dict[tuple[str, str], tuple[Problem, str]] = field(default_factory=dict)
    """Objects whose newest version our models do not accept, each with the pair that it names."""

    def shelf(self, kind: str) -> dict[str, Any]:
        """The objects of one kind."""
        shelves: dict[str, dict[str, Any]] = {
            "OSSPair": self.pairs,
            "OST": self.osts,
            "OSS": self.osses,
            "FenceDevice": self.devices,
            "Failover": self.failovers,
        }
        return shelves[kind]

    def put(self, kind: type[Resource], raw: Json) -> tuple[Resource | None, bool]:
        """Take a new version in. Returns it (None: a bad one), and whether its problems may have changed.

        Of a bad object the last good version stays: what is wrong with the new one is a problem, not a reason to forget.
        """
        key = key_of(raw)
        try:
            parsed = self.parser.parse(kind, raw)
        except BadObjectError as error:
            known = self.bad.get((kind.kind, key))
            self.bad[kind.kind, key] = self._problem(kind.kind, key, error, raw)
            return None, known != self.bad[kind.kind, key]
        was_bad = self.bad.pop((kind.kind, key), None)
        before = self.shelf(kind.kind).get(key)
        self.shelf(kind.kind)[key] = parsed
        if isinstance(parsed, OST | Failover):
            self.members.setdefault(pair_key(parsed), {})[kind.kind, key] = parsed
        return parsed, was_bad is not None or before is None or stamp(before) != stamp(parsed)

    def drop(self, kind: str, key: str) -> Resource | None:
        """Forget an object; returns its last good version."""
        self.bad.pop((kind, key), None)
        gone: Resource | None = self.shelf(kind).pop(key, None)
        if isinstance(gone, OST | Failover):
            self.members.get(pair_key(gone), {}).pop((kind, key), None)
        return gone

    def _problem(self, kind: str, key: str, error: BadObjectError, raw: Json) -> tuple[Problem, str]:
        spec = raw.get("spec") if isinstance(raw.get("spec"), dict) else {}
        last = self.shelf(kind).get(key)
        targets = (last.target,) if isinstance(last, OST) else _guessed_target(spec or {})
        pair = f"{key.rpartition('/')[0]}/{(spec or {}).get('pairName', '')}"
        problem = Problem(kind, key, "BadObject", f"{error.reasons}; its last good version stays in use", targets)
        return problem, pair

    # --- who is concerned

    def pairs_of(self, kind: str, key: str, found: Resource | None = None) -> list[str]:
        """The pairs that an object concerns."""
        found = found or self.shelf(kind).get(key)
        if kind == "OSSPair":
            return [key]
        if kind == "FenceDevice":
            return [pair.key for pair in self.pairs.values() if key in devices_named((pair,))]
        if isinstance(found, OST | Failover):
            return [pair_key(found)]
        if isinstance(found, OSS):
            own = f"{found.spec.pair.namespace}/{found.spec.pair.name}"
            return list(dict.fromkeys([own, *(p.key for p in self.pairs.values() if found.name in p.servers)]))
        known = self.bad.get((kind, key))
        return [known[1]] if known else []

    def related(self, pair: OSSPair) -> list[Resource]:
        """All that concerns a pair, the pair first."""
        named = devices_named((pair,))
        return [
            pair,
            *(self.devices[key] for key in sorted(named) if key in self.devices),
            *(self.osses[name] for name in pair.servers if name in self.osses),
            *self.members.get(pair.key, {}).values(),
        ]

    # --- what is wrong

    def problems(self) -> tuple[Problem, ...]:
        """All problems: bad objects, and what is wrong between good ones."""
        return (
            *self._bad(),
            *find_problems(self.pairs.values(), self.osts.values(), self.devices.values(), self.osses.values()),
        )

    def by_pair(self, problems: Iterable[Problem]) -> dict[str, tuple[Problem, ...]]:
        """The problems by the pairs that they concern; those that concern none are left out."""
        found: dict[str, list[Problem]] = {}
        for problem in problems:
            for key in self.pairs_of(problem.kind, problem.key):
                found.setdefault(key, []).append(problem)
        return {key: tuple(concerned) for key, concerned in found.items()}

    def _bad(self) -> Iterable[Problem]:
        for problem, _ in self.bad.values():
            yield replace(problem, nodes=self._servers_fed_by(problem))

    def _servers_fed_by(self, problem: Problem) -> tuple[str, ...]:
        """The servers that are not shot while this object is bad."""
        if problem.kind == "OSSPair":
            known = self.pairs.get(problem.key)
            return known.servers if known else ()
        if problem.kind != "FenceDevice":
            return ()
        namespace, _, name = problem.key.rpartition("/")
        return tuple(
            node.name
            for pair in self.pairs.values()
            if pair.metadata.namespace == namespace
            for node in pair.spec.nodes
            if any(feed.device_name == name for level in node.fencing for feed in level.feeds)
        )


def _guessed_target(spec: Json) -> tuple[str, ...]:
    """The target that a bad OST means, if that much can be read."""
    name, index = spec.get("fileSystem"), spec.get("index")
    return (f"{name}-OST{index:04x}",) if isinstance(name, str) and isinstance(index, int) else ()
