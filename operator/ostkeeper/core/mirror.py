"""What people see: conditions, the states of the servers, and `kubectl get ost`.

Everything here is derived from the pair and the reports, and nothing is decided on it. Messages carry no ages: a status is
written when something changed, not because time passes.
"""

from __future__ import annotations

from functools import lru_cache

from ostkeeper.api.common import Condition, condition_of
from ostkeeper.api.osspair import ServerState
from ostkeeper.api.ost import OSTStatus
from ostkeeper.core import budget, witness
from ostkeeper.core.adoption import REGRESSED, regressed
from ostkeeper.core.armed import armed, unread_disks, would_not_act
from ostkeeper.core.events import Effect, Tell, WriteOSSReady, WriteOST
from ostkeeper.core.stalled import UNREPORTED, missing_service, regressed_message, stalled
from ostkeeper.core.target_status import PERSONS, Said, problem_of, said_of
from ostkeeper.core.verdict import Verdict, verdict_of
from ostkeeper.core.view import Shown, View
from ostkeeper.core.writes import write_pair

HOT = ("Holding", "Fencing", "Relocating")
"""Phases in which nobody waits for a mirror, and every write counts."""


def mirror(view: View, now: float) -> list[Effect]:
    """Bring what people see up to date."""
    if view.pair is None or view.status is None:
        return []
    if _hot(view) and not regressed(view):  # a pair below what an agent has seen is not at work: it waits for a person
        return []
    verdicts = {node: verdict_of(view, node, now) for node in view.servers}
    living = tuple([node for node in view.servers if view.fresh(node, now)])
    osts = [said_of(view, ost, living) for _, ost in sorted(view.osts.items())]
    written = [(said, effect) for said in osts if (effect := _ost_effect(view, said, living, now)) is not None]
    effects: list[Effect] = [effect for _, effect in written]
    effects += [effect for node in view.servers if (effect := _oss_effect(view, node, verdicts[node], now)) is not None]
    effects += [event for said, _ in written for event in tell_target(said)]
    return effects + ([] if view.busy else _pair(view, verdicts, osts, now))


def tell_target(said: Said) -> list[Effect]:
    """An Event where a target is refused, fails, or is found mounted by somebody else."""
    ost = said.ost
    if said.state not in PERSONS or (ost.status is not None and ost.status.state == said.state):
        return []
    message = f"{said.target} is {said.state}: {said.why}"
    return [Tell("OST", ost.key, ost.metadata.uid, "Warning", PERSONS[said.state], message[:1000])]


def _hot(view: View) -> bool:
    fo = view.active
    if view.status is None or not view.status.active_failover:
        return False
    return fo is None or (fo.spec.type == "Failover" and fo.phase in ("", *HOT))


def _pair(view: View, verdicts: dict[str, Verdict], osts: list[Said], now: float) -> list[Effect]:
    assert view.pair is not None
    assert view.status is not None
    servers = tuple(_server_state(n, v.name, v.sentence) for n, v in verdicts.items())
    conditions = pair_conditions(view, verdicts, osts, now)
    if same(conditions, view.status.conditions) and _same_servers(servers, view.status.servers):
        return []
    effects = write_pair(view, "conditions", servers=servers, conditions=conditions)
    view.showing = view.busy
    return effects + _tell_armed(view, conditions)


def _tell_armed(view: View, conditions: tuple[Condition, ...]) -> list[Effect]:
    """An Event where the pair becomes armed or is no longer armed."""
    assert view.pair is not None
    assert view.status is not None
    before, after = condition_of(view.status.conditions, "Armed"), condition_of(conditions, "Armed")
    if before is None or after is None or before.status == after.status:
        return []
    kind, reason = ("Normal", "Armed") if after.status == "True" else ("Warning", "Disarmed")
    return [Tell("OSSPair", view.key, view.pair.metadata.uid, kind, reason, after.message[:1000])]


@lru_cache(maxsize=1024)
def _server_state(name: str, verdict: str, message: str) -> ServerState:
    return ServerState(name=name, verdict=verdict, message=message)


def _same_servers(new: tuple[ServerState, ...], old: tuple[ServerState, ...]) -> bool:
    return [(s.name, s.verdict, s.message) for s in new] == [(s.name, s.verdict, s.message) for s in old]


def same(new: tuple[Condition, ...], old: tuple[Condition, ...]) -> bool:
    """Whether two sets of conditions say the same, whatever their times."""
    if new == old:  # most often they are the same objects
        return True
    return {_say(c) for c in new} == {_say(c) for c in old}


def _say(c: Condition) -> tuple[object, ...]:
    return (c.type, c.status, c.reason, c.message, c.observed_generation)


def pair_conditions(view: View, verdicts: dict[str, Verdict], osts: list[Said], now: float) -> tuple[Condition, ...]:
    """Ready, Reconciling, Stalled, Armed, Degraded and EpochRegressed, kstatus-clean."""
    assert view.pair is not None
    generation = view.pair.metadata.generation
    epoch = regressed(view)
    missing = missing_service(view, osts, verdicts)
    view.unserved = {target: view.unserved.get(target, now) for target in missing}
    stuck, why_stalled = stalled(view, epoch, osts, missing, now)
    moving = _unconverged(view, osts)
    reasons = [*armed(view), *_budget(view), *would_not_act(view)]
    ill = [f"{n} is {v.name}: {v.sentence}" for n, v in verdicts.items() if v.name != "Healthy"]
    ill += [said for n in view.servers if (said := view.unreported(n))]
    unread = [f"{said}: repair its path" for said in unread_disks(view)]

    def condition(type_: str, true: bool, reason: str, message: str) -> Condition:
        return _condition(type_, true, reason, message, generation)

    ready = not stuck and not moving
    return (
        condition("Ready", ready, "Converged" if ready else stuck or "NotConverged", why_stalled or "; ".join(moving)),
        condition("Reconciling", bool(moving) and not stuck, "Moving" if moving else "Converged", "; ".join(moving)),
        condition("Stalled", bool(stuck), stuck or "Nothing", why_stalled),
        condition("Armed", not reasons, "NotArmed" if reasons else "Trusted", "; ".join(reasons) or witness.said(view)),
        condition(
            "Degraded",
            bool(ill or unread),
            "Server" if ill else "DiskUnread" if unread else "AllHealthy",
            "; ".join([*ill, *unread]),
        ),
        condition(REGRESSED, bool(epoch), "SeenHigher" if epoch else "Current", regressed_message(view, epoch)),
    )


