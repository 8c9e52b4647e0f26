"""What is made of one server: at most fifteen ordered rules, first match wins, each with its sentence.

The witnesses are turned into fresh, late, stale or unknown first; a rule sees nothing else. UNKNOWN is never a death:
only the last rule says Failed, and every witness has to agree before it is reached.
Not here: what is done about it (`acts`, `plan`), when a lease is stale (`heartbeats`), what a server suffers from (`ailing`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Evidence, Witness
from ostkeeper.api.oss import OSSStatus
from ostkeeper.api.osspair import Assignment
from ostkeeper.core import ailing
from ostkeeper.core.acts import ASKS_FOR, Act
from ostkeeper.core.digest import digest
from ostkeeper.core.view import View

DISK_LAG = 15.0
"""Seconds for which a disk may read Advancing after its writer's death: twice MMP's update interval of 5 s, and a report."""


UPTIME_GRAIN = 1.0
"""Uptimes are told in whole seconds: a boot may have begun so much earlier than they say."""


class Life(enum.StrEnum):
    """What one witness says: seen just now, overdue, not seen for the time-out, or it cannot say."""

    FRESH = "Fresh"
    LATE = "Late"
    STALE = "Stale"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Witnesses:
    """All that the rules look at."""

    heartbeat: Life
    node: Life
    disk: Life
    network: Life
    lustre: Life = Life.FRESH
    """Whether it can serve its targets, as its own agent and its Node said last. Stale: it cannot (`ailing`)."""
    shared: bool = False
    """Its partner sees faults of the same disks, or has the same troubles with its own."""
    partner: Life = Life.FRESH
    """The partner's heartbeat. Fresh: renewed since the server's first missed renewal, or the server missed none."""
    fenced: bool = False
    """Certified dead, and no later boot was seen."""
    absent: bool = False
    """Not seen since power-on, and that was less than bootTimeout ago."""
    holds: bool = True
    """It holds targets."""
    lasting: bool = True
    """Its heartbeat has been stale for so long that whatever it did while it still lived is seen to have ended by now: its
    last write, its last answer on the network, its kubelet's last word."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is made of one server, and why."""

    name: str
    sentence: str
    witnesses: Witnesses
    rule: str
    """Name of the rule that matched."""

    @property
    def act(self) -> Act:
        """What it asks for."""
        return ASKS_FOR[self.name]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `sentence` is for the on-call engineer; what stands in braces is filled in (`judge`)."""

    name: str
    verdict: str
    when: Callable[[Witnesses], bool]
    sentence: str


F, L, S, U = Life.FRESH, Life.LATE, Life.STALE, Life.UNKNOWN
RULES: tuple[Rule, ...] = (
    Rule("fenced", "Fenced", lambda w: w.fenced, "{node} was fenced and {since}"),
    Rule(
        "shared-fault",
        "SharedFault",
        lambda w: w.heartbeat is F and w.lustre is S and w.shared,
        "{node} and {partner} both see faults of their disks ({trouble}): moving targets would help nobody",
    ),
    Rule(
        "sick",
        "Sick",
        lambda w: w.heartbeat is F and w.lustre is S,
        "{node} lives and cannot serve: {trouble}",
    ),
    Rule("kubelet", "Degraded", lambda w: w.heartbeat is F and w.node is S, "{node} serves, but its kubelet is silent"),
    Rule("healthy", "Healthy", lambda w: w.heartbeat is F, "{node} renews its heartbeat"),
    Rule("absent", "Absent", lambda w: w.absent, "{node} has not been seen since power-on and may still be booting"),
    Rule("late", "Suspect", lambda w: w.heartbeat is L, "{node}: a heartbeat is overdue"),
    Rule(
        "unwatched",
        "Suspect",
        lambda w: w.heartbeat is U,
        "{node} has not been watched for long enough to say anything",
    ),
    Rule(
        "serving",
        "Degraded",
        lambda w: w.disk is F and (w.node is F or w.network is F) and w.lasting,
        "{node}: its agent is silent, its targets are being written: shooting it would be the outage",
    ),
    Rule(
        "isolated",
        "Isolated",
        lambda w: w.disk is F and w.lasting,
        "{node} still writes to its disks, and nobody reaches it: a person decides",
    ),
    Rule(
        "agent-gone",
        "Sick",
        lambda w: w.disk is S and w.holds and (w.node is F or w.network is F) and w.lasting,
        "{node} lives, but neither its agent nor its targets move",
    ),
    Rule(
        "alone",
        "Suspect",
        lambda w: w.partner is not F,
        "{node} is silent, and {partner} was not seen alive since: whoever is cut off from all says nothing",
    ),
    Rule("idle", "Silent", lambda w: not w.holds, "{node} is silent and holds no target: nothing is to be moved"),
    Rule(
        "blind",
        "Suspect",
        lambda w: w.disk is not S or w.network is not S or w.node is F,
        "{node} is silent, and {doubt}",
    ),
    Rule(
        "failed",
        "Failed",
        lambda w: True,
        "no witness sees {node} any more; {partner} is fresh and reads every disk{but}",
    ),
)


@lru_cache(maxsize=1024)
def judge(
    witnesses: Witnesses,
    node: str = "it",
    partner: str = "its partner",
    trouble: str = "its targets report errors",
    unread: str = "",
) -> Verdict:
    """The first rule that matches. The last one matches always. `trouble` says what the Lustre witness is stale for, `unread`
    which disks of the server its partner cannot read."""
    rule = next(rule for rule in RULES if rule.when(witnesses))
    names = {
        "node": node,
        "partner": partner,
        "trouble": trouble,
        "but": f" but {unread}" if unread else "",
        **_remarks(witnesses, partner),
    }
    return Verdict(rule.verdict, rule.sentence.format(**names), witnesses, rule.name)


def _remarks(w: Witnesses, partner: str) -> dict[str, str]:
    """What a sentence says besides, as it was seen."""
    seen = "the boot that was certified dead renews its heartbeat: one of its feeds has lied, cut its power by hand"
    doubt = f"{partner} cannot say yet whether it still {'writes' if w.disk is not S else 'answers on the network'}"
    if w.disk is S and w.network is not U:
        doubt = f"{'its kubelet' if w.node is F else partner} saw it alive a moment ago: what died says so until that is over"
    return {"since": seen if w.heartbeat in (F, L) else "has not been seen in a later boot", "doubt": doubt}


def witnesses_of(view: View, node: str, partner: str, trouble: str, now: float) -> Witnesses:
    """Turn what was seen of a server into fresh, late, stale and unknown. `trouble` says what it suffers from."""
    held = view.held_by(node)
    lives, partner_lives = view.fresh(node, now), view.fresh(partner, now)
    pulse = view.heartbeats.pulses.get(node)
    missed = (pulse.changed_at if pulse else view.heartbeats.started) + view.interval()
    return Witnesses(
        heartbeat=F if lives else _missed(view, node),
        node=_node(view, node, lives or view.node_moved.get(node, -1.0) > missed),
        disk=_disk(view, held, partner if partner_lives else ""),
        network=_network(view.report(partner) if partner_lives else None, view.boot(node)),
        lustre=S if trouble else U if view.report(node) is None else F,
        shared=bool(trouble) and ailing.shared(view, node, partner, now),
        partner=_partner(partner_lives, lives or view.heartbeats.renewed_since(partner, missed)),
        fenced=certified_dead(view, node) and _nothing_to_move(view, held, partner),
        absent=not lives and _absent(view, node, partner, now),
        holds=bool(held),
        lasting=view.heartbeats.stale_for(node) >= view.timeout() + DISK_LAG,
    )


def verdict_of(view: View, node: str, now: float) -> Verdict:
    """What is made of one server of the pair, now. Many ask in one step."""
    return view.once(f"verdict on {node}", lambda seen, at: _verdict(seen, node, at), now)


def _verdict(view: View, node: str, now: float) -> Verdict:
    assert view.pair is not None
    partner, trouble = view.pair.partner_of(node), "; ".join(ailing.troubles(view, node, now))
    unread = ", ".join(a.target for a in view.held_by(node) if view.unreadable(partner, a.target))
    return judge(witnesses_of(view, node, partner, trouble, now), node, partner, trouble, unread)


def _partner(lives: bool, since: bool) -> Life:
    """Heartbeat of the partner. `since`: renewed since the server missed its own, or the server missed none."""
    if not lives:
        return S
    return F if since else L


def _missed(view: View, node: str) -> Life:
    """A heartbeat that is not fresh."""
    pulse = view.heartbeats.pulses.get(node)
    if view.heartbeats.stale_for(node) >= view.timeout():
        return S
    return L if pulse and pulse.moved else U


def _node(view: View, node: str, moves: bool) -> Life:
    """While the lease is silent, only movement since then counts; else what the node controller says."""
    state = view.nodes.get(node)
    if state is None:
        return U
    if state.ready != "True":
        return S
    return F if moves else U


def _disk(view: View, held: tuple[Assignment, ...], partner: str) -> Life:
    """What the living partner reads of the disks that the server holds; `partner`: empty where it does not live.

    A disk that the partner cannot read says nothing. Stale takes one disk in service that it reads, and none that may yet
    turn out to be written.
    """
    disks, targets = view.disks(partner), tuple([a.target for a in held])
    if any(disks[t].state == "Advancing" for t in targets if t in disks):
        return F
    read = [t for t in view.in_service(targets) if not view.unreadable(partner, t)]
    states = {disks[t].state if t in disks else "Unknown" for t in read}
    return S if states <= {"Still", "Clean"} and (read or not held) else U


def _network(report: OSSStatus | None, boot: str) -> Life:
    """What the living partner reports. Silence says something only after an answer of this boot: the port may be filtered."""
    if report is None or report.peer.state == "Unknown":
        return U
    if report.peer.state == "Answering":
        return F
    return S if report.peer.boot_id and boot in ("", report.peer.boot_id) else U


def _nothing_to_move(view: View, held: tuple[Assignment, ...], partner: str) -> bool:
    """Whether nothing of a server that is certified dead could move now: it holds nothing, or only what its partner cannot read.

    After a Restart (its targets are its own again) it is judged by what is seen.
    """
    targets = tuple([a.target for a in held])
    if any(a.intent != "Hold" for a in held):
        return False
    disks = view.disks(partner)
    return not any(t in disks and disks[t].state not in ("Unreadable", "Unknown") for t in view.in_service(targets))


def certified_dead(view: View, node: str) -> bool:
    """Whether the server was certified dead, and no later boot of it was seen."""
    status, boot = view.status, view.boot(node)
    entry = next((f for f in status.fenced if f.node == node), None) if status else None
    if entry is None:
        return False
    pulse = view.heartbeats.pulses.get(node)
    moved = pulse is not None and pulse.moved
    return boot == entry.boot_id if entry.boot_id else not moved


def _absent(view: View, node: str, partner: str, now: float) -> bool:
    """Not seen since power-on: ours, or its partner's own a short while ago (the whole site may have been dark)."""
    assert view.pair is not None
    limit = seconds(view.pair.spec.failover.boot_timeout)
    pulse = view.heartbeats.pulses.get(node)
    if node in view.powered_on and now - view.powered_on[node] < limit:
        view.wake_by(view.powered_on[node] + limit)
        return pulse is None or pulse.changed_at < view.powered_on[node] or not pulse.moved
    moved = pulse is not None and pulse.moved
    report, seen = view.report(partner), view.uptime_seen.get(partner)
    if report is None or seen is None:
        return not moved and _within(view, view.led_at + limit, now)
    booted = seen[1] - report.uptime_seconds - UPTIME_GRAIN
    if pulse is not None and moved and pulse.changed_at > booted:
        return False
    return _within(view, booted + limit, now)


