"""First placement, and the way back from EpochRegressed: the only grants that no release and no certificate warrants.

Both agents have answered a nonce of this pair with no child alive; a person's word stands in for a dead one. Mounted
somewhere: assigned there; nowhere: home. Not here: anything that moves a target that was assigned before.
"""

from __future__ import annotations

from ostkeeper.api.common import Condition
from ostkeeper.api.oss import MOST_TARGETS
from ostkeeper.api.osspair import AdoptedWarrant, Assignment, Board, Warrant
from ostkeeper.api.ost import OST
from ostkeeper.core.able import answered, held_by_failover
from ostkeeper.core.events import Effect
from ostkeeper.core.failover import closed_nonce
from ostkeeper.core.fencing import ask, ask_term
from ostkeeper.core.view import View
from ostkeeper.core.writes import write_pair

REGRESSED = "EpochRegressed"
"""The condition, and the reason of others, while the API is below an epoch that an agent has seen."""
ADOPT_RETRY = 10.0
"""Seconds until the agents are asked again about targets that cannot be placed: mounted twice, or a child may write."""


def regressed(view: View) -> int:
    """The highest epoch that an agent of the pair has seen, if it is above the API's; else 0."""
    epoch = highest = view.status.epoch if view.status else 0
    for node in view.servers:
        oss = view.osses.get(node)
        if oss is not None and oss.status is not None and oss.status.epoch_seen > highest:
            highest = oss.status.epoch_seen
    return highest if highest > epoch else 0


def word_given(view: View) -> bool:
    """Whether a person answered with `spec.adopt`: an epoch not below any seen, and not carried out yet."""
    assert view.pair is not None
    assert view.status is not None
    adopt = view.pair.spec.adopt
    return adopt is not None and adopt > view.status.adopted and adopt >= max(view.status.epoch, regressed(view))


def adopt(view: View, now: float) -> list[Effect]:
    """Assign what was never assigned; after `spec.adopt` everything is assigned as it is found."""
    assert view.pair is not None
    assert view.status is not None
    word = word_given(view)
    if not word and (regressed(view) or held_by_failover(view)):
        return []
    wanted = _unassigned(view, everything=word)
    if not wanted and not word:
        return []
    living = [n for n in view.servers if view.fresh(n, now)]
    if (not word and len(living) < 2) or not living:
        view.wake_by(now + 1.0)
        return []
    nonce = view.status.nonce
    asked = nonce is not None and nonce.value.startswith(f"{view.term}-") and nonce.open
    if not asked and now < view.adopt_at:
        view.wake_by(view.adopt_at)
        return []
    if not asked:
        return ask(view, None, -1) if nonce is None or nonce.value.startswith(f"{view.term}-") else ask_term(view, now)
    assert nonce is not None
    if not all(answers(view, n, nonce.value) for n in living):
        view.wake_by(now + 1.0)
        return []
    effects = _assign(view, wanted, living, nonce.value, word=word)
    if not effects:
        view.adopt_at = now + ADOPT_RETRY
    return effects


def _unassigned(view: View, *, everything: bool) -> list[OST]:
    assert view.status is not None
    blocked = view.blocked_targets().union(beyond_limit(view))
    found = []
    for _, ost in sorted(view.osts.items()):
        if ost.target in blocked or ost.metadata.deletion_timestamp or ost.key in view.newcomers():
            continue
        if everything or view.status.assignment(ost.target) is None:
            found.append(ost)
    return found


def beyond_limit(view: View) -> tuple[str, ...]:
    """Targets that are assigned to nobody, and for which the pair has no room."""
    if view.status is None or len(view.osts) <= MOST_TARGETS - len(view.status.assignments):
        return ()
    assigned, blocked = {a.target for a in view.status.assignments}, view.blocked_targets()
    waiting = {ost.target for ost in view.osts.values()} - assigned - blocked
    return tuple(sorted(waiting)[MOST_TARGETS - len(assigned) :])


def answers(view: View, node: str, value: str) -> bool:
    """Whether the server has answered exactly this nonce."""
    oss = view.osses.get(node)
    nonce = oss.status.nonce if oss and oss.status else None
    return answered(view, node) and nonce is not None and nonce.value == value


