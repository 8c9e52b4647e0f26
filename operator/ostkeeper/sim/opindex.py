"""What one simulated operator has seen: objects by kind and key, who is concerned by what, and what is wrong between them.

Here: the cache that `controller.index` and `controller.supervisor` keep, without parsing and without tasks. Not here:
which machine is told (`operators`), any decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.claims import device_key, find_problems, pair_key, stamp
from ostkeeper.core.events import Problem


class Index:
    """The objects of the five kinds."""

    __slots__ = (
        "claims",
        "devices",
        "failovers",
        "osses",
        "osts",
        "outlets",
        "pairs",
        "pairs_of_device",
        "pairs_of_server",
    )

    def __init__(self) -> None:
        self.pairs: dict[str, OSSPair] = {}
        self.osts: dict[str, OST] = {}
        self.osses: dict[str, OSS] = {}
        self.devices: dict[str, FenceDevice] = {}
        self.failovers: dict[str, Failover] = {}
        self.claims: dict[str, tuple[Problem, ...]] = {}
        """What is wrong, by the pairs that it concerns, as last looked for."""
        self.pairs_of_server: dict[str, list[str]] = {}
        """The pairs that name a server: one, where nothing is wrong."""
        self.pairs_of_device: dict[str, list[str]] = {}
        self.outlets: dict[str, tuple[str, ...]] = {}
        """What pairs use of each device."""

    def shelf(self, kind: str) -> dict[str, Any]:
        """The objects of one kind."""
        match kind:
            case "OSSPair":
                return self.pairs
            case "OST":
                return self.osts
            case "OSS":
                return self.osses
            case "FenceDevice":
                return self.devices
            case _:
                return self.failovers

    def put(self, kind: str, key: str, found: Resource) -> bool:
        """Take a new version in. Returns whether its problems may have changed."""
        shelf = self.shelf(kind)
        before = shelf.get(key)
        shelf[key] = found
        if before is None:
            return True
        return stamp(before) != stamp(found)

    def drop(self, kind: str, key: str) -> Resource | None:
        """Forget an object; returns it."""
        gone: Resource | None = self.shelf(kind).pop(key, None)
        return gone

    def concerned(self, kind: str, key: str, found: Resource | None) -> list[str]:
        """The pairs that an object concerns, as their specs were when problems were last looked for."""
        if kind == "OSSPair":
            return [key]
        if kind == "FenceDevice":
            return self.pairs_of_device.get(key, [])
        if isinstance(found, OST | Failover):
            return [pair_key(found)]
        if isinstance(found, OSS):
            own = f"{found.spec.pair.namespace}/{found.spec.pair.name}"
            return list(dict.fromkeys([own, *self.pairs_of_server.get(found.name, ())]))
        return []

    def osts_of(self, pair: OSSPair) -> list[OST]:
        """The OSTs that name a pair."""
        return [ost for ost in self.osts.values() if _names(ost, pair)]

    def related(self, pair: OSSPair) -> list[Resource]:
        """All that concerns a pair, the pair first."""
        return [
            pair,
            *(self.devices[key] for key in dict.fromkeys(_feed_keys(pair)) if key in self.devices),
            *(self.osses[name] for name in pair.servers if name in self.osses),
            *self.osts_of(pair),
            *(found for found in self.failovers.values() if _names(found, pair)),
        ]

    def look(self) -> None:
        """Look for problems between all objects, and who names what."""
        self.pairs_of_server, self.pairs_of_device = {}, {}
        used: dict[str, list[str]] = {}
        for pair in self.pairs.values():
            for server in pair.servers:
                self.pairs_of_server.setdefault(server, []).append(pair.key)
            for feed in (feed for node in pair.spec.nodes for level in node.fencing for feed in level.feeds):
                key = device_key(pair, feed)
                used.setdefault(key, []).append(feed.outlet or "")
                having = self.pairs_of_device.setdefault(key, [])
                if pair.key not in having:
                    having.append(pair.key)
        self.outlets = {key: tuple(sorted(set(outlets))) for key, outlets in used.items()}
        claims: dict[str, list[Problem]] = {}
        for problem in find_problems(
            self.pairs.values(), self.osts.values(), self.devices.values(), self.osses.values()
        ):
            for key in self.concerned(problem.kind, problem.key, self.shelf(problem.kind).get(problem.key)):
                claims.setdefault(key, []).append(problem)
        self.claims = {key: tuple(problems) for key, problems in claims.items()}

    def footing(self, pair: OSSPair) -> tuple[object, ...]:
        """UID, servers and devices that a pair names: when they change, all that concerns it is shown again."""
        return (pair.metadata.uid, pair.servers, tuple(_feed_keys(pair)))


def _names(found: OST | Failover, pair: OSSPair) -> bool:
    return pair_key(found) == pair.key


def _feed_keys(pair: OSSPair) -> Iterator[str]:
    for node in pair.spec.nodes:
        for level in node.fencing:
            for feed in level.feeds:
                yield device_key(pair, feed)
