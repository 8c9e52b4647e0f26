"""Invariants of one server: what it mounts, unmounts, remembers and reports. See `invariants` for their sentences.

Each function says what breaks its rule; empty: it holds. They look at the plain state (`hoststate`) and not through the
eyes of `permission`.
"""

from __future__ import annotations

from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.facts import MemoryWrite, MountOrder, ReleaseReport, UnmountOrder
from ostkeeper.core.hostevents import Mounted

READ_MAX_AGE = 2.0
"""Seconds after which a consistent read is worth nothing any more."""


def mount_unserved(o: MountOrder) -> str:
    """Nobody, or somebody else, is to serve it; or its object is gone or does not want it."""
    grant, ost = o.host.assignment(o.target.name), o.target.ost
    if grant is None or (grant.node, grant.intent) != (o.host.server.node, "Serve"):
        return f"{o.target.name}: {f'{grant.intent} at {grant.node}' if grant else 'assigned to nobody'}"
    wanted = ost is not None and o.target.present and ost.spec.desired == "Mounted"
    return "" if wanted else f"{o.target.name}: not declared, or not desired"


def mount_below_seen(o: MountOrder) -> str:
    """An epoch below one that was seen, or one that is not in the store yet, as the mount itself."""
    grant = o.host.assignment(o.target.name)
    epoch, seen = (grant.epoch if grant else 0), o.host.epochs.get(o.order.uuid, 0)
    highest = max(o.host.epochs.get(t.uuid, 0) for t in o.host.targets.values())
    pair = o.host.pair.status.epoch if o.host.pair and o.host.pair.status else 0
    forgotten = o.host.forgotten
    if forgotten is not None and (not forgotten.vouched or pair < forgotten.seen):
        return f"{o.target.name}: nobody has vouched for epoch {epoch} since the store vanished"
    if epoch != seen or pair < highest:
        return f"{o.target.name}: epoch {epoch} of {pair}, durable is {seen}, seen {highest}"
    begun = Mounted(o.order.uuid, o.host.server.boot_id, epoch)
    return "" if o.host.records.get(o.target.name) == begun else f"{o.target.name}: the store does not say so"


def mount_unread(o: MountOrder) -> str:
    """The last consistent read of the pair does not say the same, or is old."""
    read, grant = o.host.read, o.host.assignment(o.target.name)
    said = read.status.assignment(o.target.name) if read and read.status else None
    if said is None or grant is None or (said.node, said.intent, said.epoch) != (grant.node, grant.intent, grant.epoch):
        return f"{o.target.name}: it said {said.intent + ' at ' + said.node if said else 'nothing'}"
    age = o.now - o.host.read_began
    return "" if age <= READ_MAX_AGE else f"{o.target.name}: {age:.1f}s old"


def mount_without_lease(o: MountOrder) -> str:
    """Others may think that this server is dead."""
    held = o.now < o.order.until <= o.host.lease_until
    return "" if held else f"{o.target.name}: held until {o.host.lease_until:.1f}, now {o.now:.1f}"


def mount_of_another_disk(o: MountOrder) -> str:
    """Not what was read last, or without multi-mount protection."""
    reading = o.target.reading
    if reading is None or not reading.ok or not reading.mmp_enabled:
        return f"{o.target.name}: unread, or without MMP"
    same = (reading.uuid, reading.digest) == (o.order.uuid, o.order.digest)
    return "" if same else f"{o.target.name}: {o.order.uuid}, read was {reading.uuid}"


def mount_in_use(o: MountOrder) -> str:
    """Mounted here already, held by a child, or MMP is neither clean nor still."""
    if o.target.mounts or o.target.holder or o.target.obstacle:
        return f"{o.target.name}: {o.target.holder or o.target.obstacle or 'mounted here'}"
    activity = o.target.reading.activity if o.target.reading else "unread"
    return "" if activity in ("Clean", "Still") else f"{o.target.name}: MMP is {activity}"


