"""The API server: objects with resourceVersions and optimistic concurrency, what it refuses, and its faults.

Here: one write after the other, each committed in an instant, and who is told of it. Not here: how long a call takes and
whether it arrives (`network`), when a watch shows a commit (`watches`), what may be written (`core.referee`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ostkeeper.api.common import Condition, Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, OSSStatus
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.election import Answer, Record, Request, Verb
from ostkeeper.core.events import Beat, NodeState, Outcome
from ostkeeper.core.invariants import InvariantBroken, committed
from ostkeeper.core.referee import refusal
from ostkeeper.ports import Written
from ostkeeper.sim.kernel import Kernel

if TYPE_CHECKING:
    from ostkeeper.sim.watches import Watches

LEASE, NODE = "Lease", "Node"
RAISED = 1_000_000
"""By how much `etcdutl snapshot restore --bump-revision` raises the revision."""
KINDS = (OSSPair.kind, FenceDevice.kind, OSS.kind, OST.kind, Failover.kind)
ResourceT = TypeVar("ResourceT", bound=Resource)
Observer = Callable[[Resource | None, Resource | None, str], None]
"""Told of each commit of an object: what it was (None: created), what it is (None: deleted), who wrote it."""


@dataclass(frozen=True, slots=True)
class Canary:
    """The lease by which one operator proves that its watch lives."""

    name: str
    song: int
    """Which writing of it this is."""
    version: int


Stored = Resource | Beat | NodeState | Canary


@dataclass(frozen=True, slots=True)
class Backup:
    """All of etcd at one moment."""

    shelves: dict[str, dict[str, Stored]]
    leader: Record | None
    version: int
    at: float


class Store:
    """All objects by kind and key. Every method is one request at the moment at which the API server carries it out."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.version = 1000
        self.shelves: dict[str, dict[str, Any]] = {kind: {} for kind in (*KINDS, LEASE, NODE)}
        self.leader: Record | None = None
        """The leader lease."""
        self.watches: Watches | None = None
        self.observers: list[Observer] = []
        self.restored: list[Callable[[], None]] = []
        """Called when a backup was put back."""
        self.alarm: Callable[[str], None] = _raise
        """Told when a commit breaks an invariant of `core`, or an object does not survive its wire form."""
        self.round_trip = False
        """Whether each object that is committed goes through its wire form, and has to come back equal."""
        self.up = True
        """Set by `go_down` and `come_up`."""
        self.slow = 0.0
        """A call takes at most so many seconds more, on the way in and on the way out."""
        self.lossy = 0.0
        """The share of calls whose answer is lost after they were carried out."""
        self.meddling = 0.0
        """The share of guarded writes before which somebody else touches the object."""
        self.refuses: dict[str, float] = {}
        """Servers whose reports are refused while their leases are taken, and since when."""
        self.refusals: list[str] = []
        """What was refused, newest last."""
        self.renewed: dict[str, float] = {}
        """When each server's lease was last renewed, on `clock`."""
        self.deposed: dict[str, float] = {}
        """When each operator that led last lost the leader lease."""
        self.whole_reads: dict[tuple[str, str], float] = {}
        """When the last whole read of a pair began, by operator and pair."""
        self._down_since, self._down_for = 0.0, 0.0
        self._uids = 0

    # --- reading

    def find(self, kind: type[ResourceT], key: str) -> ResourceT | None:
        """The object of this kind and key (`namespace/name`, or the name of what is cluster-wide)."""
        return cast("ResourceT | None", self.shelves[kind.kind].get(key))

    def every(self, kind: type[ResourceT]) -> tuple[ResourceT, ...]:
        """All objects of a kind, in the order of their creation."""
        return tuple(self.shelves[kind.kind].values())

    def of_pair(self, kind: type[ResourceT], pair: str) -> tuple[ResourceT, ...]:
        """The OSTs or Failovers that name the pair `namespace/name`."""
        namespace, _, name = pair.rpartition("/")
        return tuple(
            found
            for found in self.shelves[kind.kind].values()
            if found.spec.pair_name == name and found.metadata.namespace == namespace
        )

    def beat_of(self, node: str) -> Beat | None:
        """The lease of a server's agent."""
        return cast("Beat | None", self.shelves[LEASE].get(node))

    def node_of(self, node: str) -> NodeState | None:
        """The Kubernetes Node of a server."""
        return cast("NodeState | None", self.shelves[NODE].get(node))

    def systems_of(self, pair: str) -> tuple[str, ...]:
        """The file systems of a pair's OSTs."""
        return tuple(dict.fromkeys(ost.spec.file_system for ost in self.of_pair(OST, pair)))

    # --- writing objects

    def create(self, obj: Resource, who: str) -> Written:
        """Create an object; CONFLICT where it exists. It comes without status, as on a real API server."""
        if obj.key in self.shelves[obj.kind]:
            return Written(Outcome.CONFLICT, None, f"{obj.kind} {obj.key} exists")
        bare = obj.model_copy(update={"status": None}) if getattr(obj, "status", None) is not None else obj
        return self._write(None, bare, who)

    def seed(self, obj: ResourceT) -> ResourceT:
        """Put an object there as it is, status and all, for a world that begins in the middle. Nobody is told."""
        return self._store(obj.kind, obj, self._new_meta(obj))

    def replace_status(self, kind: type[Resource], key: str, version: str, status: Any, who: str) -> Written:
        """Replace the status, guarded by resourceVersion (empty: unguarded)."""
        if self.meddling and version and self._kernel.random.random() < self.meddling:
            self.touch(kind, key)
        before = self.shelves[kind.kind].get(key)
        if before is None:
            return Written(Outcome.GONE, None, f"{kind.kind} {key} does not exist")
        if version and before.metadata.resource_version != version:
            return Written(Outcome.CONFLICT, None, f"{kind.kind} {key} is at {before.version}, not {version}")
        if status == before.status:
            return Written(Outcome.OK, before)
        return self._write(before, before.model_copy(update={"status": status}), who)

    def edit(
        self, kind: type[ResourceT], key: str, change: Callable[[ResourceT], ResourceT], who: str, version: str = ""
    ) -> Written:
        """A person edits the spec: `change` gives the object with another spec. The generation rises with it."""
        before = self.find(kind, key)
        if before is None:
            return Written(Outcome.GONE, None, f"{kind.kind} {key} does not exist")
        if version and before.version != version:
            return Written(Outcome.CONFLICT, None, f"{kind.kind} {key} is at {before.version}, not {version}")
        after = change(before)
        if after == before:
            return Written(Outcome.OK, before)
        raised = before.metadata.model_copy(update={"generation": before.metadata.generation + 1})
        return self._write(before, after.model_copy(update={"metadata": raised}), who)

    def report(self, node: str, status: OSSStatus, who: str) -> Written:
        """An agent's merge patch of its OSS: all of the status but the conditions, which are the operator's."""
        before = self.find(OSS, node)
        if before is None:
            return Written(Outcome.GONE, None, f"OSS {node} does not exist")
        if node in self.refuses:
            return Written(Outcome.REFUSED, None, f"OSS {node}: refused by an admission policy")
        if before.status is not None and before.status.conditions != status.conditions:
            status = status.model_copy(update={"conditions": before.status.conditions})
        return self.replace_status(OSS, node, "", status, who)

    def oss_ready(self, node: str, condition: Condition, who: str) -> Written:
        """The operator's server-side apply: one condition of an OSS, and nothing else of its status."""
        before = self.find(OSS, node)
        if before is None:
            return Written(Outcome.GONE, None, f"OSS {node} does not exist")
        status = before.status or OSSStatus()
        others = tuple(c for c in status.conditions if c.type != condition.type)
        return self.replace_status(OSS, node, "", status.model_copy(update={"conditions": (*others, condition)}), who)

    def delete(self, kind: type[Resource], key: str, who: str) -> Written:
        """Delete an object."""
        before = self.shelves[kind.kind].pop(key, None)
        if before is None:
            return Written(Outcome.GONE, None, f"{kind.kind} {key} does not exist")
        self.version += 1
        for observer in self.observers:
            observer(before, None, who)
        if self.watches:
            self.watches.committed(kind.kind, key, None, before, self.version)
        return Written(Outcome.OK, before)

    def touch(self, kind: type[Resource], key: str) -> None:
        """Somebody sets a label: nothing that matters has changed, but the resourceVersion."""
        before = self.shelves[kind.kind].get(key)
        if before is not None:
            self._tell(before, self._store(kind.kind, before, before.metadata), "somebody")

    def _write(self, before: Resource | None, after: Resource, who: str) -> Written:
        why = refusal(before, after)
        if why:
            self.refusals.append(f"{who}: {why}")
            return Written(Outcome.REFUSED, None, why)
        if before is not None:
            self._check(before, after, who)
        stored = self._store(after.kind, after, self._new_meta(after) if before is None else after.metadata)
        self._tell(before, stored, who)
        return Written(Outcome.OK, stored)

    def _check(self, before: Resource, after: Resource, who: str) -> None:
        """The invariants that stored objects alone can show, at the commit: whoever wrote it."""
        namespace = after.metadata.namespace
        for rule in committed(before, after, lambda name: self.find(Failover, f"{namespace}/{name}")):
            self.alarm(f"{who} wrote {after.kind} {after.key}: {rule}")

    def _new_meta(self, obj: Resource) -> Any:
        self._uids += 1
        return obj.metadata.model_copy(update={"uid": f"uid-{self._uids}", "generation": 1})

    def _store(self, kind: str, obj: ResourceT, meta: Any) -> ResourceT:
        self.version += 1
        stored = obj.model_copy(update={"metadata": meta.model_copy(update={"resource_version": str(self.version)})})
        if self.round_trip and (back := type(stored).parse(stored.wire())) != stored:
            self.alarm(f"{kind} {stored.key} does not survive its wire form: {stored} came back as {back}")
        self.shelves[kind][stored.key] = stored
        return stored

    def _tell(self, before: Resource | None, stored: Resource, who: str) -> None:
        for observer in self.observers:
            observer(before, stored, who)
        if self.watches:
            self.watches.committed(stored.kind, stored.key, stored, stored, self.version)

    # --- writing leases and nodes

    def beat(
        self, node: str, boot_id: str, report: str, unread: tuple[str, ...] | None, pending: float | None = None
    ) -> Beat:
        """An agent renews its lease: a merge patch, which asks for no version. Creates it where there is none."""
        self.version += 1
        beat = Beat(node, boot_id, str(self.version), report, unread, pending, "refused" if pending is not None else "")
        self.renewed[node] = self.clock()
        self._small(LEASE, node, beat)
        return beat

    def sing(self, name: str, song: int, version: int = 0) -> Canary:
        """An operator renews its canary, guarded by a version (0: unguarded); what is stored where that is another."""
        stored = self.shelves[LEASE].get(f"canary-{name}")
        if version and stored is not None and stored.version != version:
            return cast("Canary", stored)
        self.version += 1
        canary = Canary(name, song, self.version)
        self._small(LEASE, f"canary-{name}", canary)
        return canary

    def show_node(self, state: NodeState) -> None:
        """A kubelet renews its Node's lease, or somebody sets a condition."""
        self.version += 1
        self._small(NODE, state.name, state)

    def delete_lease(self, node: str) -> None:
        """Somebody deletes an agent's lease. No watch of leases tells of absence."""
        self.version += 1
        self.shelves[LEASE].pop(node, None)

    def _small(self, kind: str, key: str, stored: Stored) -> None:
        self.shelves[kind][key] = stored
        if self.watches:
            self.watches.committed(kind, key, stored, stored, self.version)

    # --- the leader lease

    def elect(self, request: Request, holder: str, duration: float) -> tuple[Answer, Record | None]:
        """What a candidate of that name asks of the leader lease."""
        old = self.leader
        if request.verb is Verb.GET:
            return Answer.OK, old
        if request.verb is Verb.CREATE:
            if old is not None:
                return Answer.CONFLICT, None
        elif old is None:
            return Answer.GONE, None
        elif request.record is None or request.record.version != old.version:
            return Answer.CONFLICT, None
        self.version += 1
        self._lead(Record(holder, str(self.version), duration))
        return Answer.OK, self.leader

    def _lead(self, record: Record | None) -> None:
        if self.leader is not None and (record is None or record.holder != self.leader.holder):
            self.deposed[_operator(self.leader)] = self._kernel.now
        self.leader = record

    def leads(self, operator: str) -> bool:
        """Whether an operator, in whichever of its lives, holds the leader lease."""
        return self.leader is not None and _operator(self.leader) == operator

    # --- faults

    def clock(self) -> float:
        """The seconds for which it was up."""
        return (self._kernel.now if self.up else self._down_since) - self._down_for

    def hesitates(self) -> float:
        """How much longer than usual it takes over this call, in seconds."""
        return self.slow * self._kernel.random.random() if self.slow else 0.0

    def loses_answer(self) -> bool:
        """Whether the answer to this call is lost."""
        return self.lossy > 0.0 and self._kernel.random.random() < self.lossy

    def go_down(self) -> None:
        """Nothing is carried out any more, and all watches break."""
        if self.up:
            self._down_since = self._kernel.now
        self.up = False
        if self.watches:
            self.watches.break_all()

    def come_up(self) -> None:
        """It serves again; watches come back by themselves."""
        if not self.up:
            self._down_for += self._kernel.now - self._down_since
        self.up = True

    def backup(self) -> Backup:
        """A copy of all of etcd."""
        return Backup(
            {k: dict(shelf) for k, shelf in self.shelves.items()}, self.leader, self.version, self._kernel.now
        )

    def restore(self, backup: Backup, *, raised: bool = False) -> None:
        """Put a backup back: objects and versions go back. Watches that are further on hear nothing, in silence.

        `raised`: each object has the version of the backup, new writes get higher ones than ever, and all watches have to list.
        """
        self.shelves = {kind: dict(shelf) for kind, shelf in backup.shelves.items()}
        self._lead(backup.leader)
        self.version = self.version + RAISED if raised else backup.version
        if raised and self.watches:
            self.watches.compact()
        self.renewed.clear()
        for told in self.restored:
            told()


def _operator(record: Record) -> str:
    """The operator whose process holds a lease: what stands before its life's number."""
    return record.holder.rpartition("_")[0]


def _raise(complaint: str) -> None:
    raise InvariantBroken(complaint)