def _assign(view: View, osts: list[OST], living: list[str], value: str, *, word: bool) -> list[Effect]:
    """One write for all whose place is known; a target with a living child, or mounted twice, is left out.

    Upon a person's word nothing is placed while it would leave behind an assignment of which nobody knows whether it is so:
    a server that has seen no higher epoch might mount upon that, while whoever really has it is at it.
    """
    assert view.pair is not None
    assert view.status is not None
    epoch = max(view.status.epoch, regressed(view), view.pair.spec.adopt or 0 if word else 0) + 1
    assignments = {a.target: a for a in view.status.assignments}
    placed = []
    for ost in osts:
        node, old = _place(view, ost, living), assignments.get(ost.target)
        if node is None and word and old is not None:
            return []
        if node is None:
            continue
        serve = ost.spec.desired == "Mounted"
        assignments[ost.target] = Assignment(
            target=ost.target,
            node=node,
            intent="Serve" if serve or _mounted(view, node, ost.target) else "Release",
            epoch=epoch,
            warrant=Warrant(adopted=AdoptedWarrant(nonce=value)) if old is None or old.node != node else old.warrant,
        )
        placed.append(f"{ost.target} at {node}")
    if not placed:
        return []
    update: dict[str, object] = {}
    if word:
        mended = tuple([_mended(c) for c in view.status.conditions])
        update = {"adopted": view.pair.spec.adopt, "active_failover": "", "conditions": mended}
    return write_pair(
        view,
        f"adopt {', '.join(placed)}",
        epoch=epoch,
        assignments=tuple(assignments.values()),
        nonce=closed_nonce(view),
        **update,
    )


def _mended(condition: Condition) -> Condition:
    """As it reads once a person's word was carried out: not only when the mirror comes round, which waits for a failover.

    Whoever still read EpochRegressed then would give their word once more, and so end the failover that has begun since.
    """
    if condition.type == REGRESSED:
        return condition.model_copy(update={"status": "False", "reason": "Current", "message": ""})
    if condition.reason == REGRESSED:
        stalled = "False" if condition.type == "Stalled" else condition.status
        return condition.model_copy(update={"status": stalled, "reason": "Adopted", "message": ""})
    return condition


def _mounted(view: View, node: str, target: str) -> bool:
    oss = view.osses.get(node)
    nonce = oss.status.nonce if oss and oss.status else None
    return nonce is not None and target in nonce.mounted


def _place(view: View, ost: OST, living: list[str]) -> str | None:
    """Where a target is mounted, else where it was assigned, else where it is wanted; None while anything could write to it.

    A silent server keeps what it was assigned: nobody has asked it, and only its death moves that elsewhere.
    """
    assert view.status is not None
    old = view.status.assignment(ost.target)
    for node in living:
        oss = view.osses[node]
        if oss.status and oss.status.nonce and ost.target in oss.status.nonce.children:
            return None
    mounted = [n for n in living if _mounted(view, n, ost.target)]
    if len(mounted) > 1:
        return None
    if mounted:
        return mounted[0]
    if old is not None and old.node in view.servers:
        return old.node
    if ost.spec.home_node not in view.servers:
        return None
    place = view.wanted_at(ost)
    return None if place in living and _written(view, living, ost.target) else place


def _written(view: View, living: list[str], target: str) -> bool:
    """Whether a living server sees its disk being written: somebody has it mounted who has not said so."""
    answers = [oss.status.nonce for n in living if (oss := view.osses.get(n)) and oss.status]
    return any(d.target == target and d.state == "Advancing" for a in answers if a for d in a.disks)


def boards(view: View) -> tuple[Board, ...] | None:
    """The pinned machines, with what is new: first sight, or a person's acceptance. None: nothing changes."""
    assert view.pair is not None
    status = view.status
    pinned = {b.node: b.system_uuid for b in status.boards} if status else {}
    accepted = {a.node: a.system_uuid for a in view.pair.spec.accept_boards}
    after = {}
    for node in view.servers:
        oss = view.osses.get(node)
        seen = oss.status.system_uuid if oss and oss.status else ""
        uuid = seen if seen and accepted.get(node) == seen else pinned.get(node) or seen
        if uuid:
            after[node] = uuid
    if after == {n: u for n, u in pinned.items() if n in view.servers}:
        return None
    return tuple(Board(node=n, system_uuid=u) for n, u in sorted(after.items()))
