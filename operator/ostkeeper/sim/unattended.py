"""Runs in which nobody answers and nobody repairs: what has to hold in the end.

Each target that ought to be served is served, or its pair or its OST has the condition Stalled, so that a person is paged.
What can be done without a person is done: no question is left open that the operator could settle by itself. Not here:
runs that people attend (`run`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ostkeeper.api.common import Condition, condition_of
from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.claims import pair_key
from ostkeeper.sim.config import Config
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.network import API

if TYPE_CHECKING:
    from ostkeeper.sim.world import World


DEADLY = frozenset({"host-dies", "host-loses-power", "host-panics", "host-hangs"})
"""A server is gone, and its partner and its fence devices are well."""
HARMLESS = frozenset({"agent-restarts", "operator-restarts", "leader-dies", "watches-break", "machine-breaks"})
"""What passes, and takes nothing away that an unasked failover needs."""


def suffices(config: Config, faults: Sequence[Fault]) -> bool:
    """Whether the operator has to serve every target by itself after these faults: one server at most is gone."""
    automatic = config.mode == "Automatic" and config.settings.adopted and config.settings.drilled
    proves = "pdus" in config.levels and config.settings.signs
    gone = {fault.args for fault in faults if fault.kind in DEADLY}
    return automatic and proves and len(gone) <= 1 and all(fault.kind in DEADLY | HARMLESS for fault in faults)


def findings(world: World, *, alone: bool = False) -> tuple[str, ...]:
    """What does not hold, a sentence each. Empty while no operator can act: then nobody could say anything.

    `alone`: no person is needed (`suffices`), so that a question is no excuse.
    """
    if not _operated(world):
        return ()
    pairs = {pair.key: pair for pair in world.store.every(OSSPair)}
    found: list[str] = []
    for ost in world.store.every(OST):
        pair = pairs.get(pair_key(ost))
        if pair is None or ost.spec.desired != "Mounted" or serving(world, ost):
            continue
        if alone:
            found.append(f"{ost.target}: not served, although nobody is needed: {_why(pair)}")
        elif not _says_so(pair, ost):
            found.append(f"{ost.target}: not served, and neither {pair.name} nor the OST is Stalled")
    found += [why for pair in pairs.values() if (why := _needlessly_blocked(world, pair))]
    return tuple(found)


def serving(world: World, ost: OST) -> str:
    """The server from which clients can read and write an OST; empty: none."""
    for host in world.hosts.values():
        if ost.target in host.targets and host.running and host.mounted(ost.target) and not (host.stalled or host.lost):
            return host.name
    return ""


def _operated(world: World) -> bool:
    """Whether the API server is up and an operator leads that reaches it."""
    return world.store.up and any(
        shell.leads and world.network.reaches(name, API) and world.network.reaches(API, name)
        for name, shell in world.operators.items()
    )


def _says_so(pair: OSSPair, ost: OST) -> bool:
    return _stalled(pair.status.conditions if pair.status else ()) or _stalled(
        ost.status.conditions if ost.status else ()
    )


def _why(pair: OSSPair) -> str:
    found = condition_of(pair.status.conditions, "Ready") if pair.status else None
    return f"{found.reason}: {found.message}" if found else "the pair has no condition"


def _stalled(conditions: Iterable[Condition]) -> bool:
    found = condition_of(conditions, "Stalled")
    return found is not None and found.status == "True"


def _needlessly_blocked(world: World, pair: OSSPair) -> str:
    """A Failover in Blocked although every device of one of its levels is well and its server has no power.

    A level that read OFF beside something that moved proves nothing any more: a person decides.
    """
    name = pair.status.active_failover if pair.status else ""
    fo = world.store.find(Failover, f"{pair.metadata.namespace}/{name}")
    if fo is None or fo.phase != "Blocked" or world.hosts[fo.spec.node].boot or not _able(world, fo.spec.partner):
        return ""
    refuted = fo.status.refuted if fo.status else ()
    for level in fo.spec.policy.levels:
        if level.name not in refuted and all(_well(world, feed.device_name) for feed in level.feeds):
            missing = fo.status.missing if fo.status else ()
            return f"{fo.name}: Blocked although every device of level {level.name} is well: {missing}"
    return ""


def _able(world: World, partner: str) -> bool:
    """Whether the partner runs, sees its disks, and its agent reaches the API server."""
    host, network = world.hosts[partner], world.network
    linked = network.reaches(partner, API) and network.reaches(API, partner)
    return bool(world.agents[partner].answering) and linked and not (host.stalled or host.lost or host.memory.corrupt)


def _well(world: World, name: str) -> bool:
    """Whether a fence device answers the leader, tells the truth and obeys."""
    device = world.devices.devices.get(name)
    if device is None or not world.devices.answers(device):
        return False
    leader = next((operator for operator, shell in world.operators.items() if shell.leads), "")
    linked = world.network.reaches(leader, name) and world.network.reaches(name, leader)
    ill = device.stuck or device.reads_on or device.liar or device.loss or not device.password
    return linked and not ill and (device.sign or bool(device.bmc_of))
