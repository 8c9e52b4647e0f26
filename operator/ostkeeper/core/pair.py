"""The pair machine: events in, effects out. It keeps the view, and asks `plan` what comes next where anything changed.

Here: what each event does to the view, and whether it changes any of it. Not here: any decision; which plan may be skipped
(`signs`), and what an effect has to pass (`gate`).
"""

from __future__ import annotations

import math
from typing import TypeVar

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import gate
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.devices import WRONG, beside, judged
from ostkeeper.core.events import (
    NODE,
    Acked,
    Beat,
    Beaten,
    Claims,
    Deposed,
    Effect,
    Event,
    Gone,
    Led,
    NodeSeen,
    NodeState,
    Outcome,
    PoliciesTried,
    PowerRead,
    Proven,
    Read,
    Seen,
    Snapshot,
    Tick,
    Wrote,
)
from ostkeeper.core.heartbeats import Heartbeats, newer
from ostkeeper.core.history import DELETE
from ostkeeper.core.plan import plan, prove_again
from ostkeeper.core.power import PowerState
from ostkeeper.core.signs import calm, due_at, in_passing, same_news, signs_of
from ostkeeper.core.view import View

ResourceT = TypeVar("ResourceT", bound=Resource)
RETRY = 0.3
"""Seconds after a write or read that got no answer."""
REFUSED_RETRY = 5.0
"""Seconds after a write that the API server refused."""
MIRROR_RETRY = 1.0
"""Seconds after a mirror that was not written."""