def _within(view: View, end: float, now: float) -> bool:
    """Whether a moment is still to come; when it has come, the verdict may be another."""
    if now < end:
        view.wake_by(end)
    return now < end


def describe(view: View, verdict: Verdict, node: str, now: float) -> tuple[Witness, ...]:
    """The witnesses with their ages, for the object that a person reads."""
    w = verdict.witnesses
    unseen = view.heartbeats.unseen_for(node, now)
    return (
        Witness(name="heartbeat", state=w.heartbeat.value, detail=f"unchanged for {unseen:.1f}s"),
        Witness(name="node", state=w.node.value, detail=_node_detail(view, node)),
        Witness(name="disk", state=w.disk.value, detail=_disk_detail(view, node)),
        Witness(name="network", state=w.network.value, detail=_network_detail(view, node)),
        Witness(name="Lustre", state=w.lustre.value, detail=_lustre_detail(view, node, now)),
        Witness(name="partner", state=w.partner.value, detail=_partner_detail(w.partner)),
    )


def _node_detail(view: View, node: str) -> str:
    state = view.nodes.get(node)
    return f"Ready is {state.ready}" if state else "there is no Node of that name"


def _partner_detail(state: Life) -> str:
    """What the partner's heartbeat was compared with."""
    return "not renewed yet since the server missed its own" if state is L else "its heartbeat"


