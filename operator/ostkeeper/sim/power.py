"""BMCs, PDUs and cords: who has power, and what a device says of it. Its truth and its answers are two things.

Here: outlets and chassis as they really are, the cords as they really run, what a device does and says. Not here: the
packets of an exchange (`packets`), what a server does with its power (`hosts`), who orders what (`operators`), what a
reading proves (`core`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.core.identity import GUID, SERIAL
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.sim.config import Groups
from ostkeeper.sim.kernel import Actor, Kernel
from ostkeeper.sim.packets import Device, Identified, Identity, Links, Order, Ordered, Reading, Told

LOAD = 300.0
"""Watts of a server that runs."""


class Fed(Protocol):
    """A server, as its cords see it."""

    board: str
    chassis: bool
    """Its power button; a BMC's own state counts beside it."""
    repaired: bool
    """It is not broken: with power it would run."""

    def power(self, on: bool) -> None:
        """It has power, or has none. Told again without a change means nothing."""
        ...


class Floor(Protocol):
    """What of the world is needed here."""

    @property
    def kernel(self) -> Kernel:
        """Virtual time."""
        ...

    @property
    def network(self) -> Links:
        """Who reaches whom."""
        ...

    @property
    def hosts(self) -> Mapping[str, Fed]:
        """By name."""
        ...


class Watcher(Protocol):
    """Who compares all this with what must never be."""

    def leaves(self, who: str, feed: Feed, on: bool) -> None:
        """A packet with an order leaves an operator."""
        ...

    def lost_power(self, feed: Feed, server: str) -> None:
        """An off has arrived, and a server has no power any more."""
        ...

    def misled(self, feed: Feed, server: str) -> None:
        """A server has no power any more by an off to a device that is not the declared one."""
        ...

    def ordered(self, who: str, feed: Feed, on: bool) -> None:
        """An order has ended, for the operator that sent it."""
        ...

    def read(self, who: str, feed: Feed, began: float, state: PowerState) -> None:
        """A device answers a reading that began then."""
        ...