class PairMachine:
    """Decides for one pair. `heartbeats` is shared by all pairs and told before this machine is."""

    def __init__(self, key: str, heartbeats: Heartbeats) -> None:
        self.view = View(key, heartbeats)
        self.wake_at = math.inf
        """When a Tick is due. It may be early, and then changes nothing; it is never late."""
        self._planned: tuple[object, ...] | None = None
        """The signs on which the last plan decided nothing; None: the next event is planned on."""

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event in; return what is to be done. Raises InvariantBroken rather than break a safety rule."""
        changed = self._take(event, now)
        view = self.view
        seen = signs_of(view, now)
        if self._rests(changed, seen, now):
            effects = prove_again(view, now)
            if now >= self.wake_at or view.wake < self.wake_at:
                self.wake_at = due_at(view, now)
            return effects
        view.wake, view.awake, view.proving, view.memo, view.showing = math.inf, False, False, {}, 0
        effects = plan(view, now)
        if effects:
            gate.leave(view, effects, now)
        view.memo = None
        self.wake_at = due_at(view, now)
        self._planned = seen if in_passing(view, effects) and not view.awake and calm(view) else None
        return effects

    def _rests(self, changed: bool, signs: tuple[object, ...], now: float) -> bool:
        """Whether a plan would decide nothing, as the last one did."""
        return not changed and signs == self._planned and now < self.view.wake

    def _take(self, event: Event, now: float) -> bool:
        """Take it into the view. Whether that changes anything that a plan looks at, beside the leases' signs."""
        match event:
            case Beaten(beat):
                self._beaten(beat)
                return False
            case Proven() | Tick():
                return False
            case Seen(obj):
                return self._absorb(obj, now)
            case NodeSeen(node):
                return self._node(node, now)
            case Claims(problems):
                changed, self.view.problems = self.view.problems != problems, problems
                return changed
            case PoliciesTried(in_force):
                changed, self.view.policies = self.view.policies is not in_force, in_force
                return changed
            case Gone(kind, key):
                self._gone(kind, key, now)
            case Led(term):
                self._led(term, now)
            case Deposed():
                self._deposed()
            case Wrote():
                return self._wrote(event, now)
            case Read():
                self._read(event, now)
            case Acked():
                self._acked(event, now)
            case PowerRead():
                self._power(event, now)
        return True

    def _led(self, term: str, now: float) -> None:
        """A new term: every clock starts again, and nothing that was seen in an earlier one counts."""
        view = self.view
        fresh = View(view.key, view.heartbeats, term=term, led_at=now, ops=view.ops, stale=True)
        for name in ("pair", "osts", "osses", "devices", "failovers", "nodes", "problems", "policies"):
            setattr(fresh, name, getattr(view, name))
        self.view = fresh

    def _deposed(self) -> None:
        self.view.term = ""
        self.view.campaign = None

    def _absorb(self, obj: Resource, now: float, *, ours: bool = False) -> bool:
        """Replace an object by a newer state of itself. Whether a plan sees anything new in it."""
        old = self._known(obj)
        if not _later(obj, old):
            return False
        view = self.view
        view.shown_at[obj.kind, obj.name] = now
        match obj:
            case OSSPair():
                view.pair = obj
            case OST():
                view.osts[obj.name] = obj
            case OSS():
                view.osses[obj.name] = obj = _of_pair(obj, view.key)
                self._uptime(obj, now)
            case FenceDevice():
                view.devices[obj.name] = obj
            case Failover():
                view.failovers[obj.name] = obj
            case _:
                return False
        return old is None or not same_news(old, obj, ours=ours)

    def _known(self, obj: Resource) -> Resource | None:
        """The object as it was seen last."""
        view = self.view
        if isinstance(obj, OSSPair):
            return view.pair
        shelf = self._shelf(obj.kind)
        return shelf.get(obj.name) if shelf is not None else None

    def _shelf(
        self, kind: str
    ) -> dict[str, OST] | dict[str, OSS] | dict[str, FenceDevice] | dict[str, Failover] | None:
        view = self.view
        match kind:
            case OST.kind:
                return view.osts
            case OSS.kind:
                return view.osses
            case FenceDevice.kind:
                return view.devices
            case Failover.kind:
                return view.failovers
            case _:
                return None

    def _uptime(self, oss: OSS, now: float) -> None:
        told = f"{oss.status.boot_id}/{oss.status.uptime_seconds}" if oss.status else ""
        before = self.view.uptime_seen.get(oss.name)
        if before is None or before[0] != told:
            self.view.uptime_seen[oss.name] = (told, now)
            if oss.status:
                self.view.heartbeats.booted[oss.name] = now - oss.status.uptime_seconds
        if before is not None and before[0] != told:
            self.view.report_moved[oss.name] = now

    def _gone(self, kind: str, key: str, now: float) -> None:
        """Absence orders nothing: what is gone is only not seen any more."""
        view, name = self.view, key.rsplit("/", 1)[-1]
        view.shown_at[kind, name] = now
        if kind == OSSPair.kind:
            view.pair = None
        if kind == NODE:
            view.nodes.pop(name, None)
            view.node_moved.pop(name, None)
        shelf = self._shelf(kind)
        if shelf is not None:
            shelf.pop(name, None)
        if kind in (OSSPair.kind, Failover.kind):
            view.slot_known = ""

    def _beaten(self, beat: Beat) -> None:
        c, fo = self.view.campaign, self.view.active
        pulse = self.view.heartbeats.pulses.get(beat.node)
        if c is None or fo is None or pulse is None or fo.spec.node != beat.node:
            return
        if pulse.moved and pulse.changed_at > c.began and fo.spec.evidence.boot_id in ("", beat.boot_id):
            c.beat_at = pulse.changed_at

    def _node(self, node: NodeState, now: float) -> bool:
        """A Node. Whether that says anything new: of a server that renews its lease only its conditions do."""
        view = self.view
        before = view.nodes.get(node.name)
        view.nodes[node.name] = node
        if before is not None and before.heartbeat != node.heartbeat:
            view.node_moved[node.name] = now
        same = before is not None and (before.ready, before.conditions) == (node.ready, node.conditions)
        return not (same and view.fresh(node.name, now))

    def _wrote(self, event: Wrote, now: float) -> bool:
        """Whether a plan sees anything new in the answer: what was only shown is no news, once it is shown."""
        view, news = self.view, True
        if event.object is not None and event.outcome is Outcome.OK:
            news = self._absorb(event.object, now, ours=True)
        key = next((key for key, shown in view.mirrors.items() if shown.op == event.op), "")
        if key:
            del view.mirrors[key]
            if key.startswith(DELETE) and event.outcome in (Outcome.OK, Outcome.GONE):
                view.failovers.pop(key.removeprefix(DELETE), None)
                return True
            if event.outcome is not Outcome.OK:
                view.mirror_retry[key] = now + MIRROR_RETRY
                view.wake_by(view.mirror_retry[key])
            return news and event.outcome is Outcome.OK
        self._decision_written(event, now)
        return event.outcome is not Outcome.OK or event.op != view.showing

    def _decision_written(self, event: Wrote, now: float) -> None:
        """The write that decisions wait for has its answer."""
        view = self.view
        if event.op != view.busy:
            return
        view.busy = 0
        if event.outcome is Outcome.OK:
            view.unshown = False
            if event.op != view.showing:
                view.refused = ""
            if isinstance(event.object, OSSPair) and event.object.status:
                view.slot_known = event.object.status.active_failover
            return
        view.stale = True
        if event.outcome is Outcome.FAILED:
            view.retry_at = now + RETRY
        if event.outcome is Outcome.REFUSED:
            view.refused = f"{view.writing}: {event.detail}"[:512]
            view.unshown = event.op == view.showing
            view.retry_at = now + REFUSED_RETRY

    def _read(self, event: Read, now: float) -> None:
        view = self.view
        if event.op != view.busy:
            return
        view.busy = 0
        snapshot = event.snapshot
        if snapshot is None:
            view.retry_at = now + RETRY
            view.stale = True
            return
        if not snapshot.leading:
            self._deposed()
            return
        view.stale = False
        self._replace(snapshot, event.began, now)
        if view.campaign is not None:
            view.campaign.read_began = event.began

    def _replace(self, snapshot: Snapshot, began: float, now: float) -> None:
        """What the API server had is what there is, but for what the watch has shown since the read began.

        A lease that moved since the watch showed it counts as a renewal.
        """
        view = self.view
        view.shown_at = {place: at for place, at in view.shown_at.items() if at >= began}
        view.pair = snapshot.pair
        view.osts = self._read_of(OST.kind, view.osts, snapshot.osts)
        osses = tuple([_of_pair(oss, view.key) for oss in snapshot.osses])
        view.osses = self._read_of(OSS.kind, view.osses, osses)
        view.devices = self._read_of(FenceDevice.kind, view.devices, snapshot.devices)
        view.failovers = self._read_of(Failover.kind, view.failovers, snapshot.failovers)
        for oss in osses:
            self._uptime(oss, now)
        for node in snapshot.nodes:
            self._node(node, now)
        for beat in snapshot.beats:
            if view.heartbeats.seen(beat, now):
                self._beaten(beat)
        view.slot_known = view.status.active_failover if view.status else ""

    def _read_of(self, kind: str, shown: dict[str, ResourceT], read: tuple[ResourceT, ...]) -> dict[str, ResourceT]:
        """What a read found of a kind, with what the watch has shown since it began: it is not shown again."""
        found = {obj.name: obj for obj in read}
        for name in [name for of, name in self.view.shown_at if of == kind]:
            if name not in shown:
                found.pop(name, None)
            elif _later(shown[name], found.get(name)):
                found[name] = shown[name]
        return found

    def _campaigns(self) -> list[Campaign]:
        return [c for c in (self.view.campaign, self.view.rejoin) if c is not None]

    def _acked(self, event: Acked, now: float) -> None:
        for c in self._campaigns():
            shot = c.shots.get(event.feed)
            if shot is not None and shot.op == event.op:
                shot.ended, shot.ok, shot.sent, shot.detail = now, event.ok, event.sent, event.detail
            feed = c.on_ops.pop(event.op, None)
            if feed is not None and event.ok:
                c.on_done.add(feed)
            elif feed is not None and event.detail.startswith(WRONG):
                c.on_refused[feed] = event.detail

    def _power(self, event: PowerRead, now: float) -> None:
        view = self.view
        for c in self._campaigns():
            failover = view.failovers.get(c.name)
            reading = judged(view, failover, event.feed, event.reading)
            if c.rounds is not None:
                c.rounds.take(event.op, reading, now)
            if event.op in c.bystander_ops:
                feed = c.bystander_ops.pop(event.op)
                c.bystanders[feed] = beside(view, failover, feed, event.reading)
                if c.bystanders[feed] is PowerState.ON:
                    c.bystander_on_since = min(c.bystander_on_since, event.reading.began)
                else:
                    c.bystander_on_since = math.inf
            if event.op in c.poll_ops:
                feed = c.poll_ops.pop(event.op)
                c.poll[feed] = reading.state
                c.poll_base.setdefault(feed, reading.state)
                if event.reading.watts is not None and reading.reason != WRONG:
                    c.loads[feed] = event.reading.watts


def _of_pair(oss: OSS, key: str) -> OSS:
    """The object; without its status if the server belongs to another pair, about which it reports."""
    ref = oss.spec.pair
    if oss.status is None or f"{ref.namespace}/{ref.name}" == key:
        return oss
    return oss.model_copy(update={"status": None})


def _later(new: Resource, old: Resource | None) -> bool:
    """Whether to take it: unknown so far, another object under the same name, or a newer state of the same one."""
    if old is None or old.metadata.uid != new.metadata.uid:
        return True
    return newer(new.version, old.version)