def _network_detail(view: View, node: str) -> str:
    assert view.pair is not None
    partner, boot = view.pair.partner_of(node), view.boot(node)
    report = view.report(partner)
    if report is not None and boot and report.peer.boot_id != boot:
        return f"{partner} has had no answer on TCP 7845 in boot {boot}: open that port between the servers"
    return f"as the agent of {partner} sees it"


def _disk_detail(view: View, node: str) -> str:
    assert view.pair is not None
    partner = view.pair.partner_of(node)
    disks = view.disks(partner)

    def state(target: str) -> str:
        if view.unreadable(partner, target):
            return "Unreadable"
        return disks[target].state if target in disks else "Unknown"

    return ", ".join(f"{a.target} {state(a.target)}" for a in view.held_by(node))


def _lustre_detail(view: View, node: str, now: float) -> str:
    return "; ".join(ailing.troubles(view, node, now)) or "as its own agent reported last"


def evidence_of(view: View, verdict: Verdict, node: str, now: float) -> Evidence:
    """All readings on which a Failover is opened."""
    assert view.pair is not None
    return Evidence(
        verdict=verdict.name,
        sentence=verdict.sentence,
        boot_id=view.boot(node),
        partner_boot_id=view.boot(view.pair.partner_of(node)),
        witnesses=describe(view, verdict, node, now),
    )


def evidence_digest(evidence: Evidence, asked: int) -> str:
    """What an answer is bound to: verdict, boot IDs, witness states and the asking number, but no ages."""
    states = {w.name: w.state for w in evidence.witnesses if w.name != "partner"}
    return digest([evidence.verdict, evidence.boot_id, evidence.partner_boot_id, asked, states])[:16]