def _budget(view: View) -> list[str]:
    """Why Automatic would ask for each server of this pair, because too many others are out already."""
    if len(view.heartbeats.out) < 2:
        return []
    return list(dict.fromkeys(why for n in view.servers if (why := budget.spent(view.heartbeats, n))))


def _unconverged(view: View, osts: list[Said]) -> list[str]:
    """What is not yet as it was declared."""
    assert view.status is not None
    said = [f"{o.target} is {o.state}" + (f": {o.why}" if o.why else "") for o in osts if not o.good]
    said += [f"{a.target} has no OST and is still assigned to {a.node}" for a in view.undeclared()]
    if view.status.active_failover:
        said.append(f"{view.status.active_failover} is open")
    return said


def _ost_effect(view: View, said: Said, living: tuple[str, ...], now: float) -> Effect | None:
    ost, assignment, state = said.ost, said.assignment, said.state
    node = assignment.node if assignment else ""
    mounted = said.mounted_on(living)
    report = said.reports.get(node)
    recovery = report.recovery if report and state == "Recovering" else ""
    epoch, generation = assignment.epoch if assignment else 0, ost.metadata.generation
    problem = problem_of(view, ost)
    wrong = (problem.reason, problem.message) if problem else ("", "")
    mounts = ",".join(mounted)
    after = _ost_status(said.target, node, mounts, state, said.why, epoch, recovery, said.good, generation, wrong)
    before = ost.status
    shown = before is after or (before is not None and _same_status(before, after))
    op = _begin(view, f"OST {ost.key}", after, now, shown=shown)
    return WriteOST(op, ost.key, ost.version, after) if op else None


@lru_cache(maxsize=4096)
def _ost_status(
    target: str,
    node: str,
    mounted_on: str,
    state: str,
    why: str,
    epoch: int,
    recovery: str,
    good: bool,
    generation: int,
    wrong: tuple[str, str] = ("", ""),
) -> OSTStatus:
    """The status that says this. Validated once, shared by all that say the same: models are frozen.

    `wrong`: reason and message of what is wrong between the OST and another object.
    """
    person = state in PERSONS
    return OSTStatus(
        observed_generation=generation,
        target=target,
        node=node,
        mounted_on=mounted_on,
        state=state,
        epoch=epoch,
        recovery=recovery,
        conditions=(
            _condition("Ready", good, state, why, generation),
            _condition("Reconciling", not good and not person, state, why, generation),
            _condition("Stalled", person or wrong[0] != "", wrong[0] or state, wrong[1] or why, generation),
        ),
    )


def _same_status(one: OSTStatus, other: OSTStatus) -> bool:
    """Whether two say the same, whatever their times."""
    return _plain(one) == _plain(other) and same(one.conditions, other.conditions)


def _plain(s: OSTStatus) -> tuple[object, ...]:
    return (s.observed_generation, s.target, s.node, s.mounted_on, s.state, s.epoch, s.recovery)


@lru_cache(maxsize=4096)
def _condition(type_: str, true: bool, reason: str, message: str, generation: int) -> Condition:
    status = "True" if true else "False"
    return Condition(type=type_, status=status, reason=reason, message=message[:4096], observed_generation=generation)


def _oss_effect(view: View, node: str, verdict: Verdict, now: float) -> Effect | None:
    oss = view.osses.get(node)
    if oss is None:
        return None
    report = view.report(node)
    unreported = view.unreported(node)
    refusal = view.board_refusal(node) or (report.refusal if report else "")
    good = verdict.name == "Healthy" and report is not None and not refusal
    reason, message = ("Refuses", refusal) if refusal else (verdict.name, verdict.sentence)
    if unreported and not refusal:
        reason, message = UNREPORTED, unreported
    after = _condition("Ready", good, reason, message, oss.metadata.generation)
    before = condition_of(oss.status.conditions, "Ready") if oss.status else None
    if oss.status is None:
        return None
    shown = before is not None and _say(before) == _say(after)
    op = _begin(view, f"OSS {node}", after, now, shown=shown)
    return WriteOSSReady(op, node, after) if op else None


def _begin(view: View, key: str, what: object, now: float, *, shown: bool) -> int:
    """One mirror write an object at a time; after a failure not at once again. 0: not now, or it shows that already."""
    under_way = view.mirrors.get(key)
    if under_way is not None:
        if under_way.what != what:
            view.stay_awake()  # its answer would be no news, and what it shows is out of date by then
        return 0
    if shown:
        return 0
    retry = view.mirror_retry.get(key, 0.0)
    if now < retry:
        view.wake_by(retry)
        return 0
    view.mirrors[key] = Shown(view.next_op(), what)
    return view.mirrors[key].op
