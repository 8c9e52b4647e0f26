"""One target's next step: mount, adopt, unmount, release, or nothing.

Here: the gates that a mount and a release pass, in order. Not here: the rules that they ask (`permission`), what the
answers change (`host`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ostkeeper.api.osspair import Assignment
from ostkeeper.core import hostevents as ev
from ostkeeper.core import permission
from ostkeeper.core.hoststate import Host, Target, Wish

REREAD_AFTER = 2.0
"""Seconds for which a consistent read is worth something: a mount that is held up longer reads again."""
SETTLED = 2
"""Moves of the own MMP block after which its mark is read back: by then the kernel's MMP thread has written it."""
_LAGGING = ("PartnerHasIt", "ForeignMark")
"""Refusals that rest on other objects than the pair, which the watches may show a moment later than the pair."""


@dataclass(slots=True)
class Turn:
    """One pass over all targets: what it asks for."""

    host: Host
    now: float
    next_op: Callable[[], int]
    effects: list[ev.HostEffect] = field(default_factory=list)
    records: dict[str, ev.Mounted | None] = field(default_factory=dict)
    """Mount records to be made durable; None forgets one."""
    wake_at: float = math.inf

    def wake(self, at: float) -> None:
        """Look again at that second at the latest."""
        self.wake_at = min(self.wake_at, at)


def plan(turn: Turn, target: Target) -> None:
    """Whatever is next for one target."""
    host, now = turn.host, turn.now
    grant = host.assignment(target.name)
    if grant and grant.epoch != target.granted:
        target.granted, target.failures, target.failed, target.retry_at = grant.epoch, 0, None, -math.inf
        target.cleared = target.cleared and bool(target.mounts)
    _read_back(turn, target)
    _note_released(turn, target, grant)
    if grant is None or grant.node != host.server.node or permission.refuses_everything(host):
        target.wish = target.refused = None
    elif target.busy or now < target.retry_at:
        turn.wake(math.inf if target.busy else target.retry_at)
    elif grant.intent == "Serve":
        _serve(turn, target, grant)
    elif grant.intent == "Release":
        _release(turn, target, grant)
    else:
        target.wish = target.refused = None
    _put_back(turn, target)


def _put_back(turn: Turn, target: Target) -> None:
    """A mount that did not come about leaves no record: what is mounted by hand later is not ours, nor is its mark."""
    if target.displaced is None or target.wish or target.busy:
        return
    if target.mounts or turn.host.records.get(target.name) == target.displaced[0]:
        target.displaced = None
    else:
        turn.records[target.name] = target.displaced[0]


def _read_back(turn: Turn, target: Target) -> None:
    """Record the mark of a mount of ours, once the kernel's MMP thread has surely written it."""
    record, reading = turn.host.record(target.name), target.reading
    if record is None or record.mark or not target.mounts or target.busy or reading is None or not reading.ok:
        return
    written = reading.ordinary and reading.began > target.mounted_at and reading.moves >= target.moves_then + SETTLED
    if written and reading.uuid == record.disk:
        turn.records[target.name] = replace(record, mark=reading.mark)


def _note_released(turn: Turn, target: Target, grant: Assignment | None) -> None:
    """Report a release once the store has forgotten the mount, and as long as it is what the pair asks for."""
    if target.released and target.name in turn.host.records and permission.epoch_regressed(turn.host):
        target.released = None  # it was mounted again since, and a restored etcd may ask for the old epoch
    if target.releasing is None:
        return
    if grant is None or (grant.node, grant.intent) != (turn.host.server.node, "Release"):
        target.releasing = None
    elif target.name in turn.host.records:
        turn.records[target.name] = None
    else:
        target.released, target.releasing = target.releasing, None


def _serve(turn: Turn, target: Target, grant: Assignment) -> None:
    """Mount it if every rule allows it and it is not mounted."""
    host, now = turn.host, turn.now
    if target.mounts:
        target.wish = target.refused = None
        _adopt(turn, target, grant)
        return
    if permission.ordered(host, target) is None or not target.inspected:
        target.wish = target.refused = None
        return
    refusal = permission.refuses_mount(host, target, grant, now)
    if refusal and refusal[0] in _LAGGING and target.looked != grant.epoch:
        if _read_wish(turn, target, grant).read_began == -math.inf:
            return
        target.looked = grant.epoch
    clearing = permission.clearing(host, target, grant, now)
    soon = refusal is None and not clearing.clear and clearing.wait_until > 0
    if soon:
        refusal = (permission.WAIT, f"{target.name}: before MMP is cleared: {clearing.why}")
        _await_stillness(turn, target, clearing.wait_until)
    target.refused = refusal
    if refusal and not soon:
        target.wish = None
        return
    prepared = _prepared(turn, target, grant)  # while the block is still watched, too: every mount waits for this
    if prepared and not soon:
        _mount(turn, target, grant, clearing)


