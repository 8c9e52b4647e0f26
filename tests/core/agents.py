"""The scripted agents: what runs on each server once it is up, every half second and when the pair changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.machines import ANSWER_TIME, MMP_WAIT, UNMOUNT_TIME, Server, grant_for
from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS, OSSStatus, PairRef, Released
from ostkeeper.api.osspair import Assignment, Nonce, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e
from ostkeeper.core.heartbeats import newer

if TYPE_CHECKING:
    from core.world import World

TURN = 0.5
"""Seconds between two looks of an agent at its disks and mounts."""
REPORT_EVERY = 60.0
KUBELET_EVERY = 10.0
FRESH_READ = 0.2


class Agents:
    """Both agents, and the kubelets beside them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.leases: dict[str, e.Beat] = {}
        for place, server in enumerate(world.floor.servers.values()):
            world.clock.every(TURN, lambda s=server: self._turn(s), first=0.1 * place)  # type: ignore[misc]
            world.clock.every(KUBELET_EVERY, lambda s=server: self._kubelet(s), first=0.3)  # type: ignore[misc]

    def _reaches(self, server: Server) -> bool:
        return self.world.api_up and server.api_link

    def shown(self, pair: OSSPair) -> None:
        """A commit of the pair is on its way to the agents' watches."""
        for server in self.world.floor.servers.values():
            self.world.clock.after(0.05, lambda s=server: self._see(s, pair))  # type: ignore[misc]

    def _see(self, server: Server, pair: OSSPair) -> None:
        if not server.lives or not self._reaches(server):
            return
        if server.seen is None or newer(pair.version, server.seen.version):
            self._take(server, pair)

    def list_anew(self, server: Server, pair: OSSPair) -> None:
        """Its watch lists anew: what is stored counts, whatever version it has."""
        self.world.clock.after(0.2, lambda: self._take(server, pair))

    def _take(self, server: Server, pair: OSSPair) -> None:
        server.seen = pair
        status = pair.status
        if status is None:
            return
        server.epoch_seen = max([server.epoch_seen, *(a.epoch for a in status.assignments)])
        if status.nonce is not None and status.nonce.value != server.nonce:
            server.nonce = status.nonce.value
            self._question(server, status.nonce)
        self._act(server)

    def _question(self, server: Server, nonce: Nonce) -> None:
        seen_at, boots = self.world.now, server.boots
        self.world.floor.write_blocks()
        if nonce.failover and nonce.level >= 0:
            server.bases.setdefault((nonce.failover, nonce.level), seen_at)

        def answer() -> None:
            if server.lives and server.boots == boots and server.nonce == nonce.value:
                server.answer = self.world.floor.answer(server, nonce.value, nonce.failover, nonce.level, seen_at)
                self._report(server)

        self.world.clock.after(ANSWER_TIME, answer)

    def _answer_again(self, server: Server) -> None:
        """An open question is answered by what is so now."""
        nonce = server.seen.status.nonce if server.seen and server.seen.status else None
        if nonce and nonce.open and server.answer and server.answer.value == nonce.value:
            answer = self.world.floor.answer(server, nonce.value, nonce.failover, nonce.level, self.world.now)
            server.answer = answer

    # --- every half second

    def _turn(self, server: Server) -> None:
        if not server.lives:
            return
        if self._reaches(server):
            pair = self.world.store.find(OSSPair, "pair-a")
            if pair is not None and (server.seen is None or newer(pair.version, server.seen.version)):
                self._take(server, pair)
        self._ping(server)
        self._report(server)
        self._renew(server)
        self._act(server)

    def _interval(self, server: Server) -> float:
        return seconds(server.seen.spec.heartbeat.interval) if server.seen else 2.0

    def _timeout(self, server: Server) -> float:
        return seconds(server.seen.spec.heartbeat.timeout) if server.seen else 10.0

    def _ping(self, server: Server) -> None:
        peer = self.world.floor.partner(server)
        if server.lan_link and peer.lan_link and peer.lives and not peer.filtered:
            server.peer_at, server.peer_boot = self.world.now, peer.boot

    def _renew(self, server: Server) -> None:
        if not self._reaches(server) or self.world.now - server.lease_at < self._interval(server) - 0.01:
            return
        if server.refusal or self._wrong_board(server):
            return
        server.lease_at = self.world.now
        oss = self.world.store.find(OSS, server.name)
        report = oss.version if oss and oss.status and server.reported is not None else ""
        unread = server.blind if server.disk_link else tuple(self.world.floor.disks)
        beat = e.Beat(server.name, server.boot, self.world.store.tick(), report, unread)
        if server.pending_since >= 0:
            beat = replace(beat, pending=self.world.now - server.pending_since, pending_why="422 Invalid: status.disks")
        self.leases[server.name] = beat
        self.world.beat(beat)

    def _wrong_board(self, server: Server) -> bool:
        """Another machine under a pinned name gets no lease and no mount."""
        status = server.seen.status if server.seen else None
        pinned = next((b.system_uuid for b in status.boards if b.node == server.name), "") if status else ""
        return pinned not in ("", server.board or f"board-{server.name}")

    def _report(self, server: Server) -> None:
        """Write the report when it says something new, or once a minute."""
        if not self._reaches(server):
            return
        now = self.world.now
        self._answer_again(server)
        status = self.world.floor.report(server, self._timeout(server))
        told = server.reported
        same = told is not None and _content(status) == _content(told)
        if same and now - server.reported_at < REPORT_EVERY:
            return
        oss = self.world.store.find(OSS, server.name)
        if oss is None:
            return
        if server.reports_refused:
            server.pending_since = now if server.pending_since < 0 else server.pending_since
            return
        server.pending_since = -1.0
        kept = oss.status.conditions if oss.status else ()
        server.reported, server.reported_at = status, now
        self.world.store.replace(OSS, server.name, "", status.model_copy(update={"conditions": kept}))

    def _kubelet(self, server: Server) -> None:
        node = self.world.nodes.get(server.name)
        if node is None:
            return
        if server.system == "running" and self._reaches(server):
            self.world.set_node(e.NodeState(server.name, "True", f"{self.world.now:.1f}", node.conditions))
        elif node.ready == "True" and self.world.now - float(node.heartbeat) > 40:
            self.world.set_node(e.NodeState(server.name, "Unknown", node.heartbeat, node.conditions))

    # --- mounts

    def _act(self, server: Server) -> None:
        """Mount, let go, or stop the machine, as the pair last seen says."""
        if not server.lives or server.refusal or self._wrong_board(server):
            return
        for target in sorted(self.world.floor.disks):
            grant = grant_for(server, target)
            if grant is None:
                continue
            mount = server.mounts.get(target)
            if grant.node != server.name:
                if mount and grant.intent == "Serve" and grant.epoch > mount.epoch and grant.epoch >= server.epoch_seen:
                    self._stop(server, target)
                    return
            elif grant.intent == "Serve":
                if mount is None:
                    self._begin(server, grant)
                elif not mount.foreign:
                    mount.epoch = max(mount.epoch, grant.epoch)
            elif grant.intent == "Release":
                self._release(server, grant)

    def _stop(self, server: Server, target: str) -> None:
        """Rule 5: its successor has it; never unmount over it."""
        server.stops += 1
        self.world.log.world_says(f"{server.name} stops its machine: {target} is served elsewhere")
        self.world.floor.reset(server)

    def _begin(self, server: Server, grant: Assignment) -> None:
        now = self.world.now
        if (
            not self._reaches(server)
            or now - server.lease_at > self._timeout(server)
            or grant.epoch < server.epoch_seen
        ):
            if grant.epoch < server.epoch_seen and grant.epoch < max(a.epoch for a in self._assignments(server)):
                pass  # an older grant that still stands: other targets moved on since
            else:
                return
        boots = server.boots

        def fresh() -> None:
            pair = self.world.store.find(OSSPair, "pair-a")
            stands = pair is not None and pair.status is not None and pair.status.assignment(grant.target) == grant
            declared = any(ost.target == grant.target for ost in self.world.store.every(OST))
            usable = declared and server.lives and server.boots == boots and self._reaches(server)
            if usable and stands and grant.target not in server.mounts:
                self._mount(server, grant)

        self.world.clock.after(FRESH_READ, fresh)

    def _assignments(self, server: Server) -> tuple[Assignment, ...]:
        status = server.seen.status if server.seen else None
        return status.assignments if status else ()

    def _mount(self, server: Server, grant: Assignment) -> None:
        """The agent's refusals, then the mount with the wait that the kernel asks for."""
        floor = self.world.floor
        floor.write_blocks()
        disk = floor.disks[grant.target]
        blind = not server.disk_link or grant.target in server.blind
        if blind or (disk.state(self.world.now) == "Advancing" and disk.mark != server.name):
            return
        wait, cleared = 0.0, False
        if disk.dirty:
            if disk.mark not in ("", server.name) and not _warranted(grant, disk.mark):
                return
            cleared = self._may_clear(grant, disk.mark)
            wait = 0.0 if cleared else MMP_WAIT
        floor.begin_mount(server, grant.target, grant.epoch, wait, cleared)

    def _may_clear(self, grant: Assignment, mark: str) -> bool:
        warrant = grant.warrant.certificate
        failover = self.world.store.find(Failover, warrant.failover) if warrant else None
        certificate = failover.status.certificate if failover and failover.status else None
        if warrant is None or certificate is None or certificate.digest != warrant.digest:
            return False
        own = any(p.target == grant.target and p.mark == p.reported == mark for p in certificate.disks)
        return certificate.clear_mmp and own and grant.intent == "Serve"

    def _release(self, server: Server, grant: Assignment) -> None:
        target, mount = grant.target, server.mounts.get(grant.target)
        done = server.released.get(target)
        if (done and done.epoch == grant.epoch) or (mount and mount.foreign):
            return
        if mount is None:
            disk = self.world.floor.disks[target]
            if disk.state(self.world.now) == "Clean":
                self._released(server, grant, dirty=False)
            elif disk.mark == server.name and disk.state(self.world.now) == "Still":
                self._released(server, grant, dirty=True)
            return
        if server.stuck_unmount or server.stalled or target in server.releasing or not mount.done:
            return
        server.releasing[target] = grant.epoch
        boots = server.boots

        def unmounted() -> None:
            server.releasing.pop(target, None)
            if server.system in ("running", "hung") and server.boots == boots:
                self.world.floor.end_mount(server, target)
                self._released(server, grant, dirty=False)

        self.world.clock.after(UNMOUNT_TIME, unmounted)

    def _released(self, server: Server, grant: Assignment, *, dirty: bool) -> None:
        server.released[grant.target] = Released(epoch=grant.epoch, boot_id=server.boot, dirty=dirty)
        self._report(server)


def _warranted(grant: Assignment, mark: str) -> bool:
    """A block with another server's mark is mounted only under that server's certificate or its dirty release."""
    w = grant.warrant
    return w.certificate is not None or (w.released is not None and w.released.dirty and w.released.node == mark)


def _content(status: OSSStatus) -> OSSStatus:
    return status.model_copy(update={"uptime_seconds": 0})


def pair_ref() -> PairRef:
    """The pair that both servers belong to."""
    return PairRef(namespace="scratch", name="pair-a")