class Devices:
    """All fence devices and cords of a site."""

    def __init__(
        self,
        floor: Floor,
        declared: Iterable[FenceDevice],
        wires: Mapping[str, Groups],
        *,
        signs: bool = True,
        watts: bool = True,
    ) -> None:
        """`wires`: by server, the groups of feeds of which each must have one that is on."""
        self._floor = floor
        self.watcher: Watcher | None = None
        self.wires: dict[str, Groups] = dict(wires)
        self.mains: dict[str, bool] = dict.fromkeys(wires, True)
        """Whether there is anything at the other end of a server's cords."""
        self.devices: dict[str, Device] = {}
        for device in declared:
            is_bmc = device.spec.snmp_pdu is None
            owner = self._owner(device.name) if is_bmc else ""
            self.devices[device.name] = Device(device.name, owner, sign=signs and not is_bmc, measures=watts)
        for groups in self.wires.values():
            self._plug(groups)

    def _owner(self, name: str) -> str:
        """The server whose chassis a device switches: the one that alone has it, without an outlet, among its feeds."""
        having = [server for server, groups in self.wires.items() if any(Feed(name) in group for group in groups)]
        return having[0] if len(having) == 1 else ""

    def _plug(self, groups: Groups) -> None:
        for group in groups:
            for feed in group:
                if feed.device in self.devices:
                    self.devices[feed.device].relays.setdefault(feed.outlet, True)

    # --- the truth

    def is_on(self, feed: Feed) -> bool:
        """Whether a feed really gives power, if it gets any."""
        device = self.devices.get(feed.device)
        return True if device is None else device.relays.get(feed.outlet, True)

    def fed(self, server: str) -> bool:
        """Whether mains reach a server's supplies: its BMC lives."""
        return self.mains[server] and all(
            any(self.is_on(feed) for feed in group)
            for group in self.wires[server]
            if not any(self._is_bmc(feed) for feed in group)
        )

    def powered(self, server: str) -> bool:
        """Whether a server has power."""
        host = self._floor.hosts[server]
        if not (host.chassis and host.repaired and self.mains[server]):
            return False
        return all(any(self.is_on(feed) for feed in group) for group in self.wires[server])

    def _is_bmc(self, feed: Feed) -> bool:
        device = self.devices.get(feed.device)
        return device is not None and device.bmc_of != ""

    def settle(self) -> None:
        """Let every server have the power that it has by now."""
        for server, host in self._floor.hosts.items():
            host.power(self.powered(server))

    def switch(self, feed: Feed, on: bool) -> None:
        """Switch a feed, whoever does."""
        device = self.devices[feed.device]
        if not on and device.relays.get(feed.outlet):
            device.fell[feed.outlet] = (self._floor.kernel.now, self.watts(feed))
        device.relays[feed.outlet] = on
        device.lied.discard(feed.outlet)
        self.settle()

    def press(self, server: str, on: bool) -> None:
        """Somebody presses the power button of a server until it is on, or off."""
        host = self._floor.hosts[server]
        host.chassis = True if on else host.chassis
        bmc = next((feed for group in self.wires[server] for feed in group if self._is_bmc(feed)), None)
        if bmc is not None:
            self.switch(bmc, on)
        else:
            host.chassis = on
            self.settle()

    def plug_in(self, server: str, on: bool) -> None:
        """Mains come back to a server, or are gone: also to its BMC."""
        self.mains[server] = on
        self.settle()

    def power_by_hand(self, server: str) -> None:
        """Somebody walks there and puts everything on: mains, every outlet that it hangs on, and the button."""
        self.mains[server] = True
        for group in self.wires[server]:
            for feed in group:
                if feed.device in self.devices and not self.is_on(feed):
                    self.switch(feed, True)
        self.press(server, True)

    def swap(self, one: str, other: str) -> None:
        """Exchange the cords of two servers; each keeps its own BMC."""
        mine, theirs = self.wires[one], self.wires[other]
        self.wires[one] = self._cords(theirs) + self._chassis(mine)
        self.wires[other] = self._cords(mine) + self._chassis(theirs)
        self.settle()

    def _cords(self, groups: Groups) -> Groups:
        return tuple(group for group in groups if not any(self._is_bmc(feed) for feed in group))

    def _chassis(self, groups: Groups) -> Groups:
        return tuple(group for group in groups if any(self._is_bmc(feed) for feed in group))

    def reboot(self, name: str, on: bool = False) -> None:
        """A device starts anew; `on`: and with all its outlets on."""
        device = self.devices[name]
        device.boots += 1
        if on:
            device.relays = dict.fromkeys(device.relays, True)
            device.lied.clear()
            self.settle()

    def watts(self, feed: Feed) -> float:
        """What really flows through an outlet."""
        total = 0.0
        for server, groups in self.wires.items():
            for group in groups:
                if feed in group and self.is_on(feed) and self.powered(server):
                    total += LOAD / sum(1 for other in group if self.is_on(other))
        return total

    # --- what is asked over the network

    def order(
        self,
        sender: str,
        feed: Feed,
        on: bool,
        deadline: float,
        answered: Ordered,
        actor: Actor | None = None,
        identity: str = "",
    ) -> None:
        """Order one feed on or off; nothing is sent at or after `deadline` (true seconds). `actor`: who sends, and hears.

        Another device than the one of this identity refuses it, as a driver does before it sends.
        """
        who, floor = actor or self._floor.kernel.net, self._floor
        Order(self, floor.kernel, floor.network, sender, who, feed, deadline, answered, on, identity).send()

    def read(self, sender: str, feed: Feed, deadline: float, answered: Told, actor: Actor | None = None) -> None:
        """Read one feed: an answer by `deadline` at the latest, if only that there was none."""
        who = actor or self._floor.kernel.net
        Reading(self, self._floor.kernel, self._floor.network, sender, who, feed, deadline, answered).send()

    def identify(
        self, sender: str, name: str, deadline: float, answered: Identified, actor: Actor | None = None
    ) -> None:
        """Ask a device who it is."""
        who = actor or self._floor.kernel.net
        Identity(self, self._floor.kernel, self._floor.network, sender, who, Feed(name), deadline, answered).send()

    def answers(self, device: Device) -> bool:
        """Whether it answers at all: a BMC without standby power does not."""
        return not device.silent and (not device.bmc_of or self.fed(device.bmc_of))

    def leaves(self, who: str, feed: Feed, on: bool) -> None:
        """A packet with an order leaves whoever ordered it."""
        if self.watcher is not None:
            self.watcher.leaves(who, feed, on)

    def ordered(self, who: str, feed: Feed, on: bool) -> None:
        """An order has ended, for whoever sent it."""
        if self.watcher is not None:
            self.watcher.ordered(who, feed, on)

    def told(self, who: str, feed: Feed, began: float, state: PowerState) -> None:
        """A reading that began then is answered."""
        if self.watcher is not None:
            self.watcher.read(who, feed, began, state)

    def obey(self, feed: Feed, on: bool) -> None:
        """An order has arrived, at whatever device answers there."""
        lit, name = [server for server in self.wires if self.powered(server)], self.at(feed.device).name
        self._obey(Feed(name, feed.outlet), on)
        for server in lit:
            if self.watcher is not None and not self.powered(server):
                if name != feed.device:
                    self.watcher.misled(feed, server)
                self.watcher.lost_power(feed, server)

    def _obey(self, feed: Feed, on: bool) -> None:
        device = self.devices[feed.device]
        if not on and (device.stuck or device.liar):
            if device.liar:
                device.lied.add(feed.outlet)
            return
        if not on and device.delay and device.relays.get(feed.outlet):
            self._floor.kernel.after(
                device.delay, self._floor.kernel.net, self._late_off, feed, device.switched(feed.outlet)
            )
            return
        device.switched(feed.outlet)
        if device.relays.get(feed.outlet) != on or device.lied:
            self.switch(feed, on)

    def _late_off(self, feed: Feed, order: int) -> None:
        """The relay of a slow device switches, unless it was ordered otherwise since."""
        if self.devices[feed.device].orders.get(feed.outlet) != order:
            return
        lit = [server for server in self.wires if self.powered(server)]
        self.switch(feed, False)
        for server in lit:
            if self.watcher is not None and not self.powered(server):
                self.watcher.lost_power(feed, server)

    def seen(self, feed: Feed) -> tuple[PowerState, str, float | None]:
        """What a device says of one feed now."""
        device = self.at(feed.device)
        feed = Feed(device.name, feed.outlet)
        on = device.reads_on or (device.relays[feed.outlet] and not (device.liar and feed.outlet in device.lied))
        watts = self._shown(device, feed) if device.measures and not device.bmc_of else None
        return (PowerState.ON if on else PowerState.OFF), device.boot, watts

    def _shown(self, device: Device, feed: Feed) -> float:
        """What its meter shows: the truth, or, while it lags, four steps down to it."""
        since, load = device.fell.get(feed.outlet, (-math.inf, 0.0))
        age = self._floor.kernel.now - since
        if not age < device.lag:
            return self.watts(feed)
        return max(self.watts(feed), load * (1.0 - math.floor(4.0 * age / device.lag) / 4.0))

    def at(self, name: str) -> Device:
        """The device that answers at the address of the one that is declared."""
        device = self.devices[name]
        return self.devices[device.leads_to] if device.leads_to else device

    def lead(self, name: str, elsewhere: str) -> None:
        """Another device answers at the address of a declared one; empty: itself."""
        self.devices[name].leads_to = elsewhere

    def bmc_of(self, server: str) -> str:
        """The BMC of a server; empty: it has none."""
        return next((device.name for device in self.devices.values() if device.bmc_of == server), "")

    def spare(self, name: str) -> str:
        """A unit like a declared PDU that feeds nobody; its name."""
        like = self.devices[name]
        unit = Device(f"{name}-spare", sign=like.sign, measures=like.measures)
        unit.relays = dict.fromkeys(like.relays, True)
        self.devices[unit.name] = unit
        return unit.name

    def identity(self, name: str) -> str:
        """The identity that a device reports in each session."""
        board = self.board(name)
        return f"{GUID}{board}" if board else "" if self.devices[name].bmc_of else f"{SERIAL}{name}"

    def board(self, name: str) -> str:
        """The system UUID that a BMC answers."""
        owner = self.devices[name].bmc_of
        return self._floor.hosts[owner].board if owner else ""
