"""The agent's machine: every decision of one server, without I/O. Events and time in, effects with reasons out.

Here: what is done next, target by target, and the order that keeps it safe. Not here: the rules themselves
(`permission`), answers to nonces (`nonces`), the report (`hostreport`), and whatever touches a disk or a socket (`agent`).

A mount passes three gates, in this order. (1) The cached pair says `Serve` with this server's name, and no rule forbids
it: a wish. (2) The store holds the epoch and the mount's record, and a consistent read that began after the wish says the
same: both asked for at once. (3) The rules again, on what was read. `Mount` leaves in the step in which the last of the
two has arrived. An unmount needs `Release` with this server's name, and its epoch in the store. Nothing else changes a
mount; a target that is served elsewhere is never unmounted: the machine is stopped instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ostkeeper.api.oss import OSSStatus, PeerReport, Released
from ostkeeper.core import hostevents as ev
from ostkeeper.core import hostgate, hostsigns, hosttargets, hostview, nonces, permission
from ostkeeper.core.hostreport import status_of
from ostkeeper.core.hoststate import Base, Host, Server, Target

RETRY_FIRST = 1.0
"""Seconds until a failed mount or unmount is tried again; doubled with each failure in a row."""
RETRY_MOST = 30.0
REPORT_AT_LATEST = 5.0
"""Seconds after the start after which it is reported what is still unknown: the cluster, or a disk that hangs."""
REPORT_EVERY = 60.0
"""Seconds after which an unchanged report is written again."""


class HostMachine:
    """One server. `step` is called by one loop only."""

    def __init__(self, server: Server, stored: ev.Remembered, corrupt: str = "") -> None:
        """`stored`: what the store held at the start of the agent; `corrupt`: why it cannot be trusted, if so."""
        self.host = Host(server, stored, corrupt)
        self.wake_at = math.inf
        """When a Tick is due. It may be early, and then changes nothing; it is never late."""
        self._rested = False
        """A second plan after the last one would do nothing, until something changes (`hostsigns`)."""
        self._planned_at = self._named_at = self._lapses_at = math.inf
        """When the last plan was made; the second that it named for the next; from when on it is made upon any event."""
        self._news = False
        """A plan was made while a report was under way: there may be more to report."""
        self._ops = 0
        self._pending: dict[int, ev.Remember] = {}
        self._store_again_at = -math.inf
        self._read_op = 0
        self._report_op = 0
        self._reported: OSSStatus | None = None
        self._report_again_at = -math.inf
        self._began = math.inf
        self._last: dict[type, ev.HostEffect] = {}
        self._stopping = ""
        self._stop_again_at = -math.inf

    def step(self, event: ev.HostEvent, now: float) -> list[ev.HostEffect]:
        """Take one event in; return what is to be done."""
        rests = self._rests(event, now)
        match event:
            case ev.PairRead():
                self._pair_read(event, now)
            case ev.Stored():
                self._stored(event, now)
            case ev.MountEnded() | ev.UnmountEnded() | ev.ReleaseChecked():
                self._ended(event, now)
            case ev.Reported():
                self._written(event, now)
            case _:
                hostview.take(self.host, event, now)
        if rests:
            return []
        self._news, answer = self._report_op != 0, self.host.answer
        self._planned_at, self._named_at, self._began = now, math.inf, min(self._began, now)
        asked = list(self._plan(now))
        effects = self._leaving(asked, now)
        self._rested = effects == asked and self._left_nothing(self.host.answer is not answer)
        self.wake_at = min(self._named_at, hostsigns.ages_at(self.host, now))
        self._lapses_at = hostsigns.lapses_at(self.host, now)
        return effects

    def _left_nothing(self, answered: bool) -> bool:
        """After a plan: whether the next one, on the same host, would do nothing. `answered`: the last one gave an answer."""
        host, watch = self.host, self._last.get(ev.WatchDisks)
        if self._stopping:
            return False
        if isinstance(watch, ev.WatchDisks) and watch.fast != self._fast():
            return False
        foreign = any(target.mounts and host.record(target.name) is None for target in host.targets.values())
        return not (answered and foreign)  # what is mounted, and was said to be, may be adopted

    def _rests(self, event: ev.HostEvent, now: float) -> bool:
        """Whether a plan upon this event would ask for nothing: then the last one holds."""
        if not self._rested or now >= self._named_at or now >= self._lapses_at:
            return False
        if now >= self.wake_at:
            self.wake_at = min(self._named_at, hostsigns.ages_at(self.host, self._planned_at))
        if now >= self.wake_at:
            return False
        if isinstance(event, ev.Reported):
            return event.ok and not self._news
        return not hostsigns.changes(self.host, event, now)

    def _leaving(self, effects: list[ev.HostEffect], now: float) -> list[ev.HostEffect]:
        """What breaks an invariant does not leave: it is answered as a failure, and told with the next report."""
        allowed = []
        for effect in effects:
            match hostgate.refused(self.host, effect, now):
                case None:
                    allowed.append(effect)
                case ev.Stored() as failed:
                    self._stored(failed, now)
                    self._wake(self._store_again_at)
                case ended:
                    self._ended(ended, now)
                    self._wake(now)
        return allowed

    # --- answers to effects --------------------------------------------------------------------------------------------

    def _pair_read(self, event: ev.PairRead, now: float) -> None:
        if event.op != self._read_op:
            return
        self._read_op = 0
        host, snapshot = self.host, event.snapshot
        if snapshot is None or snapshot.pair is None:
            self._drop_wishes(now, "NoFreshRead", f"no fresh read of the pair: {event.detail or 'it was not found'}")
            return
        if hostview.outdated(host, snapshot.pair, event.began):
            return  # it is read again as long as anything waits for it
        hostview.take_pair(host, snapshot.pair)
        host.read, host.read_began = snapshot.pair, event.began
        host.partner = snapshot.partner
        hostview.replace_osts(host, snapshot.osts)
        host.failovers.update({failover.name: failover for failover in snapshot.failovers})
        for target in host.targets.values():
            if target.wish and event.began >= target.wish.since:
                target.wish.read_began = event.began

    def _stored(self, event: ev.Stored, now: float) -> None:
        asked = self._pending.pop(event.op, None)
        if asked is None:
            return
        host = self.host
        if not event.ok:
            self._store_again_at = now + RETRY_FIRST
            self._drop_wishes(now, "StoreFailed", event.detail)
            return
        for disk, epoch in asked.epochs.items():
            host.epochs[disk] = max(epoch, host.epochs.get(disk, 0))
        for name, record in asked.mounts.items():
            if record is None:
                host.records.pop(name, None)
            else:
                host.records[name] = record

    def _drop_wishes(self, now: float, reason: str, why: str) -> None:
        for target in self.host.targets.values():
            if target.wish:
                target.wish, target.retry_at = None, now + RETRY_FIRST
                target.refused = (reason, f"{target.name}: {why}; it is tried again")

    def _ended(self, event: ev.MountEnded | ev.UnmountEnded | ev.ReleaseChecked, now: float) -> None:
        target = self.host.targets.get(event.target)
        if target is None or target.op != event.op:
            return
        target.busy, target.op = "", 0
        if isinstance(event, ev.MountEnded):
            target.cleared = target.cleared or event.cleared
        match event:
            case ev.ReleaseChecked():
                self._checked(target, event, now)
            case ev.MountEnded(ok=True) | ev.UnmountEnded(ok=True):
                target.failures, target.failed = 0, None
            case ev.MountEnded(reason="ClearRefused"):
                target.unclearable = target.reading.digest if target.reading else ""
                self._fail(target, event.reason, event.message, now)
            case _:
                self._fail(target, event.reason, event.message, now)

    def _fail(self, target: Target, reason: str, message: str, now: float) -> None:
        target.failed = (reason, message)
        target.failures += 1
        target.retry_at = now + min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(target.failures - 1, 10))

    def _checked(self, target: Target, event: ev.ReleaseChecked, now: float) -> None:
        """Released in order; or standing still as a dead boot left it, and never mounted here in this one.

        Or there is nothing to release: no device, or none that could be read, and no mount of it was ever made here.
        """
        host = self.host
        dirty = permission.left_dirty(host, target)
        absent = (event.absent or event.free) and host.never_here(target)
        if absent:
            target.failures, target.failed = 0, None
            target.releasing = Released(epoch=target.busy_epoch, boot_id=host.server.boot_id)
        elif event.free and not target.mounts and (event.clean or dirty):
            target.failures, target.failed = 0, None
            target.releasing = Released(epoch=target.busy_epoch, boot_id=host.server.boot_id, dirty=not event.clean)
        else:
            self._fail(target, "NotReleased", event.message or f"{target.name}: still in use", now)
            target.retry_at = min(target.retry_at, now + 2 * RETRY_FIRST)

    def _written(self, event: ev.Reported, now: float) -> None:
        if event.op == self._report_op:
            self._report_op = 0
            if not event.ok:
                self._reported, self._report_again_at = None, now + RETRY_FIRST

    # --- the plan: what follows from what is known ---------------------------------------------------------------------

    def _plan(self, now: float) -> Iterator[ev.HostEffect]:
        host = self.host
        self._stopping = self._stopping or permission.must_stop(host)
        if self._stopping:
            yield from self._stop(now)
            return
        asked_anew = nonces.take_question(host, now)
        self._note_warrants(now)
        self._forget_retired()
        yield from self._surroundings(asked_anew)
        if host.cluster:
            yield from self._targets(now)
        self._age_peer(now)
        host.answer = nonces.answer(host, now)
        overdue = host.question.seen_at + nonces.PATIENCE if host.question else math.inf
        if now < overdue and not nonces.answered(host):  # after that it waits for a first look, which is an event
            self._wake(overdue)
        yield from self._report(now)

    def _wake(self, at: float) -> None:
        self._named_at = min(self._named_at, at)

    def _next_op(self) -> int:
        self._ops += 1
        return self._ops

    def _stop(self, now: float) -> Iterator[ev.HostEffect]:
        """Stop the machine; should that fail, again and again. Nothing else is done any more, not even a heartbeat."""
        if now >= self._stop_again_at:
            self._stop_again_at = now + RETRY_FIRST
            yield ev.Beat(False, self.host.interval, self.host.timeout)
            yield ev.StopMachine(self._stopping)
        self._wake(self._stop_again_at)

    def _note_warrants(self, now: float) -> None:
        """A certificate whose nonces this agent has not seen: stillness counts from now on."""
        host = self.host
        status = host.pair.status if host.pair else None
        for grant in status.assignments if status else ():
            warrant = grant.warrant.certificate
            unseen = warrant and not any(failover == warrant.failover for failover, _ in host.bases)
            if warrant and unseen and grant.node == host.server.node:
                host.bases[warrant.failover, 0] = Base(now)

    def _forget_retired(self) -> None:
        """Targets that were retired are watched and reported no longer: their disk may be taken out."""
        host = self.host
        retired = [target.name for target in host.targets.values() if not target.present and host.retired(target)]
        for name in retired:
            del host.targets[name]

    def _surroundings(self, asked_anew: bool) -> Iterator[ev.HostEffect]:
        """The heartbeat, the disks and the partner that are watched; each said again only when it changes."""
        host = self.host
        refs = tuple([target.ref for target in host.targets.values() if target.ref])
        placed = host.pair is not None or host.pair_missing or host.oss_missing
        allowed = placed and permission.wrong_board(host) is None
        yield from self._on_change(ev.Beat(allowed, host.interval, host.timeout))
        if refs or ev.WatchDisks in self._last:
            yield from self._on_change(ev.WatchDisks(refs, self._fast()))
        if asked_anew and refs:
            yield ev.ReadDisksNow(tuple(ref.target for ref in refs))
        if host.partner_name:
            yield from self._on_change(ev.WatchPeer(host.partner_name, host.interval))

    def _fast(self) -> bool:
        """Disks are watched closely: a nonce is open, or a mount waits for a block to stand still."""
        host = self.host
        asked = host.question is not None and host.question.nonce.open
        return asked or any(t.refused and t.refused[0] == permission.WAIT for t in host.targets.values())

    def _on_change(self, effect: ev.HostEffect) -> Iterator[ev.HostEffect]:
        if self._last.get(type(effect)) != effect:
            self._last[type(effect)] = effect
            yield effect

    def _age_peer(self, now: float) -> None:
        """Silent: no answer for `silence`, as this server's clock has it."""
        host = self.host
        if now >= host.peer_since + host.silence and host.peer.state != "Silent":
            host.peer = PeerReport.model_construct(state="Silent", boot_id=host.peer.boot_id)

    def _targets(self, now: float) -> Iterator[ev.HostEffect]:
        """Each target by itself; then one write of the store and one read of the pair for all of them."""
        host, turn = self.host, hosttargets.Turn(self.host, now, self._next_op)
        for target in host.targets.values():
            hosttargets.plan(turn, target)
        self._wake(turn.wake_at)
        yield from turn.effects
        yield from self._remember(turn.records, now)
        wishes = any(target.wish and target.wish.read_began == -math.inf for target in host.targets.values())
        if wishes and not self._read_op and host.pair:
            self._read_op = self._next_op()
            pair, named = host.pair, self._warrants_named()
            yield ev.ReadPair(self._read_op, pair.metadata.namespace, pair.name, host.partner_name, named)

    def _warrants_named(self) -> tuple[str, ...]:
        """The Failovers that warrants of this pair name."""
        status = self.host.pair.status if self.host.pair else None
        warrants = [grant.warrant.certificate for grant in status.assignments] if status else []
        return tuple(sorted({warrant.failover for warrant in warrants if warrant}))

    def _remember(self, records: dict[str, ev.Mounted | None], now: float) -> Iterator[ev.HostEffect]:
        """Epochs that were seen for the first time, and mount records. What is on its way is not asked for again."""
        host = self.host
        epochs: dict[str, int] = {}
        for target in host.targets.values():
            grant = host.assignment(target.name)
            disk = host.memory_of(target)
            if grant and disk and grant.epoch > host.epochs.get(disk, 0):
                epochs[disk] = grant.epoch
        for asked in self._pending.values():
            epochs = {disk: epoch for disk, epoch in epochs.items() if asked.epochs.get(disk, 0) < epoch}
            records = {name: r for name, r in records.items() if name not in asked.mounts or asked.mounts[name] != r}
        if not (epochs or records) or host.corrupt:
            return
        if now < self._store_again_at:
            self._wake(self._store_again_at)
            return
        op = self._next_op()
        self._pending[op] = ev.Remember(op, host.cluster, epochs, records)
        yield self._pending[op]

    # --- the report ----------------------------------------------------------------------------------------------------

    def _complete(self) -> bool:
        """Whether all was looked at once: a first report must not deny what the agent before this one has said."""
        host = self.host
        read = all(target.reading is not None for target in host.targets.values() if target.ref)
        return bool(host.cluster) and read and not host.unseen()

    def _withhold(self, now: float) -> None:
        """A release that breaks an invariant is not reported: the partner would mount upon it."""
        for target in self.host.targets.values():
            why = hostgate.told(self.host, target) if target.released is not None else ""
            if why:
                target.released = None
                self._fail(target, hostgate.BROKEN, why, now)
                self._wake(target.retry_at)

    def _report(self, now: float) -> Iterator[ev.HostEffect]:
        """On change, and at least once a minute; one at a time."""
        host = self.host
        if host.oss is None or self._report_op:
            return
        if self._reported is None and now < self._began + REPORT_AT_LATEST and not self._complete():
            self._wake(self._began + REPORT_AT_LATEST)
            return
        self._withhold(now)
        status = status_of(host, now, self._reported)
        due = status is not self._reported or now >= self._report_again_at
        if not due or (self._reported is None and now < self._report_again_at):
            self._wake(self._report_again_at)
            return
        self._report_op, self._reported = self._next_op(), status
        self._report_again_at = now + REPORT_EVERY
        self._wake(self._report_again_at)
        yield ev.Report(self._report_op, status)
