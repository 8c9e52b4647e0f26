"""The floor: power devices, disks and two servers with scripted agents, on virtual time. The truth that scenarios end on.

An agent here is a sketch of the real one (`ostkeeper.core.host` has its own tests): it renews its lease, reports disks
and its partner, answers nonces, mounts under Serve, lets go under Release and stops its machine when it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from core.clockwork import Clockwork
from ostkeeper.api.oss import MOST_TARGETS, DiskReport, NonceAnswer, OSSStatus, PeerReport, Released, TargetReport
from ostkeeper.api.osspair import Assignment, OSSPair
from ostkeeper.core.power import PowerReading, PowerState

UPDATE_INTERVAL = 5.0
"""MMP's update interval, seconds. A block that has not moved for twice as long is Still."""
MOUNT_TIME = 0.5
MMP_WAIT = 22.0
"""What the kernel waits before it mounts over a dirty MMP block."""
UNMOUNT_TIME = 0.5
ANSWER_TIME = 0.3
"""From seeing a nonce to the answer."""


@dataclass
class Disk:
    """One shared LUN with its MMP block."""

    target: str
    dirty: bool = False
    mark: str = ""
    third_host: bool = False
    """A host that is none of the pair has it mounted, and writes its block."""
    moved_at: float = -1000.0
    """When its block was last written."""

    def state(self, now: float) -> Literal["Clean", "Advancing", "Still"]:
        """As a partner's agent reads it."""
        if not self.dirty:
            return "Clean"
        return "Advancing" if now - self.moved_at < 2 * UPDATE_INTERVAL else "Still"


@dataclass
class Device:
    """A BMC (outlet "") or a PDU. `fault` is a word of the scenario."""

    name: str
    bmc_of: str = ""
    fault: str = ""
    """silent: answers nothing. stuck: acknowledges, switches nothing. lying: the same, and reads OFF. deaf: takes an off,
    then falls silent. slow: acknowledges late. reads-on: reads ON whatever is so."""
    outlets: dict[str, bool] = field(default_factory=dict)
    boots: int = 1
    has_sign: bool = True
    watts: float | None = None
    """Measured load of every outlet, whatever it reads."""
    leads_to: str = ""
    """The device that answers at its address in its place; empty: itself."""
    serial: str = ""
    """A PDU's serial number; a BMC tells its server's board. `-`: it reports no identity."""

    @property
    def boot(self) -> str:
        """The sign of reboots; a BMC has none."""
        return f"{self.name}#{self.boots}" if self.has_sign and not self.bmc_of else ""


@dataclass
class Mount:
    """A mounted target."""

    epoch: int
    done: bool = False
    cleared: bool = False
    foreign: bool = False
    done_at: float = -100000.0


@dataclass
class Server:
    """One OSS. `system`: off, booting, running, hung (frozen, may go on), panicked."""

    name: str
    feeds: tuple[tuple[str, str], ...]
    bmc: str
    system: str = "running"
    chassis: bool = True
    mains: bool = True
    boots: int = 1
    up_since: float = -100000.0
    agent: bool = True
    api_link: bool = True
    lan_link: bool = True
    filtered: bool = False
    """Nobody reaches its TCP port 7845."""
    disk_link: bool = True
    blind: tuple[str, ...] = ()
    """Targets whose LUN alone it cannot read."""
    stalled: bool = False
    """What it writes to its disks does not get through, and may at any moment; its readings do."""
    stuck_unmount: bool = False
    boot_time: float = 60.0
    board: str = ""
    mounts: dict[str, Mount] = field(default_factory=dict)
    releasing: dict[str, int] = field(default_factory=dict)
    released: dict[str, Released] = field(default_factory=dict)
    seen: OSSPair | None = None
    """The pair as its agent's watch showed it last."""
    epoch_seen: int = 0
    """Kept on the node, over boots."""
    lease_at: float = -1000.0
    """When it last renewed its lease."""
    peer_at: float = -1000.0
    peer_boot: str = ""
    nonce: str = ""
    answer: NonceAnswer | None = None
    bases: dict[tuple[str, int], float] = field(default_factory=dict)
    reported: OSSStatus | None = None
    reported_at: float = -1000.0
    errors: bool = False
    marks_unread: bool = False
    """Its agent has not read back the marks of its mounts yet."""
    hazards: tuple[str, ...] = ()
    refusal: str = ""
    reports_refused: bool = False
    """The API server takes its lease and refuses its reports."""
    pending_since: float = -1.0
    """Since when a newer report is not written; negative: none is pending."""
    stops: int = 0
    """How often rule 5 stopped the machine."""

    @property
    def boot(self) -> str:
        """Its boot ID."""
        return f"{self.name}-boot{self.boots}"

    @property
    def lives(self) -> bool:
        """Whether its agent runs."""
        return self.system == "running" and self.agent

    @property
    def could_write(self) -> bool:
        """Whether it has power and a system that is not reset: what it has mounted it may yet write to."""
        return self.system in ("running", "hung", "panicked")


