"""The verdict's full expansion: a real View for each combination of the witnesses, and what the real plan does about it.

Here: how a View is brought to show a combination, which combinations there are, what was decided. Not here: how the file
looks and what has to hold for all of it (`test_verdict_expansion`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

from core.pairs import at_rest
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS, DiskReport, OSSStatus, PeerReport, TargetReport
from ostkeeper.api.osspair import Fenced, Mode, OSSPair
from ostkeeper.core import opening, orderly
from ostkeeper.core import plan as planning
from ostkeeper.core.acts import Act
from ostkeeper.core.events import Beat, CreateFailover, Effect, NodeState, WriteFailover, WritePair
from ostkeeper.core.heartbeats import Heartbeats, Pulse, Server
from ostkeeper.core.verdict import Life, Verdict, verdict_of
from ostkeeper.core.view import View

EffectT = TypeVar("EffectT")

NODE, PARTNER = "oss1", "oss2"
MINE, THEIRS = "scratch-OST0000", "scratch-OST0001"
F: Life = Life.FRESH
L: Life = Life.LATE
S: Life = Life.STALE
U: Life = Life.UNKNOWN
MODES: tuple[Mode, ...] = ("Observe", "Manual", "Automatic")


@dataclass(frozen=True, slots=True)
class Case:
    """One combination of what is seen of a server. All else is as at rest: armed, drilled, its partner well."""

    section: str
    boot: str
    """up; booting: not seen since power-on; fenced: certified dead, and no later boot was seen."""
    heartbeat: Life
    node: Life
    disk: Life
    network: Life
    lustre: Life

    @property
    def witnesses(self) -> tuple[Life, Life, Life, Life, Life]:
        """In the order of the columns."""
        return (self.heartbeat, self.node, self.disk, self.network, self.lustre)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who decides, and what stands against it."""

    mode: Mode
    fuse_open: bool
    maintenance: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A combination, its verdict, and what the pair does about it under each policy."""

    case: Case
    verdict: Verdict
    acts: tuple[Act, ...]
    """In the order of POLICIES."""


POLICIES: tuple[Policy, ...] = tuple(Policy(m, f, i) for m, i, f in product(MODES, (False, True), (False, True)))
ANY: tuple[Life, ...] = (F, S, U)
BEATS: tuple[Life, ...] = (F, L, S, U)
ALL: tuple[tuple[str, tuple[str, ...], tuple[tuple[Life, ...], ...]], ...] = (
    ("it holds a target, its partner is well", ("up", "booting"), (BEATS, ANY, ANY, ANY, ANY)),
    ("its heartbeat has been stale for 12 s only", ("up",), ((S,), ANY, ANY, ANY, ANY)),
    ("both servers report errors", ("up",), (BEATS, ANY, ANY, ANY, (S,))),
    ("its partner is silent, too: nobody sees its disks and its network", ("up",), (BEATS, ANY, (U,), (U,), ANY)),
    ("it holds no target: no disk of its own to be seen", ("up", "fenced"), (BEATS, ANY, (S,), ANY, ANY)),
)
"""By section: what is different in it, the states of the boot, the states of each witness."""
WELL, YOUNG, BOTH, ALONE, IDLE = (section for section, _, _ in ALL)


def cases() -> Iterator[Case]:
    """All combinations, in the order of the file."""
    for section, boots, states in ALL:
        for boot, witnesses in product(boots, product(*states)):
            yield Case(section, boot, *witnesses)


def template() -> View:
    """What the machine knows of a pair at rest."""
    world = at_rest()
    assert world.operator is not None
    return world.operator.machine.view


@dataclass(frozen=True, slots=True)
class Stage:
    """A pair at rest, and the moment at which everything is looked at."""

    rest: View
    now: float

    def view(self, case: Case, policy: Policy) -> View:
        """The pair at rest as it looks when this is seen of one server."""
        osses = {NODE: self._reported(case), PARTNER: self._seen_by_partner(case)}
        view = replace(
            self.rest,
            heartbeats=self._heartbeats(case, policy, osses),
            pair=self._pair(case, policy),
            osses=osses,
            nodes={NODE: NodeState(NODE, "Unknown" if case.node is S else "True", "7"), PARTNER: self._node(PARTNER)},
            node_moved={NODE: self.now - 1.0} if case.node is F else {},
            powered_on={NODE: self.now - 30.0} if case.boot == "booting" else {},
            suspicions={},
            well_since=dict(self.rest.well_since),
            mirrors={},
        )
        if case.node is U:
            del view.nodes[NODE]
        if case.section == IDLE:
            view.osts = {name: o for name, o in view.osts.items() if o.target != MINE}
        planning.watch(view, self.now)
        ripen(view)
        return view

    def _node(self, name: str) -> NodeState:
        return NodeState(name, "True", "7")

    def _heartbeats(self, case: Case, policy: Policy, osses: dict[str, OSS]) -> Heartbeats:
        now = self.now
        age = {F: 0.5, L: 5.0, S: 12.0 if case.section == YOUNG else 60.0, U: 5.0}[case.heartbeat]
        newest = "999999999" if case.lustre is U else osses[NODE].version
        mine = Pulse(Beat(NODE, f"{NODE}-boot1", "9", newest, ()), now - age, case.heartbeat is not U)
        silent = case.section == ALONE
        theirs = Pulse(Beat(PARTNER, f"{PARTNER}-boot1", "9", osses[PARTNER].version, ()), now - 0.5, True)
        theirs.changed_at, theirs.recent = (now - 60.0, ()) if silent else (now - 0.5, (now - 2.5, now - 0.5))
        members = dict(self.rest.heartbeats.servers)
        if policy.fuse_open:
            members |= {f"other{i}": Server(2.0, ("filesystem/scratch",)) for i in range(3)}
        pulses = {NODE: mine, PARTNER: theirs}
        return Heartbeats(started=now - 90.0, horizon=now - 0.1, pulses=pulses, servers=members)

    def _pair(self, case: Case, policy: Policy) -> OSSPair:
        pair = self.rest.pair
        assert pair is not None
        assert pair.status is not None
        failover = pair.spec.failover.model_copy(update={"mode": policy.mode})
        maintenance = (NODE,) if policy.maintenance else ()
        held = tuple(a for a in pair.status.assignments if a.node != NODE or case.section != IDLE)
        dead = (Fenced(node=NODE, failover="pair-a-40", boot_id=f"{NODE}-boot1"),) if case.boot == "fenced" else ()
        return pair.model_copy(
            update={
                "spec": pair.spec.model_copy(update={"failover": failover, "maintenance": maintenance}),
                "status": pair.status.model_copy(update={"assignments": held, "fenced": dead}),
            }
        )

    def _status(self, node: str) -> OSSStatus:
        status = self.rest.osses[node].status
        assert status is not None
        return status

    def _targets(self, node: str, *, errors: bool) -> tuple[TargetReport, ...]:
        mounted = MINE if node == NODE else THEIRS
        return tuple(
            t.model_copy(update={"errors": errors}) if t.target == mounted else t for t in self._status(node).targets
        )

    def _reported(self, case: Case) -> OSS:
        """The server's own report."""
        status = self._status(NODE).model_copy(update={"targets": self._targets(NODE, errors=case.lustre is S)})
        return self.rest.osses[NODE].model_copy(update={"status": status})

    def _seen_by_partner(self, case: Case) -> OSS:
        """The partner's report: what it sees of the server's disk and network."""
        status = self._status(PARTNER)
        disk = DiskReport(target=MINE, state={F: "Advancing", S: "Still"}.get(case.disk, "Unknown"))
        peer = PeerReport(
            state={F: "Answering", S: "Silent"}.get(case.network, "Unknown"), boot_id=self.rest.boot(NODE)
        )
        update = {
            "disks": tuple(disk if d.target == MINE else d for d in status.disks),
            "peer": peer,
            "targets": self._targets(PARTNER, errors=case.section == BOTH),
        }
        return self.rest.osses[PARTNER].model_copy(update={"status": status.model_copy(update=update)})


