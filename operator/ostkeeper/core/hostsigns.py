"""Whether the agent's plan may be skipped: the server is at rest, and what was told changes nothing that a plan looks at.

Most events of an agent are readings of disks, renewals of its lease and answers of its partner that say what the last ones
said. After a plan that asked for nothing, on a server at rest (`at_rest`), the next plan is made when `HostMachine.wake_at`
has passed, or when an event `changes` something. Everything but what is listed in `changes` does. What a server at rest does
not look at: its lease, and its partner's report. They only say whether a mount may begin, and then it is not at rest.

So this is the rule for whoever adds a decision to the host machine: what rests on time wakes for it; what rests on a part of
a reading or of an object that is left out here adds it. `tests/host/test_rest.py` holds a machine that skips plans against
one that plans on every event. Not here: what a plan does (`host`). The same for a pair: `signs`.
"""

from __future__ import annotations

import math

from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen, Tick
from ostkeeper.core.hoststate import STALLED_AFTER, Host, Target


def at_rest(host: Host) -> bool:
    """Nothing is asked, and every target is where it shall be or waits for an event or for a second that was said."""
    question = host.question
    if question is not None and (host.answer is None or host.answer.value != question.nonce.value):
        return False
    if not host.cluster or host.oss is None or host.unseen():
        return False
    return all(_at_rest(host, target) for target in host.targets.values())


def _at_rest(host: Host, target: Target) -> bool:
    if target.wish or target.refused or target.releasing or (target.displaced and not target.busy):
        return False
    if target.busy:
        return True  # it waits for its answer
    record = host.record(target.name) if target.mounts else None
    return record is None or record.mark != ""  # a mark that is to be read back waits for any reading


def lasting(effect: ev.HostEffect) -> bool:
    """Whether a second plan on the same host would not ask for it again, nor for anything that rests on its answer."""
    return isinstance(effect, (ev.Report, ev.Beat, ev.WatchDisks, ev.WatchPeer, ev.ReadDisksNow))


def changes(host: Host, event: ev.HostEvent, now: float) -> bool:
    """Whether an event, not taken in yet, tells a server at rest anything that a plan looks at."""
    match event:
        case ev.DiskSeen(reading=reading):
            return _reading(host, reading, now)
        case ev.Renewed() | Tick():
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
        return any(not target.busy and target.holder != event.holders.get(name, "") for name, target in looked_at)
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
        case OSS():
            return False
        case OSSPair():
            return host.pair is None or host.pair_missing or not _same_pair(host.pair, seen)
        case OST():
            old, target = host.osts.get(seen.key), host.targets.get(seen.target)
            placed = target is not None and target.ost is old and target.present
            return old is None or not placed or old.spec != seen.spec
        case _:
            return True


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
    if question is not None and old.began < question.seen_at:
        return True  # the first one that the answer may tell of
    if target.mounts:
        return old.began <= target.mounted_at  # the first one that tells of this mount
    moved = host.answer.moved if question is not None and host.answer is not None else ()
    return question is not None and old.moves != new.moves and new.target not in moved


def _told(reading: ev.Reading) -> tuple[object, ...]:
    """All that a reading says but its date and its counts; of the block itself only where it stands still."""
    block = reading.digest if reading.activity == "Still" else ""
    disk = (reading.uuid, reading.label, reading.mmp_enabled, reading.update_interval, reading.file_system_errors)
    return (reading.ok, reading.error, reading.activity, reading.mark, block, reading.ordinary, *disk)
