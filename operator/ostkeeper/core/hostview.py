"""Events that only say how the world is, taken into what the host machine knows.

Here: objects seen and gone, disks, mounts, locks, the partner. Not here: answers to effects and what follows from any of it
(`host`). What is gone orders nothing: it is remembered, and allows nothing new.
"""

from __future__ import annotations

import math

from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS, PeerReport
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev
from ostkeeper.core import nonces
from ostkeeper.core.events import Gone, Seen
from ostkeeper.core.heartbeats import newer
from ostkeeper.core.hoststate import Forgotten, Host, Target


def take(host: Host, event: ev.HostEvent, now: float) -> None:
    """Take one event in. Answers to effects are not for here, and change nothing."""
    match event:
        case Seen(object=seen):
            see(host, seen, now)
        case Gone():
            lose(host, event)
        case ev.OSSMissing():
            host.oss_missing = host.oss is None
        case ev.ClusterKnown(uid=uid):
            host.cluster = uid
            host.epochs = dict(host.stored.epochs.get(uid, {}))
            host.records = dict(host.stored.mounts)
        case ev.DiskSeen(reading=reading):
            _disk(host, reading)
        case ev.MountsSeen():
            _mounts(host, event, now)
        case ev.ChildrenSeen():
            for name in event.targets:
                if target := host.targets.get(name):
                    target.lock_seen, target.holder = True, holder(target, event)
        case ev.OSTsListed():
            host.osts_listed = True
        case _:
            _self_and_partner(host, event, now)


def _self_and_partner(host: Host, event: ev.HostEvent, now: float) -> None:
    match event:
        case ev.Renewed(began=began):
            host.lease_until = max(host.lease_until, began + host.timeout)
        case ev.PeerSeen(boot_id=boot_id) if boot_id:
            host.peer_since = now
            if (host.peer.state, host.peer.boot_id) != ("Answering", boot_id[:64]):
                host.peer = PeerReport.model_construct(state="Answering", boot_id=boot_id[:64])
        case ev.PeerSeen() if host.peer_since == math.inf:
            host.peer_since = now
        case ev.HazardsSeen(hazards=hazards):
            host.hazards = hazards


def holder(target: Target, seen: ev.ChildrenSeen) -> str:
    """Who holds its lock, other than a child of this very agent."""
    return "" if target.busy in ("mount", "unmount") else seen.holders.get(target.name, "")


def see(host: Host, seen: object, now: float) -> None:
    """An object of this server's pair is there, new or changed."""
    ref = host.oss.spec.pair if host.oss else None
    match seen:
        case OSS() if seen.name == host.server.node:
            if host.oss is None:
                _note_forgotten(host, seen)
            host.oss, host.oss_missing = seen, False
            _recall_answer(host, seen)
            _recall_peer(host, seen)
        case OSS() if seen.name == host.partner_name:
            host.partner = seen
            _partner_vouches(host, seen)
        case OSSPair() if ref and (ref.namespace, ref.name) == (seen.metadata.namespace, seen.name):
            take_pair(host, seen)
            host.pair_seen = now
            _leader_vouches(host, seen)
        case OST() if ref and seen.spec.pair_name == ref.name:
            host.osts[seen.key] = seen
            _place(host, seen)
        case Failover() if ref and seen.spec.pair_name == ref.name:
            host.failovers[seen.name] = seen
        case _:
            pass


def _note_forgotten(host: Host, own: OSS) -> None:
    """The own OSS still tells of epochs that an earlier agent had in its store, and there is nothing in this one's."""
    status = own.status
    if status is None or status.epoch_seen == 0 or status.agent_start == host.server.agent_start:
        return
    if not host.stored.epochs and not host.corrupt:
        host.forgotten = Forgotten(status.epoch_seen)


def _partner_vouches(host: Host, partner: OSS) -> None:
    """A report that the partner's agent has written since: its uptime has grown. It carries the epoch that it has seen."""
    forgotten, status = host.forgotten, partner.status
    if forgotten is None or status is None or not status.boot_id:
        return
    if forgotten.partner[0] != status.boot_id:
        forgotten.partner = (status.boot_id, status.uptime_seconds)
    elif status.uptime_seconds > forgotten.partner[1]:
        forgotten.vouched = True


def _leader_vouches(host: Host, pair: OSSPair) -> None:
    """An epoch that was written since: the leader that wrote it has asked the living agents what they have seen."""
    forgotten, epoch = host.forgotten, pair.status.epoch if pair.status else 0
    if forgotten is None:
        return
    if forgotten.pair_epoch < 0:
        forgotten.pair_epoch = epoch
    elif epoch > forgotten.pair_epoch:
        forgotten.vouched = True