class Floor:
    """The servers, disks and devices of one pair."""

    def __init__(self, clock: Clockwork, servers: Iterable[Server], devices: Iterable[Device], targets: Iterable[str]):
        self.clock = clock
        self.servers = {s.name: s for s in servers}
        self.devices = {d.name: d for d in devices}
        self.disks = {t: Disk(t) for t in targets}
        self.metered = False
        """The PDUs measure the load of their outlets."""
        self.recovery_time = 0.0
        """Seconds that clients need to reconnect to what was just mounted; 0: no Lustre, no recovery."""
        self.declared: Callable[[], set[str]] = lambda: set(self.disks)
        """Targets of the OSTs that exist."""
        self.fenced: list[tuple[str, str]] = []
        """By which device each server lost its power upon an order."""
        self.overlaps: list[str] = []
        """Every moment at which a second server began to mount what another could still write to."""

    def partner(self, server: Server) -> Server:
        """The other one."""
        return next(s for s in self.servers.values() if s is not server)

    # --- power

    def powered(self, server: Server) -> bool:
        """Whether any outlet feeds it and its chassis is on."""
        return server.chassis and self.fed(server)

    def fed(self, server: Server) -> bool:
        """Whether any outlet feeds it: its BMC lives."""
        return server.mains and any(self.devices[d].outlets[o] for d, o in server.feeds)

    def settle_power(self) -> None:
        """Servers go dark or boot as their power says."""
        for server in self.servers.values():
            if not self.powered(server):
                self._dark(server)
            elif server.system == "off":
                self._boot(server)

    def _dark(self, server: Server) -> None:
        if server.system == "off":
            return
        self.write_blocks()
        server.system = "off"
        self._forget(server)

    def _forget(self, server: Server) -> None:
        server.mounts.clear()
        server.releasing.clear()
        server.released.clear()
        server.answer, server.nonce, server.reported = None, "", None
        server.pending_since = -1.0
        server.bases.clear()
        server.peer_at = -1000.0  # which boot answered last it finds in its own OSS again

    def _boot(self, server: Server) -> None:
        server.system = "booting"
        server.boots += 1
        boot = server.boots

        def up() -> None:
            if server.system == "booting" and server.boots == boot:
                server.system, server.up_since = "running", self.clock.now
                server.peer_at = -1000.0

        self.clock.after(server.boot_time, up)

    def reset(self, server: Server) -> None:
        """A warm reset: rule 5, or a person's."""
        self.write_blocks()
        self._forget(server)
        server.system = "off"
        if self.powered(server):
            self._boot(server)

    def at(self, name: str) -> Device:
        """The device that answers at the address of another one's object."""
        declared = self.devices[name]
        return self.devices[declared.leads_to] if declared.leads_to else declared

    def replace_unit(self, name: str) -> None:
        """Another unit answers at the address. The cords stay in the old one, and its outlets stay on."""
        old = self.devices[name]
        new = Device(f"{name}-spare", outlets=dict.fromkeys(old.outlets, True), serial=f"{name}-spare")
        self.devices[new.name], old.leads_to = new, new.name

    def identity(self, device: Device) -> str:
        """The identity that it reports in each session."""
        if device.serial == "-":
            return ""
        if device.bmc_of:
            server = self.servers[device.bmc_of]
            return f"guid:{server.board or f'board-{server.name}'}"
        return f"serial:{device.serial or device.name}"

    def switch(self, device: Device, outlet: str, on: bool) -> bool:
        """An order arrives. Returns whether it is acknowledged."""
        if self.silent(device):
            return False
        was_on = [server.name for server in self.servers.values() if self.powered(server)]
        if device.fault in ("stuck", "lying") and not on:
            return True
        if device.bmc_of:
            self.servers[device.bmc_of].chassis = on
        else:
            device.outlets[outlet] = on
        if device.fault == "deaf" and not on:
            device.fault = "silent"
        dark = [name for name in was_on if not self.powered(self.servers[name])]
        self.fenced += [(device.name, name) for name in dark]
        self.settle_power()
        return True

    def silent(self, device: Device) -> bool:
        """Whether it answers nothing: broken, or a BMC without standby power."""
        return device.fault == "silent" or bool(device.bmc_of and not self.fed(self.servers[device.bmc_of]))

    def read(self, device: Device, outlet: str, began: float, ended: float) -> PowerReading:
        """What it answers about one feed, or that it does not."""
        if self.silent(device):
            return PowerReading(PowerState.UNKNOWN, began, ended, detail=f"{device.name}: no answer in time")
        if device.fault == "unauthorized":
            return PowerReading(PowerState.UNKNOWN, began, ended, detail=f"{device.name}: wrong password")
        on = self.servers[device.bmc_of].chassis if device.bmc_of else device.outlets[outlet]
        on = (on and device.fault != "lying") or device.fault == "reads-on"
        state = PowerState.ON if on else PowerState.OFF
        watts = self.load(device.name, outlet) if self.metered and not device.bmc_of else device.watts
        return PowerReading(state, began, ended, device.boot, watts, identity=self.identity(device))

    def load(self, device: str, outlet: str) -> float:
        """What really flows through an outlet: a server draws 200 W, the same from each of its live feeds."""
        total = 0.0
        for server in self.servers.values():
            live = [(d, o) for d, o in server.feeds if self.devices[d].outlets[o]]
            if (device, outlet) in live and self.powered(server):
                total += 200.0 / len(live)
        return total

    def restart_device(self, device: Device, outlets_on: bool) -> None:
        """A PDU reboots; its outlets come back as they were, or on."""
        device.boots += 1
        if outlets_on:
            device.outlets = dict.fromkeys(device.outlets, True)
        self.settle_power()

    # --- disks

    def write_blocks(self) -> None:
        """Every live mount writes its block."""
        for server in self.servers.values():
            if server.system != "running" or not server.disk_link or server.stalled:
                continue
            for target, mount in server.mounts.items():
                if mount.done:
                    self.disks[target].moved_at = self.clock.now
        for disk in self.disks.values():
            if disk.third_host:
                disk.moved_at = self.clock.now

    def writers(self, target: str) -> list[str]:
        """Servers that could write to a target now."""
        return [s.name for s in self.servers.values() if target in s.mounts and s.could_write]

    def begin_mount(self, server: Server, target: str, epoch: int, wait: float, cleared: bool) -> None:
        """A mount begins: from here on the server could write. The truth is checked here."""
        others = [n for n in self.writers(target) if n != server.name]
        if others:
            self.overlaps.append(f"{self.clock.now:.1f}s: {server.name} mounts {target}; {others[0]} could still write")
        mount = server.mounts[target] = Mount(epoch, cleared=cleared)
        disk, boot = self.disks[target], server.boots

        def done() -> None:
            if server.boots == boot and server.system in ("running", "hung") and server.mounts.get(target) is mount:
                mount.done, mount.done_at = True, self.clock.now
                disk.dirty, disk.mark, disk.moved_at = True, server.name, self.clock.now

        self.clock.after(wait + MOUNT_TIME, done)

    def end_mount(self, server: Server, target: str) -> None:
        """Unmounted cleanly."""
        server.mounts.pop(target, None)
        self.disks[target].dirty = False

    # --- reports

    def told(self, server: Server) -> list[str]:
        """The targets that a server's reports name: those that are assigned or mounted, then those that are declared."""
        status = server.seen.status if server.seen else None
        ours = {a.target for a in status.assignments} if status else set()
        first = [t for t in sorted(self.disks) if t in ours or t in server.mounts]
        return sorted([*first, *(t for t in sorted(self.declared()) if t not in first)][:MOST_TARGETS])

    def report(self, server: Server, ping_timeout: float) -> OSSStatus:
        """What the agent of a server says of itself."""
        self.write_blocks()
        return OSSStatus(
            boot_id=server.boot,
            system_uuid=server.board or f"board-{server.name}",
            agent_version="scripted",
            uptime_seconds=int(self.clock.now - server.up_since),
            epoch_seen=server.epoch_seen,
            nonce=server.answer,
            targets=tuple(self._target(server, t) for t in self.told(server)),
            disks=tuple(self.disk_report(server, t) for t in self.told(server)),
            peer=self._peer(server, ping_timeout),
            hazards=server.hazards,
            refusal=server.refusal,
        )

    def _peer(self, server: Server, timeout: float) -> PeerReport:
        if self.clock.now - server.peer_at < timeout:
            return PeerReport(state="Answering", boot_id=server.peer_boot)
        known = self.clock.now - server.up_since >= timeout
        return PeerReport(state="Silent" if known else "Unknown", boot_id=server.peer_boot)

    def disk_report(self, server: Server, target: str) -> DiskReport:
        """One disk as a server reads it."""
        disk = self.disks[target]
        if not server.disk_link or target in server.blind:
            return DiskReport(target=target, state="Unreadable")
        state = disk.state(self.clock.now)
        block = f"block-{target}" if state == "Still" else ""
        return DiskReport(target=target, state=state, mark=disk.mark, block=block, uuid=f"uuid-{target}")

    def _target(self, server: Server, target: str) -> TargetReport:
        mount = server.mounts.get(target)
        released = server.released.get(target)
        if mount is None:
            return TargetReport(target=target, state="Unmounted", released=released)
        if mount.foreign:
            return TargetReport(target=target, state="ForeignMount")
        state: Literal["Unmounting", "Mounted", "Mounting"] = "Mounted" if mount.done else "Mounting"
        if target in server.releasing:
            state = "Unmounting"
        errors, child = server.errors and mount.done, not mount.done
        recovery = ""
        if self.recovery_time and mount.done:
            recovery = "COMPLETE" if self.clock.now >= mount.done_at + self.recovery_time else "RECOVERING"
        mark = server.name if mount.done and not server.marks_unread else ""
        return TargetReport(
            target=target, state=state, epoch=mount.epoch, mark=mark, child=child, errors=errors, recovery=recovery
        )

    def answer(self, server: Server, value: str, failover: str, level: int, seen_at: float) -> NonceAnswer:
        """The answer to a nonce: read after it was seen."""
        self.write_blocks()
        base = seen_at
        if failover and level >= 0:
            base = server.bases.setdefault((failover, level), seen_at)
        foreign = [t for t in self.told(server) if t not in server.mounts]
        return NonceAnswer(
            value=value,
            moved=tuple(t for t in foreign if server.disk_link and self.disks[t].moved_at > base + 0.05),
            disks=tuple(self.disk_report(server, t) for t in self.told(server)),
            children=tuple(t for t, m in sorted(server.mounts.items()) if not m.done),
            mounted=tuple(t for t, m in sorted(server.mounts.items()) if m.done),
        )


def grant_for(server: Server, target: str) -> Assignment | None:
    """What the pair, as the server's agent sees it, says of one target."""
    status = server.seen.status if server.seen else None
    return status.assignment(target) if status else None