def ripen(view: View) -> None:
    """What has to have lasted for a while before it counts has done so."""
    view.ailing = dict.fromkeys(view.ailing, -1e6)
    view.unread = dict.fromkeys(view.unread, -1e6)


def row_of(stage: Stage, case: Case) -> Row:
    """Verdict and acts of one combination."""
    acts, verdicts = [], []
    for policy in POLICIES:
        view = stage.view(case, policy)
        verdicts.append(verdict_of(view, NODE, stage.now))
        acts.append(act_of(view, verdicts[-1], stage.now))
    assert all(v == verdicts[0] for v in verdicts), f"{case}: a policy changed the verdict"
    return Row(case, verdicts[0], tuple(acts))


def act_of(view: View, verdict: Verdict, now: float) -> Act:
    """What the plan of an idle pair does: the slot, the object, its first phase, each from the functions that decide it."""
    effects = opening.decide(view, now) or orderly.open_move(view, now)
    if not effects:
        return nothing_done(verdict)
    view.pair = _stored(view, _only(effects, WritePair))
    created = _only(planning.create(view, now), CreateFailover).failover
    view.failovers, view.busy = {created.name: created}, 0
    return begun(created, _only(planning.first_phase(view, created, now), WriteFailover))


def _stored(view: View, write: WritePair) -> OSSPair:
    assert view.pair is not None
    view.busy = 0
    return view.pair.model_copy(update={"status": write.status})


def _only(effects: list[Effect], kind: type[EffectT]) -> EffectT:
    found = [e for e in effects if isinstance(e, kind)]
    assert len(found) == 1, effects
    return found[0]


def nothing_done(verdict: Verdict) -> Act:
    """What a pair that begins nothing does: it waits, or says what it sees."""
    quiet = (Act.NOTHING, Act.WAIT, Act.TELL)
    return verdict.act if verdict.act in quiet else Act.TELL


def begun(failover: Failover, write: WriteFailover) -> Act:
    """What the first phase of a Failover about the server means."""
    assert failover.spec.node == NODE
    fences = failover.spec.type == "Failover"
    return {
        "Observed": Act.TELL,
        "AwaitingApproval": Act.ASK_FENCE if fences else Act.ASK_MOVE,
        "Holding": Act.FENCE,
        "Relocating": Act.MOVE,
    }[write.status.phase]