def mount_by_the_dead(o: MountOrder) -> str:
    """A certificate names this very boot: its successor may have everything."""
    for name, failover in sorted(o.host.failovers.items()):
        c = failover.status.certificate if failover.status else None
        if c is not None and (c.node, c.boot_id) == (o.host.server.node, o.host.server.boot_id):
            return f"{o.target.name}: {name} certifies boot {c.boot_id}"
    return ""


def clear_uncertified(o: MountOrder) -> str:
    """MMP would be cleared without a certificate that allows it, or of another block than the certified one."""
    grant = o.host.assignment(o.target.name)
    warrant = grant.warrant.certificate if grant else None
    if not o.order.clear:
        return ""
    failover = o.host.failovers.get(warrant.failover) if warrant else None
    c = failover.status.certificate if failover and failover.status else None
    if warrant is None or c is None or warrant.digest != certificate_digest(c):
        return f"{o.target.name}: no certificate"
    if not c.clear_mmp or c.confirmed_by is not None or not c.feeds or c.node == o.host.server.node:
        return f"{o.target.name}: {warrant.failover} does not allow it"
    proof = next((d for d in c.disks if d.target == o.target.name), None)
    if proof is None or proof.state != "Still" or not proof.block or proof.block != o.order.digest:
        return f"{o.target.name}: not the certified block"
    mark = o.target.reading.mark if o.target.reading else ""
    if not c.boot_id or not proof.reported or proof.mark != proof.reported or proof.mark != mark:
        return f"{o.target.name}: {mark} is no mark that {c.node} reported in boot {c.boot_id}"
    still = o.target.reading is not None and o.target.reading.activity == "Still"
    return "" if still else f"{o.target.name}: it does not stand still"


def unmount_unasked(o: UnmountOrder) -> str:
    """No Release, another's, or one below an epoch that was seen or is not durable."""
    grant, seen = o.host.assignment(o.target.name), o.host.seen_for(o.target)
    if grant is None or (grant.node, grant.intent) != (o.host.server.node, "Release"):
        return f"{o.target.name}: {f'{grant.intent} at {grant.node}' if grant else 'assigned to nobody'}"
    return "" if grant.epoch == seen else f"{o.target.name}: epoch {grant.epoch}, durable is {seen}"


def unmount_of_foreign(o: UnmountOrder) -> str:
    """Mounted by hand, or not this mount at this place."""
    record = o.host.records.get(o.target.name)
    ours = record is not None and record.boot_id == o.host.server.boot_id
    here = any((m.mount_point, m.mount_id) == (o.order.mount_point, o.order.mount_id) for m in o.target.mounts)
    return "" if ours and here else f"{o.target.name} at {o.order.mount_point}"


def memory_goes_back(w: MemoryWrite) -> str:
    """An epoch below the one that is durable, or under another cluster's name."""
    if w.order.cluster != w.host.cluster:
        return f"cluster {w.order.cluster}, not {w.host.cluster}"
    lower = (d for d, epoch in sorted(w.order.epochs.items()) if epoch < w.host.epochs.get(d, 0))
    return next((f"disk {d}: {w.host.epochs[d]} > {w.order.epochs[d]}" for d in lower), "")


def mount_forgotten(w: MemoryWrite) -> str:
    """A record that is dropped, or made another boot's or disk's, while its target is mounted here."""
    for name, after in sorted(w.order.mounts.items()):
        before, target = w.host.record(name), w.host.targets.get(name)
        if before is None or target is None or not target.mounts:
            continue
        if after is None or (after.disk, after.boot_id) != (before.disk, before.boot_id) or after.epoch < before.epoch:
            return name
    return ""


def released_too_early(r: ReleaseReport) -> str:
    """It could still be written from here."""
    released, target = r.target.released, r.target
    if released is None:
        return ""
    if released.boot_id != r.host.server.boot_id:
        return f"{target.name}: reported of boot {released.boot_id}"
    if target.mounts or target.child or target.name in r.host.records:
        return f"{target.name}: {target.holder or 'mounted, or remembered as mounted'}"
    return ""
