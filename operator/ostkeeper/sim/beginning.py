"""How a run begins: at rest, as if all had been well for long, or on the day of the install.

Here: what stands in the API server, on the disks and in the agents' memories at second 0. Not here: what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostkeeper.api.common import Condition, ObjectMeta
from ostkeeper.api.fencedevice import FeedReading, FenceDevice, FenceDeviceStatus
from ostkeeper.api.oss import OSS, OSSSpec, PairRef
from ostkeeper.api.osspair import AdoptedWarrant, Assignment, Board, OSSPair, OSSPairStatus, Warrant, Wiring
from ostkeeper.api.ost import OST
from ostkeeper.core.armed import fingerprint_of, mark_of
from ostkeeper.core.power import PowerState
from ostkeeper.sim.agents import CLUSTER

if TYPE_CHECKING:
    from ostkeeper.sim.world import World

EPOCH = 41
"""The epoch of every pair that was adopted before second 0."""
WARM_UP = 11.0
"""Seconds until a leader is there, everybody has answered it, and all that is well is armed: faults begin after that."""
LATENCY_MS = 40


def at_rest(world: World) -> None:
    """Adopted, drilled, mounted at home, and known to everybody who was there."""
    site = world.site
    for device in site.devices:
        world.store.seed(device if not world.settings.trusted else _trusted(world, device))
    for ost in site.osts:
        world.store.seed(ost)
    for pair in site.pairs:
        stored = world.store.seed(pair)
        status = _status(world, stored)
        world.store.shelves[OSSPair.kind][pair.key] = stored.model_copy(update={"status": status})
        world.checker.durable(pair.key, status.epoch)
        for server in pair.servers:
            ref = PairRef(namespace=pair.metadata.namespace, name=pair.name)
            world.store.seed(OSS(metadata=ObjectMeta(name=server), spec=OSSSpec(pair=ref)))
            world.hosts[server].at_rest(_held(world, status, server), CLUSTER)
    start(world)


def _held(world: World, status: OSSPairStatus, server: str) -> dict[str, tuple[int, str]]:
    """What a server has mounted: at which epoch, and where."""
    where = {ost.target: ost.spec.mount_point for ost in world.store.every(OST)}
    mine = (grant for grant in status.assignments if grant.node == server and grant.intent == "Serve")
    return {grant.target: (grant.epoch, where[grant.target]) for grant in mine}


def on_the_day_of_the_install(world: World) -> None:
    """The servers run, nothing is mounted, and the objects have just been applied."""
    for obj in (*world.site.devices, *world.site.osts, *world.site.pairs):
        world.store.create(obj, "ann")
    for host in world.hosts.values():
        host.come_up(600.0)
    start(world)


def start(world: World) -> None:
    """Agents and kubelets start; then all is let run until it has come to rest."""
    for agent in world.agents.values():
        agent.start()
    world.kubelets.start()
    world.kernel.run(WARM_UP)


def _trusted(world: World, device: FenceDevice) -> FenceDevice:
    """A device as probes have found it for long."""
    used = sorted(
        {
            feed.outlet
            for groups in world.devices.wires.values()
            for g in groups
            for feed in g
            if feed.device == device.name
        }
    )
    samples = device.spec.probe.sample_count
    status = FenceDeviceStatus(
        observed_generation=1,
        system_uuid=world.devices.board(device.name) if device.spec.ipmi else "",
        identity=world.devices.identity(device.name),
        samples=samples,
        succeeded=samples,
        latency_milliseconds=LATENCY_MS,
        feeds=tuple(FeedReading(outlet=outlet, state=PowerState.ON.value) for outlet in used),
        conditions=(Condition(type="Ready", status="True", reason="Trusted", observed_generation=1),),
    )
    return device.model_copy(update={"status": status})


def _status(world: World, pair: OSSPair) -> OSSPairStatus:
    """Every target at home, by adoption; every board pinned; every level drilled, where the settings say so."""
    warrant = Warrant(adopted=AdoptedWarrant(nonce="at-install"))
    osts = [ost for ost in world.store.every(OST) if ost.target in world.hosts[pair.servers[0]].targets]
    assignments = tuple(
        Assignment(
            target=ost.target,
            node=ost.spec.home_node,
            intent="Serve" if ost.spec.desired == "Mounted" else "Release",
            epoch=EPOCH,
            warrant=warrant,
        )
        for ost in osts
    )
    boards = tuple(Board(node=server, system_uuid=world.hosts[server].board) for server in pair.servers)
    wiring = _wiring(world, pair) if world.settings.drilled else ()
    return OSSPairStatus(epoch=EPOCH, assignments=assignments, boards=boards, wiring=wiring)


def _wiring(world: World, pair: OSSPair) -> tuple[Wiring, ...]:
    found = []
    for server in pair.servers:
        for level in pair.fencing_of(server):
            feeds = []
            for feed in level.feeds:
                device = world.store.find(FenceDevice, f"{pair.metadata.namespace}/{feed.device_name}")
                uid, address = (device.metadata.uid, device.spec.address) if device else ("", "")
                identity = world.devices.identity(feed.device_name)
                feeds.append(mark_of(feed.device_name, feed.outlet or "", uid, address, identity))
            mark = fingerprint_of(server, level.name, feeds, world.hosts[server].board)
            found.append(Wiring(node=server, level=level.name, id="at-install", proven=True, fingerprint=mark))
    return tuple(found)
