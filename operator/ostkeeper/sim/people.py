"""People: they answer what is asked, well or badly, and after a night they set right what only people can.

Here: answers to Failovers, edits of specs, and `help`, the patient person of the end phase. Not here: when a fault has
somebody do it (`levers`).

What a person here never does is what `faults` puts outside of the model: ConfirmDead is said only of a server that was
looked at and has no power.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from ostkeeper.api.common import DURATION_PATTERN, Model, ObjectMeta, Resource, seconds
from ostkeeper.api.failover import Answer, Approval, Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import BoardAcceptance, Heartbeat, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.api.phases import ANSWERABLE, ORDERLY
from ostkeeper.core.claims import pair_key

if TYPE_CHECKING:
    from ostkeeper.sim.hosts import Host
    from ostkeeper.sim.world import World

WHO = "ann"
ROUND = 4.0
"""Seconds between two looks of the helpful person."""
GLANCE = 1.5
"""Seconds between two looks of one who is about to answer; and how many of them are a minute."""
MINUTE = 40
PATIENCE = 3
"""Looks at the same question before another answer is tried."""
ResourceT = TypeVar("ResourceT", bound=Resource)
EDITABLE: Mapping[type[Resource], Mapping[str, str]] = {
    OSSPair: {
        "mode": "Observe|Manual|Automatic",
        "mmp": "ClearWhenCertified|Wait",
        "heartbeat": DURATION_PATTERN,
        "adopt": ".*",
        "paused": "true|false",
        "maintenance": ".*",
    },
    OST: {"desired": "Mounted|Unmounted", "serveFrom": "Home|Partner", "homeNode": ".*"},
    FenceDevice: {"address": ".+"},
}
"""By kind, the fields of a spec that a fault can set, and a regular expression of what each takes (`People.edit`)."""


class People:
    """Everybody who may write specs and press buttons."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[str, int] = {}
        """How often the helpful person has looked at each question."""
        self.helping = False
        self.retired: set[str] = set()
        """Keys of OSTs that were retired: they are not in Git any more."""

    # --- answers

    def answer(self, answer: Answer, failover: Failover | None = None, evidence: str = "") -> bool:
        """Answer a question: this one, else the first that is open. Returns whether the API server took it."""
        asked = failover or self._open()
        if asked is None or asked.status is None:
            return False
        if answer == "ConfirmDead" and self._world.hosts[asked.spec.node].boot:
            return False
        approval = Approval(answer=answer, evidence=evidence or asked.status.evidence, by=WHO)
        return self.edit_spec(Failover, asked.key, approval=approval)

    def _open(self) -> Failover | None:
        """The first Failover that takes an answer."""
        for failover in self._world.store.every(Failover):
            if failover.phase in ANSWERABLE:
                return failover
        return None

    def will_answer(self, answer: Answer, *, late: bool = False, times: int = 1) -> None:
        """Answer the next question within a minute, as soon as it is asked. `late`: a question that is asked no more."""
        self._wait_and_answer(answer, "0123456789abcdef" if late else "", times, MINUTE)

    def _wait_and_answer(self, answer: Answer, evidence: str, times: int, looks: int) -> None:
        if self._open() is not None:
            for _ in range(times):
                self.answer(answer, evidence=evidence)
        elif looks:
            kernel = self._world.kernel
            kernel.after(GLANCE, kernel.net, self._wait_and_answer, answer, evidence, times, looks - 1)

    def edit_spec(self, kind: type[ResourceT], key: str, **fields: object) -> bool:
        """Set fields of an object's spec. Returns whether the API server took it."""
        return self._world.store.up and self._set(kind, key, fields)

    def _set(self, kind: type[ResourceT], key: str, fields: Mapping[str, object]) -> bool:
        def change(obj: ResourceT) -> ResourceT:
            spec = obj.spec.model_copy(update=fields)  # type: ignore[attr-defined]
            return obj.model_copy(update={"spec": spec})

        return self._world.store.edit(kind, key, change, WHO).outcome == "Ok"

    def edit_if_there(self, kind: type[ResourceT], key: str, fields: Mapping[str, object]) -> None:
        """Set fields of a spec, unless the object is gone by now."""
        if self._world.store.find(kind, key) is not None:
            self.edit_spec(kind, key, **fields)

    def edit(self, kind: type[Resource], key: str, field: str, value: str) -> bool:
        """Set one field of an object, as `faults` names it."""
        if kind is OSSPair:
            return self._edit_pair(key, field, value)
        if field == "address":
            device = self._world.store.find(FenceDevice, key)
            assert device is not None
            parts = {n: p for n in ("ipmi", "snmp_pdu") if (p := getattr(device.spec, n)) is not None}
            moved = {n: p.model_copy(update={"address": value}) for n, p in parts.items()}
            return self.edit_spec(FenceDevice, key, **moved)
        if field == "homeNode":
            return self._edit_home(key)
        return self.edit_spec(kind, key, **{{"serveFrom": "serve_from"}.get(field, field): value})

    def _edit_home(self, key: str) -> bool:
        ost = self._world.store.find(OST, key)
        assert ost is not None
        pair = self._world.store.find(OSSPair, pair_key(ost))
        return pair is not None and self.edit_spec(OST, key, home_node=pair.partner_of(ost.spec.home_node))

    def _edit_pair(self, key: str, field: str, value: str) -> bool:
        pair = self._world.store.find(OSSPair, key)
        assert pair is not None
        match field:
            case "mode" | "mmp":
                return self.edit_spec(OSSPair, key, failover=pair.spec.failover.model_copy(update={field: value}))
            case "heartbeat":
                times = Heartbeat(interval=value, timeout=f"{round(5000 * seconds(value))}ms")
                return self.edit_spec(OSSPair, key, heartbeat=times)
            case "adopt":
                return self._adopt(pair)
            case "paused":
                return self.edit_spec(OSSPair, key, paused=value == "true")
            case "maintenance":
                return self.edit_spec(OSSPair, key, maintenance=(value,) if value in pair.servers else ())
        raise ValueError(f"{field}: not a field of a pair that is edited here")

    def take_back(self, kind: type[Resource], key: str, before: Model, after: Model) -> None:
        """Put back what an edit has changed in a spec; what others changed, and what a person asked for, stays."""
        fields = [name for name in type(before).model_fields if getattr(before, name) != getattr(after, name)]
        undone = {name: getattr(before, name) for name in fields if name not in ("adopt", "drill", "accept_boards")}
        self._set(kind, key, undone)  # also while the API server is down: else it would stay

    def apply(self) -> None:
        """Whatever was declared and is not there, as from Git: a backup may have brought a deletion back."""
        site = self._world.site
        for declared in (*site.devices, *site.osts, *site.pairs):
            if declared.key not in self.retired and self._world.store.find(type(declared), declared.key) is None:
                self.create_again(declared)

    def create_again(self, obj: Resource) -> None:
        """As from Git: the spec, and nothing else."""
        self._world.store.create(obj.model_copy(update={"metadata": _bare(obj.metadata)}), WHO)

    # --- the end phase

    def help(self) -> None:
        """Set right what only people can, again and again, from now on."""
        if not self.helping:
            self.helping = True
            self._round()

    def _round(self) -> None:
        world = self._world
        for pair in world.store.every(OSSPair):
            self._help_pair(pair)
        world.kernel.after(ROUND, world.kernel.net, self._round)

    def _help_pair(self, pair: OSSPair) -> None:
        if pair.status is None:
            return
        regressed = any(c.type == "EpochRegressed" and c.status == "True" for c in pair.status.conditions)
        if regressed:
            self._adopt(pair)
        self._accept_boards(pair)
        self._try_by_hand(pair)
        open_ = self._world.store.find(Failover, f"{pair.metadata.namespace}/{pair.status.active_failover}")
        if open_ is not None and open_.phase in ANSWERABLE:
            self._reply(open_)
        elif open_ is None or open_.phase == "Recovering":
            self._power_on(pair)

    def _adopt(self, pair: OSSPair) -> bool:
        """Say that all is to be adopted as it is found, at an epoch above all that anybody has seen."""
        if pair.status is None:
            return False
        reports = [oss.status for oss in self._world.store.every(OSS) if oss.name in pair.servers and oss.status]
        seen = max([pair.status.epoch, *(report.epoch_seen for report in reports)])
        return pair.spec.adopt != seen and self.edit_spec(OSSPair, pair.key, adopt=seen)

    def _accept_boards(self, pair: OSSPair) -> None:
        assert pair.status is not None
        for board in pair.status.boards:
            if self._world.hosts[board.node].board != board.system_uuid:
                self.accept_board(board.node)

    def accept_board(self, node: str) -> None:
        """Accept the board that a server has now."""
        pair = next((pair for pair in self._world.store.every(OSSPair) if node in pair.servers), None)
        if pair is not None:
            real = self._world.hosts[node].board
            others = tuple(a for a in pair.spec.accept_boards if a.node != node)
            wanted = (*others, BoardAcceptance(node=node, system_uuid=real))
            if wanted != pair.spec.accept_boards:
                self.edit_spec(OSSPair, pair.key, accept_boards=wanted)

    def _try_by_hand(self, pair: OSSPair) -> None:
        """What a refusal advises where nobody's mark is known any more: mount it by hand, and unmount it."""
        assert pair.status is not None
        for oss in self._world.store.every(OSS):
            refused = [t.target for t in oss.status.targets if t.reason == "ForeignMark"] if oss.status else []
            host = self._world.hosts.get(oss.name)
            for target in refused if host and oss.name in pair.servers and host.running else ():
                if host and not any(other.could_write(target) for other in self._world.hosts.values()):
                    _mount_and_unmount(host, target)

    def _reply(self, failover: Failover) -> None:
        """First what is offered first; when the same is asked again and again, something else."""
        assert failover.status is not None
        about = f"{failover.name} {failover.phase} "
        question = about + failover.status.evidence
        looks = self._asked[question] = self._asked.get(question, 0) + 1
        if looks == 1 or looks % PATIENCE == 0:
            times = sum(1 for asked in self._asked if asked.startswith(about))
            self.answer(self._advice(failover, times), failover)

    def _advice(self, failover: Failover, times: int) -> Answer:
        if failover.spec.type in ORDERLY:
            return "Failback" if times < 3 else "Dismiss"
        if failover.phase == "Blocked":
            dead = not self._world.hosts[failover.spec.node].boot
            choices: tuple[Answer, ...] = ("ConfirmDead", "Restart", "Dismiss") if dead else ("Restart", "Dismiss")
        else:
            choices = ("Failover", "Restart", "Dismiss")
        return choices[(times - 1) % len(choices)]

    def _power_on(self, pair: OSSPair) -> None:
        """Whoever is dark, and about whom nothing is open, is powered on by hand: every cord, and the button."""
        for server in pair.servers:
            if not self._world.hosts[server].boot:
                self._world.devices.power_by_hand(server)


def _mount_and_unmount(host: Host, target: str) -> None:
    def mounted(why: str) -> None:
        if not why:
            host.table.umount(target, lambda _: None)

    if target not in host.table.mounts:
        host.table.mount(target, f"/mnt/by-hand-{target}", mounted, by_hand=True)


def _bare(meta: ObjectMeta) -> ObjectMeta:
    return ObjectMeta(name=meta.name, namespace=meta.namespace)