def take_pair(host: Host, pair: OSSPair) -> None:
    """The pair is there. The board that it pins under this server's name outlives its status here."""
    host.pair, host.pair_missing = pair, False
    if host.partner and host.partner.name != host.partner_name:
        host.partner = None
    boards = pair.status.boards if pair.status else ()
    host.pinned = next((board.system_uuid.lower() for board in boards if board.node == host.server.node), host.pinned)


def outdated(host: Host, read: OSSPair, began: float) -> bool:
    """Whether the watch has shown a later pair since a read began: then what was read is over, and not a restored etcd."""
    seen = host.pair
    if seen is None or seen.metadata.uid != read.metadata.uid or host.pair_seen < began:
        return False
    return newer(seen.version, read.version)


def _recall_answer(host: Host, oss: OSS) -> None:
    """An earlier agent of this boot said what was mounted: the pair may adopt it upon that."""
    status = oss.status
    if status and status.nonce and status.boot_id == host.server.boot_id:
        host.answered_mounted.setdefault(status.nonce.value, status.nonce.mounted)


def _recall_peer(host: Host, oss: OSS) -> None:
    """An earlier agent had an answer of the partner: its silence counts for that boot, also after a restart."""
    told = oss.status.peer.boot_id if oss.status else ""
    if told and not host.peer.boot_id:
        host.peer = PeerReport.model_construct(state=host.peer.state, boot_id=told)


def _place(host: Host, ost: OST) -> None:
    target = host.targets.get(ost.target)
    if target is not None and target.ost is not None and target.present and target.ost.key != ost.key:
        placed = host.osts.get(target.ost.key, target.ost)
        if placed.in_service and not ost.in_service:
            return  # of two OSTs of one name the one in service stays
    if target is None:
        target = Target(ost.target)
        host.targets = dict(sorted([*host.targets.items(), (ost.target, target)]))
    moved = target.ost is not None and target.ost.spec.backend.source != ost.spec.backend.source
    if moved and target.mounts and host.record(ost.target) is not None:
        target.present = False
        return
    if moved:  # what is mounted from the other disk, by whomever, is no mount of this target
        target.reading, target.mounts, target.mounts_seen = None, (), False
    if target.ost is None or target.ost.spec is not ost.spec:
        target.ref = _ref(ost)
    target.ost, target.present = ost, True


def _ref(ost: OST) -> ev.DiskRef:
    backend = ost.spec.backend
    kind = "ldiskfs" if backend.ldiskfs else "ext4" if backend.ext4 else "zfs"
    return ev.DiskRef(ost.target, kind, backend.source, ost.spec.mount_point)


def lose(host: Host, gone: Gone) -> None:
    """An object is gone."""
    if gone.kind == "OST" and gone.key in host.osts:
        target = host.targets.get(host.osts.pop(gone.key).target)
        if target and target.ost and target.ost.key == gone.key:
            target.present = False
            for other in [ost for ost in host.osts.values() if ost.target == target.name]:
                _place(host, other)
    elif gone.kind == "OSSPair" and (host.pair is None or host.pair.key == gone.key):
        host.pair = host.pair.model_copy(update={"status": None}) if host.pair else None
        host.pair_missing = True
    elif gone.kind == "Failover":
        host.failovers.pop(gone.key.rpartition("/")[2], None)
    elif gone.kind == "OSS" and gone.key == host.server.node:
        host.oss_missing = host.oss is None


def replace_osts(host: Host, osts: tuple[OST, ...]) -> None:
    """A consistent read gave all OSTs of the pair."""
    host.osts_listed = True
    present = {ost.key for ost in osts}
    for key in [key for key in host.osts if key not in present]:
        lose(host, Gone("OST", key))
    for ost in osts:
        host.osts[ost.key] = ost
        _place(host, ost)


def _disk(host: Host, reading: ev.Reading) -> None:
    target = host.targets.get(reading.target)
    if target is not None:
        target.reading = reading
        nonces.note_reading(host, target)


def _mounts(host: Host, event: ev.MountsSeen, now: float) -> None:
    for name in event.targets:
        target = host.targets.get(name)
        if target is None:
            continue
        target.mounts_seen = True
        before, target.mounts = target.mounts, event.mounts.get(name, ())
        target.obstacle = event.obstacles.get(name, "")
        if target.mounts and not before:
            target.mounted_at = now
            target.moves_then = target.reading.moves if target.reading else 0
            target.errors_then = target.reading is not None and target.reading.file_system_errors
        elif before and not target.mounts:
            target.mounted_at, target.cleared = math.inf, False