def _await_stillness(turn: Turn, target: Target, until: float) -> None:
    """Read the disk in the very moment in which it may have stood still for long enough."""
    if turn.now < until:
        turn.wake(until)
    elif target.hurried < until:
        target.hurried = turn.now
        turn.effects.append(ev.ReadDisksNow((target.name,)))


def _read_wish(turn: Turn, target: Target, grant: Assignment) -> Wish:
    """The wish for a fresh read under this grant; a new one where there is none, or where the read has grown old."""
    wish = target.wish
    old = wish is not None and wish.read_began > -math.inf and turn.now - wish.read_began > REREAD_AFTER
    if wish is None or old or wish.epoch != grant.epoch:
        target.wish = wish = Wish(grant.epoch, turn.now)
    return wish


def _prepared(turn: Turn, target: Target, grant: Assignment) -> bool:
    """Whether the store and a fresh read, both of this grant, have arrived; they are asked for side by side."""
    host, reading = turn.host, target.reading
    if reading is None:
        return False
    wish = _read_wish(turn, target, grant)
    begun = ev.Mounted(reading.uuid, host.server.boot_id, grant.epoch)
    if host.records.get(target.name) != begun:
        target.displaced = target.displaced or (host.records.get(target.name),)
        turn.records[target.name] = begun
        return False
    return host.seen_for(target) == grant.epoch and wish.read_began > -math.inf


def _mount(turn: Turn, target: Target, grant: Assignment, clearing: permission.Clearing) -> None:
    """Let it through."""
    host, reading, ost = turn.host, target.reading, target.ost
    if reading is None or ost is None:
        return
    target.busy, target.op, target.busy_epoch, target.wish = "mount", turn.next_op(), grant.epoch, None
    mount = ev.Mount(
        target.op,
        target.name,
        ost.spec.mount_point,
        ost.spec.mount_options,
        reading.uuid,
        reading.digest,
        clearing.clear,
        host.lease_until,
        f"Serve at epoch {grant.epoch}; MMP {'cleared: ' + clearing.why if clearing.clear else reading.activity}",
    )
    turn.effects.append(mount)


def _adopt(turn: Turn, target: Target, grant: Assignment) -> None:
    """A mount that was found becomes ours only as the pair adopted it: upon the answer in which we said it is mounted."""
    host, adopted, record = turn.host, grant.warrant.adopted, turn.host.record(target.name)
    if record is not None:
        if grant.epoch > record.epoch and target.uuid == record.disk:
            turn.records[target.name] = replace(record, epoch=grant.epoch)
    elif adopted and target.uuid and target.name in host.answered_mounted.get(adopted.nonce, ()):
        turn.records[target.name] = ev.Mounted(target.uuid, host.server.boot_id, grant.epoch, adopted=True)


def _release(turn: Turn, target: Target, grant: Assignment) -> None:
    """Unmount what is ours; then report it released, once it surely is."""
    host, ost = turn.host, target.ost
    target.wish = target.refused = None
    if ost is None or any(done and done.epoch == grant.epoch for done in (target.released, target.releasing)):
        return
    if permission.epoch_regressed(host) or target.holder or not target.inspected:
        return
    if host.seen_for(target) != grant.epoch:
        return
    if target.mounts and host.record(target.name) is None:
        return
    target.op, target.busy_epoch = turn.next_op(), grant.epoch
    mine = next((mount for mount in target.mounts if mount.mount_point == ost.spec.mount_point), None)
    if mine is not None:
        target.busy = "unmount"
        why = f"Release at epoch {grant.epoch}"
        turn.effects.append(ev.Unmount(target.op, target.name, mine.mount_point, why, mine.mount_id))
    else:
        target.busy = "check"
        turn.effects.append(ev.CheckRelease(target.op, target.name))
