"""Whether the agent's plan may be skipped: what was told, and the time that has passed, change nothing that it looks at.

Most events of an agent are readings of disks, renewals of its lease and answers of its partner that say what the last ones
said. After a plan that left nothing undone, the next one is made upon an event that `changes` something, or at
the second that the plan named, or that `ages_at` or `lapses_at` names. Everything but what is listed in `changes` changes
something: all answers to effects do. The lease and the partner's report only say whether a mount may begin, so they count
only while one is wished for, or refused.

So this is the rule for whoever adds a decision to the host machine: what rests on time wakes for it; what rests on a part of
a reading or of an object that is left out here adds it. `tests/host/test_rest.py` holds a machine that skips plans against
one that plans on every event. Not here: what a plan does (`host`). The same for a pair: `signs`.
"""

from __future__ import annotations

import math

from ostkeeper.api.failover import Certificate, Failover
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev
from ostkeeper.core import hostview, nonces, permission
from ostkeeper.core.events import Seen, Tick
from ostkeeper.core.hoststate import STALLED_AFTER, Host, Target
from ostkeeper.core.hosttargets import REREAD_AFTER

_ROUNDED = 0.001
"""Seconds after which a reading has surely stalled, however the difference of two seconds is rounded."""


def ages_at(host: Host, since: float) -> float:
    """The first second after `since` at which a reading, or the partner's silence, has grown too old: it is woken for."""
    ends = [target.reading.began + STALLED_AFTER + _ROUNDED for target in host.targets.values() if target.reading]
    ends.append(host.peer_since + host.silence)
    return min([end for end in ends if end > since], default=math.inf)


def lapses_at(host: Host, since: float) -> float:
    """The same of what a mount waits with, the lease and a fresh read: the next event, whichever, is early enough for it."""
    if not _under_way(host):
        return math.inf
    ends = [target.wish.read_began + REREAD_AFTER for target in host.targets.values() if target.wish]
    return min([end for end in (host.lease_until, *ends) if end >= since], default=math.inf)


def _under_way(host: Host) -> bool:
    """A mount is wished for, or refused: whatever forbids it counts."""
    return any(target.wish or target.refused for target in host.targets.values())


def changes(host: Host, event: ev.HostEvent, now: float) -> bool:
    """Whether an event, not taken in yet, tells a server at rest anything that a plan looks at."""
    match event:
        case ev.DiskSeen(reading=reading):
            return _reading(host, reading, now)
        case ev.Renewed():
            return now >= host.lease_until and _under_way(host)
        case Tick():
            return False
        case ev.PeerSeen(boot_id=boot_id):
            said = boot_id != "" and (host.peer.state, host.peer.boot_id) != ("Answering", boot_id[:64])
            return said or host.peer_since == math.inf
        case Seen(object=seen):
            return _object(host, seen)
        case ev.ChildrenSeen() | ev.MountsSeen():
            return _table(host, event)
        case _:
            return True


def _table(host: Host, event: ev.ChildrenSeen | ev.MountsSeen) -> bool:
    """Whether a lock is held, or something is mounted, that was not before; or the other way round."""
    looked_at = [(name, target) for name in event.targets if (target := host.targets.get(name)) is not None]
    if any(not target.inspected for _, target in looked_at):
        return True
    if isinstance(event, ev.ChildrenSeen):
        return any(target.holder != hostview.holder(target, event) for _, target in looked_at)
    return any(
        target.mounts != event.mounts.get(name, ()) or target.obstacle != event.obstacles.get(name, "")
        for name, target in looked_at
    )


def _object(host: Host, seen: object) -> bool:
    match seen:
        case OSS() if seen.name == host.server.node:
            before, nonce = host.oss, seen.status.nonce if seen.status else None
            known = nonce is None or nonce.value in host.answered_mounted
            return before is None or host.oss_missing or not known or seen.spec != before.spec
        case OSS() if host.forgotten is not None and not host.forgotten.vouched:
            return True
        case OSS():
            return _under_way(host) and _permits(host.partner) != _permits(seen)
        case OSSPair():
            return host.pair is None or host.pair_missing or not _same_pair(host.pair, seen)
        case OST():
            old, target = host.osts.get(seen.key), host.targets.get(seen.target)
            placed = target is not None and target.ost is old and target.present
            return old is None or not placed or old.spec != seen.spec or old.in_service != seen.in_service
        case Failover():
            return _certificate(host.failovers.get(seen.name)) != _certificate(seen)
        case _:
            return True


def _permits(partner: OSS | None) -> tuple[object, ...]:
    """What of the partner's report says whether a mount may begin here."""
    status = partner.status if partner else None
    return (status.boot_id, status.targets, status.disks, status.epoch_seen) if status else ()


def _certificate(failover: Failover | None) -> Certificate | None:
    return failover.status.certificate if failover and failover.status else None


def _same_pair(old: OSSPair, new: OSSPair) -> bool:
    """Alike in all that an agent reads of a pair."""
    a, b = old.status, new.status
    if a is None or b is None or old.key != new.key:
        return False
    read = (a.epoch, a.nonce, a.boards, a.assignments, old.spec)
    return read == (b.epoch, b.nonce, b.boards, b.assignments, new.spec)


def _reading(host: Host, new: ev.Reading, now: float) -> bool:
    """Whether more than its date is new: what is reported of the disk, what may stop the machine, what a nonce asks."""
    target = host.targets.get(new.target)
    if target is None:
        return False
    old, question = target.reading, host.question
    if old is None or now > old.began + STALLED_AFTER or _told(old) != _told(new):
        return True
    if question is not None and not nonces.answered(host):
        if nonces.ready(host, question, new):
            return True
    elif question is not None and old.began < question.seen_at:
        return True  # the first one that the answer tells of
    if target.mounts:  # the first one that tells of this mount; and its mark is read back once the block has moved
        return old.began <= target.mounted_at or (old.moves != new.moves and _unmarked(host, target))
    if target.refused and target.refused[0] == permission.WAIT:
        return True  # it may have stood still for long enough by now
    moved = host.answer.moved if question is not None and host.answer is not None else ()
    return question is not None and old.moves != new.moves and new.target not in moved


def _unmarked(host: Host, target: Target) -> bool:
    record = host.record(target.name)
    return record is not None and not record.mark


def _told(reading: ev.Reading) -> tuple[object, ...]:
    """All that a reading says but its date and its counts; of the block itself only where it stands still."""
    block = reading.digest if reading.activity == "Still" else ""
    disk = (reading.uuid, reading.label, reading.mmp_enabled, reading.update_interval, reading.file_system_errors)
    return (reading.ok, reading.error, reading.reason, reading.activity, reading.mark, block, reading.ordinary, *disk)
