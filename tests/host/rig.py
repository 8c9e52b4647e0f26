"""The host machine on a table: server oss1, partner oss2, one or two targets, and a world that a test describes in words.

Here: the world's truth, events made from it, the answers that a willing world gives. Not here: expectations.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ostkeeper.api.failover import Certificate, Failover
from ostkeeper.api.oss import OSS, OSSStatus
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.events import Gone, Seen, Tick
from ostkeeper.core.host import HostMachine
from ostkeeper.core.hoststate import Server

Json = dict[str, Any]
T = "scratch-OST0000"
OTHER = "scratch-OST0001"
BOOT, OLD_BOOT, DEAD_BOOT = "boot-now", "boot-before", "boot-of-oss2"
BOARD, UUID, CLUSTER = "board-1", "uuid-of-the-disk", "cluster-1"
MINE, THEIRS = "kernel/loop1", "kernel/loop2"
START = 1000.0
EffectT = TypeVar("EffectT")

CLEAN = ev.Reading(
    T, START, uuid=UUID, label=T, mmp_enabled=True, activity="Clean", digest="d-clean", update_interval=1.0
)
STILL = CLEAN._replace(
    activity="Still", ordinary=True, mark=THEIRS, digest="d-still", still_since=START - 60, unmoved=60.0
)
ADVANCING = STILL._replace(activity="Advancing", digest="d-moving", still_since=START, unmoved=0.0)


def ost(target: str = T, **spec: Any) -> OST:
    base: Json = {
        "fileSystem": "scratch",
        "index": int(target[-4:], 16),
        "pairName": "pair-a",
        "homeNode": "oss1",
        "backend": {"ext4": {"device": f"/dev/disk/{target}"}},
        "mountPoint": f"/mnt/{target}",
    }
    return OST.parse({"metadata": {"name": target.lower(), "namespace": "ns"}, "spec": base | spec})


def grant(intent: str, epoch: int, node: str = "oss1", target: str = T, **warrant: Any) -> Json:
    return {
        "target": target,
        "node": node,
        "intent": intent,
        "epoch": epoch,
        "warrant": warrant or {"adopted": {"nonce": "first"}},
    }


def certificate(target: str = T, node: str = "oss2", **more: Any) -> Certificate:
    body: Json = {
        "node": node,
        "bootID": DEAD_BOOT,
        "holdEpoch": 5,
        "level": "bmc",
        "feeds": [{"deviceName": "bmc", "state": "PoweredOff", "reads": 3}],
        "disks": [{"target": target, "state": "Still", "block": "d-still", "mark": THEIRS, "reported": THEIRS}],
        "clearMMP": True,
    }
    return Certificate.model_validate(body | more)


def failover(held: Certificate, name: str = "pair-a-4") -> Failover:
    spec: Json = {"pairName": "pair-a", "epoch": 4, "type": "Failover", "node": held.node, "partner": "oss1"}
    spec |= {"evidence": {"verdict": "Failed", "sentence": "a test"}}
    spec["policy"] = {
        "mode": "Automatic",
        "armed": True,
        "levels": [{"name": "bmc", "feeds": [{"deviceName": "bmc"}]}],
        "confirm": {},
        "clearMMP": True,
        "validFor": "2m",
        "bootTimeout": "15m",
        "releaseTimeout": "5m",
    }
    status = {"phase": "Relocating", "certificate": held.wire()}
    return Failover.parse({"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": status})


def certified(held: Certificate, name: str = "pair-a-4") -> Json:
    """The warrant that names it."""
    return {"certificate": {"failover": name, "digest": certificate_digest(held)}}


def oss(node: str, **status: Any) -> OSS:
    return OSS.parse(
        {"metadata": {"name": node}, "spec": {"pair": {"namespace": "ns", "name": "pair-a"}}, "status": status}
    )


class Eager(HostMachine):
    """Plans on every event."""

    def _rests(self, event: ev.HostEvent, now: float) -> bool:
        return False


@dataclass
class Rig:
    """One machine and the world around it."""

    grants: list[Json] = field(default_factory=lambda: [grant("Serve", 3)])
    epoch: int = 0
    """Of the pair; 0: the highest of the grants."""
    status: Json = field(default_factory=dict)
    osts: list[OST] = field(default_factory=lambda: [ost()])
    partner: OSS | None = field(default_factory=lambda: oss("oss2", bootID=DEAD_BOOT))
    failovers: list[Failover] = field(default_factory=list)
    own: Json = field(default_factory=dict)
    """Status of the own OSS, as an earlier agent left it."""
    stored: ev.Remembered = field(default_factory=ev.Remembered)
    corrupt: str = ""
    mounts: dict[str, tuple[ev.MountFact, ...]] = field(default_factory=dict)
    obstacles: dict[str, str] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)
    disk: ev.Reading = CLEAN
    willing: bool = True
    """The world answers reads, the store and reports at once."""
    leased: bool = True
    now: float = START
    effects: list[ev.HostEffect] = field(default_factory=list)
    """All so far."""

    def __post_init__(self) -> None:
        self.machine = HostMachine(Server("oss1", BOOT, BOARD, "run-1", "0.1.0"), self.stored, self.corrupt)

    # --- the world's truth

    @property
    def pair(self) -> OSSPair:
        nodes = [{"name": n, "fencing": [{"name": "bmc", "feeds": [{"deviceName": n}]}]} for n in ("oss1", "oss2")]
        epoch = self.epoch or max((g["epoch"] for g in self.grants), default=0)
        status = {"epoch": epoch, "assignments": self.grants, **self.status}
        return OSSPair.parse(
            {"metadata": {"name": "pair-a", "namespace": "ns"}, "spec": {"nodes": nodes}, "status": status}
        )

    def snapshot(self) -> ev.HostSnapshot:
        return ev.HostSnapshot(self.pair, tuple(self.osts), self.partner, tuple(self.failovers))

    # --- driving

    def start(self) -> "Rig":
        """Everything that an agent sees within its first second."""
        for seen in (oss("oss1", **self.own), self.pair, *self.osts, *self.failovers, *filter(None, [self.partner])):
            self.step(Seen(seen))
        self.step(ev.OSTsListed())
        self.step(ev.ClusterKnown(CLUSTER))
        self.look()
        if self.leased:
            self.step(ev.Renewed(self.now))
        self.read()
        return self

    def look(self) -> None:
        names = tuple(sorted(found.target for found in self.osts))
        self.step(ev.ChildrenSeen(dict(self.children), names))
        self.step(ev.MountsSeen(dict(self.mounts), dict(self.obstacles), names))

    def read(self, reading: ev.Reading | None = None, target: str = T) -> None:
        """One more reading, begun just now."""
        self.disk = reading or self.disk
        self.step(ev.DiskSeen(self.disk._replace(target=target, began=self.now)))

    def change(self, *grants: Json, **status: Any) -> None:
        """The operator writes; the watch shows it."""
        self.grants = list(grants) or self.grants
        self.status |= status
        self.step(Seen(self.pair))

    def wait(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass; the lease is renewed and the disk read all the while."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + step)
            if self.leased:
                self.step(ev.Renewed(self.now))
            grown = self.now - self.disk.still_since if self.disk.ordinary else 0.0
            self.read(self.disk._replace(unmoved=grown))

    def step(self, event: ev.HostEvent) -> list[ev.HostEffect]:
        """One event, and what a willing world answers to what comes of it."""
        effects = self.machine.step(event, self.now)
        self.effects += effects
        for effect in effects if self.willing else ():
            answer = self._answer(effect)
            if answer:
                self.step(answer)
        return effects

    def _answer(self, effect: ev.HostEffect) -> ev.HostEvent | None:
        match effect:
            case ev.ReadPair(op=op):
                return ev.PairRead(op, self.now, self.snapshot())
            case ev.Remember(op=op):
                return ev.Stored(op, True)
            case ev.Report(op=op):
                return ev.Reported(op, True)
            case _:
                return None

    def tick(self) -> None:
        """Wait until the machine wants to be woken."""
        self.now = max(self.now, self.machine.wake_at)
        self.step(Tick())

    def mounted(self, adopted: bool = False, mark: str = MINE, order: ev.Mount | None = None) -> "Rig":
        """Let the mount that was ordered (this one, if there were several) succeed, and its mark be read back."""
        order = order or self.one(ev.Mount)
        self.mounts[T] = (ev.MountFact(f"/mnt/{T}"),)
        self.look()
        self.step(ev.MountEnded(order.op, T, True))
        moving = STILL._replace(activity="Advancing", mark=mark, digest="d-own", moves=self.disk.moves)
        for _ in range(3):
            self.now += 1.0
            if self.leased:
                self.step(ev.Renewed(self.now))
            moving = moving._replace(moves=moving.moves + 1)
            self.read(moving)
        return self

    # --- what came of it

    def all(self, kind: type[EffectT]) -> list[EffectT]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def one(self, kind: type[EffectT]) -> EffectT:
        found = self.all(kind)
        assert len(found) == 1, f"one {kind.__name__} was expected: {found}"
        return found[0]

    def since(self, mark: int, kind: type[EffectT]) -> list[EffectT]:
        return [effect for effect in self.effects[mark:] if isinstance(effect, kind)]

    @property
    def report(self) -> OSSStatus:
        return self.all(ev.Report)[-1].status

    def target(self, name: str = T) -> Any:
        return next(report for report in self.report.targets if report.target == name)

    def lose(self, kind: str, key: str) -> None:
        self.step(Gone(kind, key))


def record(boot: str = BOOT, epoch: int = 3, mark: str = MINE, disk: str = UUID, adopted: bool = False) -> ev.Mounted:
    return ev.Mounted(disk, boot, epoch, adopted, mark)


def holding(boot: str = BOOT, epoch: int = 3, mark: str = MINE, seen: Iterable[int] = ()) -> ev.Remembered:
    """A store that knows of a mount and of epochs."""
    top = max([epoch, *seen])
    return ev.Remembered({CLUSTER: {UUID: top}}, {T: record(boot, epoch, mark)})


HERE: dict[str, tuple[ev.MountFact, ...]] = {T: (ev.MountFact(f"/mnt/{T}", mount_id=7),)}
