"""What a world consists of, before anything of it runs: pairs, servers, targets, devices, wiring, addresses.

Here: names and numbers, as frozen values. Not here: the Kubernetes objects that describe them (`manifests`), what runs
(`world`).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ostkeeper.core.power import Feed
from ostkeeper.testbed import net

PDUS = ("pdu-left", "pdu-right")
MAX_PAIRS = 20


@dataclass(frozen=True, slots=True)
class PairLayout:
    """Two servers on shared disks."""

    name: str
    hosts: tuple[str, str]
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the defaults of `manifests` in the OSSPair's spec, merged into it key by key."""


@dataclass(frozen=True, slots=True)
class Target:
    """One OST."""

    name: str
    """Lustre's name: `scratch-OST0000`."""
    index: int
    pair: str
    home: str


@dataclass(frozen=True, slots=True)
class Layout:
    """One world's worth of servers. Server n has address 10.77.0.(10+n), its BMC 10.77.1.n, outlet n of each PDU."""

    pairs: tuple[PairLayout, ...]
    osts_per_host: int = 2
    sector_sizes: tuple[int, ...] = (512,)
    """Bytes; the disks take them in turn."""
    file_system: str = "scratch"
    namespace: str = "scratch"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every server, in order."""
        return tuple(host for pair in self.pairs for host in pair.hosts)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target, in the order of their indices."""
        homes = [(pair.name, host) for pair in self.pairs for host in pair.hosts for _ in range(self.osts_per_host)]
        return tuple(
            Target(f"{self.file_system}-OST{index:04x}", index, pair, home) for index, (pair, home) in enumerate(homes)
        )

    @property
    def wiring(self) -> dict[str, list[Feed]]:
        """Server → the outlets that its cords are in."""
        return {host: [Feed(pdu, self.outlet(host)) for pdu in PDUS] for host in self.hosts}

    def number(self, host: str) -> int:
        """1, 2, 3 ... Raises `ValueError` for a server that is not there."""
        if host not in self.hosts:
            raise ValueError(f"no server {host!r}; there are {', '.join(self.hosts)}")
        return self.hosts.index(host) + 1

    def outlet(self, host: str) -> str:
        """The server's outlet on every PDU."""
        return str(self.number(host))

    def bmc(self, host: str) -> str:
        """The name of the server's BMC."""
        return f"bmc-{host}"

    def board(self, host: str) -> str:
        """The system UUID of the server's first board, as SMBIOS spells it."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.testbed"))

    def bmc_address(self, host: str) -> str:
        """Where the server's BMC answers."""
        return net.bmc_address(self.number(host))

    def pair_of(self, host: str) -> PairLayout:
        """The server's pair. Raises `ValueError`."""
        self.number(host)
        return next(pair for pair in self.pairs if host in pair.hosts)


def layout(
    pairs: int = 2,
    osts_per_host: int = 2,
    sector_sizes: tuple[int, ...] = (512,),
    specs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Layout:
    """So many pairs: pair-a with oss1 and oss2, pair-b with oss3 and oss4, ... Raises `ValueError` outside 1 to 20.

    `specs`: pair → what differs in its OSSPair's spec.
    """
    if not 1 <= pairs <= MAX_PAIRS:
        raise ValueError(f"{pairs} pairs: the testbed's address plan has room for 1 to {MAX_PAIRS}")
    names = [f"pair-{chr(ord('a') + number)}" for number in range(pairs)]
    if unknown := set(specs or {}) - set(names):
        raise ValueError(f"no pair {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return Layout(
        pairs=tuple(
            PairLayout(name, (f"oss{2 * number + 1}", f"oss{2 * number + 2}"), (specs or {}).get(name, {}))
            for number, name in enumerate(names)
        ),
        osts_per_host=osts_per_host,
        sector_sizes=sector_sizes,
    )
