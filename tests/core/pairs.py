"""A pair at rest: two servers, two PDUs, two BMCs, each level drilled, all armed. Tests start from here."""

from __future__ import annotations

from typing import Any

from core.agents import pair_ref
from core.apistore import ApiStore
from core.clockwork import Clockwork
from core.machines import Device, Floor, Mount, Server
from core.world import NAMESPACE, PAIR, World
from ostkeeper.api.common import ObjectMeta
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, OSSSpec
from ostkeeper.api.osspair import AdoptedWarrant, Assignment, Board, OSSPair, OSSPairStatus, Warrant, Wiring
from ostkeeper.api.ost import OST
from ostkeeper.core.armed import fingerprint_of, mark_of
from ostkeeper.core.events import NodeState
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.identity import reported

READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Trusted"}]}
LEVELS = {"pdus": ("left", "right"), "bmc": ("bmc",)}


def device(name: str, bmc_of: str = "", board: str = "") -> FenceDevice:
    """A trusted device."""
    board = board or f"board-{bmc_of}"
    kind: dict[str, Any] = {"address": f"{name}.example", "credentialsSecretName": "secret"}
    spec = {"ipmi": kind} if bmc_of else {"snmpPDU": kind}
    told = {"systemUUID": board, "identity": f"guid:{board}"} if bmc_of else {"identity": f"serial:{name}"}
    status = {**READY, **told}
    wire = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec, "status": status}
    return FenceDevice.parse(wire)


def feeds_of(server: str, level: str) -> list[dict[str, str]]:
    """The feeds of one level: outlet 1 is the first server's, outlet 2 the second's."""
    outlet = "2" if int(server[-1]) % 2 == 0 else "1"
    if level == "bmc":
        return [{"deviceName": f"bmc-{server}"}]
    names = {"pdus": ("left", "right"), "left": ("left",), "right": ("right",)}[level]
    return [{"deviceName": name, "outlet": outlet} for name in names]


def pair_spec(levels: tuple[str, ...], servers: tuple[str, str], **failover: Any) -> dict[str, Any]:
    """Spec of the pair: both servers fenced alike."""
    nodes = [{"name": s, "fencing": [{"name": lv, "feeds": feeds_of(s, lv)} for lv in levels]} for s in servers]
    return {"nodes": nodes, "failover": {"mode": "Automatic", **failover}}


def ost(index: int, home: str) -> OST:
    """One target on a plain file system."""
    name = f"scratch-ost{index:04x}"
    spec = {
        "fileSystem": "scratch",
        "index": index,
        "pairName": PAIR,
        "homeNode": home,
        "backend": {"ext4": {"device": f"/dev/loop{index}"}},
        "mountPoint": f"/mnt/ost{index:04x}",
    }
    return OST.parse({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})


def build(
    *,
    levels: tuple[str, ...] = ("pdus", "bmc"),
    homes: tuple[str, ...] = (),
    names: tuple[str, str] = ("oss1", "oss2"),
    clock: Clockwork | None = None,
    beats: Heartbeats | None = None,
    epoch: int = 41,
    adopted: bool = True,
    drilled: bool = True,
    nodes: bool = True,
    board: str = "",
    spec: dict[str, Any] | None = None,
    **failover: Any,
) -> World:
    """A world before its operator has started; `board`: the system UUID of all boards.

    With `clock` and `beats` one of several pairs of one operator."""
    clock, homes = clock or Clockwork(1000.0), homes or names
    store = ApiStore()
    servers = [
        Server(name, (("left", outlet), ("right", outlet)), f"bmc-{name}", board=board)
        for name, outlet in zip(names, ("1", "2"), strict=True)
    ]
    devices = [Device(n, outlets={"1": True, "2": True}) for n in ("left", "right")]
    devices += [Device(f"bmc-{s.name}", bmc_of=s.name) for s in servers]
    targets = [ost(i, home).target for i, home in enumerate(homes)]
    floor = Floor(clock, servers, devices, targets)
    world = World(clock, store, floor)
    world.beats = beats
    for d in devices:
        store.put(device(d.name, d.bmc_of, board))
    for i, home in enumerate(homes):
        store.put(ost(i, home))
    if nodes:
        world.nodes = {s.name: NodeState(s.name, "True", "0") for s in servers}
    wire = {
        "metadata": {"name": PAIR, "namespace": NAMESPACE},
        "spec": {**pair_spec(levels, names, **failover), **(spec or {})},
    }
    pair = store.put(OSSPair.parse(wire))
    if adopted:
        for s in servers:
            store.put(OSS(metadata=ObjectMeta(name=s.name), spec=OSSSpec(pair=pair_ref())))
        store.put(pair.model_copy(update={"status": _status(store, pair, homes, epoch, drilled, board)}))
        for i, home in enumerate(homes):
            floor.servers[home].mounts[targets[i]] = Mount(epoch, done=True)
            floor.disks[targets[i]].dirty, floor.disks[targets[i]].mark = True, home
    return world


def _status(
    store: ApiStore, pair: OSSPair, homes: tuple[str, ...], epoch: int, drilled: bool, board: str
) -> OSSPairStatus:
    warrant = Warrant(adopted=AdoptedWarrant(nonce="at-install"))
    assignments = tuple(
        Assignment(target=ost(i, home).target, node=home, intent="Serve", epoch=epoch, warrant=warrant)
        for i, home in enumerate(homes)
    )
    boards = tuple(Board(node=s, system_uuid=board or f"board-{s}") for s in pair.servers)
    wiring = []
    for server in pair.servers:
        for level in pair.fencing_of(server):
            feeds = []
            for f in level.feeds:
                d = store.get(FenceDevice, f.device_name)
                feeds.append(mark_of(f.device_name, f.outlet or "", d.metadata.uid, d.spec.address, reported(d)))
            mark = fingerprint_of(server, level.name, feeds, board or f"board-{server}")
            wiring.append(Wiring(node=server, level=level.name, id="first", proven=drilled, fingerprint=mark))
    return OSSPairStatus(epoch=epoch, assignments=assignments, boards=boards, wiring=tuple(wiring))


def at_rest(**how: Any) -> World:
    """A world in which all is well at second 0: armed, mounted, watched for a while."""
    world = build(**how)
    world.log.muted = True
    world.start_operator()
    world.clock.run(1014.0)
    world.zero = 1014.0
    world.log.muted = False
    world.writes.clear()
    return world


def arm(world: World) -> str:
    """Why the pair is not armed; empty: it is."""
    conditions = {c.type: c for c in world.status.conditions}
    return conditions["Armed"].message if conditions["Armed"].status != "True" else ""


def several_at_rest(count: int, **how: Any) -> list[World]:
    """So many pairs of one operator, all well at second 0: oss1 and oss2, oss3 and oss4, and so on; their Failovers are
    all called pair-a-…"""
    clock, beats = Clockwork(1000.0), Heartbeats()
    beats.restart(clock.now)
    names = [(f"oss{2 * i + 1}", f"oss{2 * i + 2}") for i in range(count)]
    worlds = [build(names=pair, clock=clock, beats=beats, **how) for pair in names]
    for world in worlds:
        world.log.muted = True
        world.start_operator()
    clock.run(1014.0)
    for world in worlds:
        world.zero = 1014.0
    return worlds
