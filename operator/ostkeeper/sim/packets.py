"""An exchange with one fence device: packets, sent again until answered or late, as the real drivers do (`fencing`).

Here: one device and its faults, one order, one reading, one question who it is. Not here: cords and what is really on
(`power`), what an answer proves (`core`).

The deadline is looked at where a packet leaves and nowhere else: what has left arrives, whatever became of its sender.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from ostkeeper.core.identity import matches
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.sim.kernel import Actor, Kernel

Ordered = Callable[[bool, bool, str], None]
"""Told how an order ended: acknowledged, sent at all, why not."""
Told = Callable[[PowerState, str, float | None, str, str], None]
"""Told a reading: state, sign of reboots, watts, identity of the device that answered, why it is unknown."""
Identified = Callable[[str, str, str], None]
"""Told who answers: system UUID of its board, identity, sign of reboots; all empty where nobody answers."""
PATIENCE = 0.15
"""Seconds that a packet waits for its answer before another is sent; half as long again each time, at most a second."""
MOST_PATIENCE = 1.0


class Links(Protocol):
    """The network: who reaches whom, and how long a packet takes."""

    def reaches(self, source: str, sink: str) -> bool:
        """A packet that leaves now arrives."""
        ...

    def delay(self, source: str, sink: str) -> float:
        """Seconds that it takes."""
        ...


class Device:
    """One BMC or PDU. The words of its faults are attributes: set them at any time."""

    __slots__ = (
        "bmc_of", "boots", "delay", "fell", "lag", "latency", "leads_to", "liar", "lied", "loss", "measures", "name", "orders",
        "password", "reads_on", "relays", "sign", "silent", "stuck",
    )  # fmt: skip

    def __init__(self, name: str, bmc_of: str = "", *, sign: bool = True, measures: bool = True) -> None:
        self.name = name
        self.bmc_of = bmc_of
        """The server that it is part of; empty: a PDU."""
        self.relays: dict[str, bool] = {}
        """What is really on: by outlet, or by "" for a BMC's server."""
        self.latency = (0.01, 0.05)
        """Seconds from packet to answer: at least, at most."""
        self.loss = 0.0
        """Share of the packets that are lost, each way."""
        self.silent = self.stuck = self.liar = self.reads_on = False
        """silent: answers nothing. stuck: acknowledges an off and switches nothing. liar: the same, and reads OFF."""
        self.lied: set[str] = set()
        """Outlets that read OFF because a liar was told to switch them off."""
        self.delay = 0.0
        """Seconds from the acknowledgement of an off until the relay has switched; it reads ON until then."""
        self.lag = 0.0
        """Seconds in which the meters come down, in steps, after an outlet has switched off."""
        self.fell: dict[str, tuple[float, float]] = {}
        """By outlet: when it last switched off, and its load before."""
        self.orders: dict[str, int] = {}
        self.password = True
        """It takes the password that the operator has."""
        self.leads_to = ""
        """The device that answers at its address in its place; empty: itself."""
        self.boots = 1
        self.sign = sign
        self.measures = measures

    def switched(self, outlet: str) -> int:
        """Number an order that has arrived for an outlet: a later one overtakes what an earlier one has still to do."""
        self.orders[outlet] = self.orders.get(outlet, 0) + 1
        return self.orders[outlet]

    @property
    def boot(self) -> str:
        """The sign by which its reboots show; a BMC has none."""
        return f"{self.name}#{self.boots}" if self.sign and not self.bmc_of else ""


class Room(Protocol):
    """What packets find at the other end."""

    @property
    def devices(self) -> Mapping[str, Device]:
        """By name."""
        ...

    def answers(self, device: Device) -> bool:
        """It answers at all."""
        ...

    def leaves(self, who: str, feed: Feed, on: bool) -> None:
        """A packet with an order leaves whoever ordered it."""
        ...

    def obey(self, feed: Feed, on: bool) -> None:
        """An order has arrived."""
        ...

    def ordered(self, who: str, feed: Feed, on: bool) -> None:
        """An order has ended, for whoever sent it."""
        ...

    def told(self, who: str, feed: Feed, began: float, state: PowerState) -> None:
        """A reading that began then is answered."""
        ...

    def at(self, name: str) -> Device:
        """The device that answers at the address of the one that is declared."""
        ...

    def seen(self, feed: Feed) -> tuple[PowerState, str, float | None]:
        """What it says of one feed."""
        ...

    def identity(self, name: str) -> str:
        """The identity that it reports."""
        ...

    def board(self, name: str) -> str:
        """The system UUID that it answers."""
        ...


class Talk(ABC):
    """One exchange with one device: sent again until answered or late. `answered` is called once."""

    __slots__ = (
        "again", "answered", "began", "deadline", "done", "feed", "identity", "kernel", "network", "on", "patience", "room",
        "sender", "sent", "who",
    )  # fmt: skip
    about_outlet: ClassVar[bool] = True
    switches: ClassVar[bool] = False

    def __init__(
        self,
        room: Room,
        kernel: Kernel,
        network: Links,
        sender: str,
        who: Actor,
        feed: Feed,
        deadline: float,
        answered: Callable[..., None],
        on: bool = True,
        identity: str = "",
    ) -> None:
        """`who` sends and hears; `deadline` in true seconds; `on`: what an `Order` orders; `identity`: to whom alone."""
        self.room, self.kernel, self.network = room, kernel, network
        self.sender, self.who, self.feed, self.deadline = sender, who, feed, deadline
        self.answered, self.on, self.identity = answered, on, identity
        self.began = kernel.now
        self.patience = PATIENCE
        self.again = 0.0
        """When the next packet is due, should no answer have come."""
        self.sent = self.done = False

    def send(self) -> None:
        """Send a packet, if it is not too late. It is sent again only if it may have to be: most are answered."""
        if self.done:
            return
        kernel = self.kernel
        device = self.room.devices.get(self.feed.device)
        if device is None or kernel.now >= self.deadline:
            self.end(f"{self.feed}: no answer in time" if self.sent else f"{self.feed}: NOT sent: too late")
            return
        self.sent = True
        if self.switches:
            self.room.leaves(self.sender, self.feed, self.on)
        self.again = min(kernel.now + self.patience, self.deadline)
        self.patience = min(MOST_PATIENCE, self.patience * 1.5)
        name, network = device.name, self.network
        if network.reaches(self.sender, name) and kernel.random.random() >= device.loss:
            wait = network.delay(self.sender, name) + kernel.random.uniform(*device.latency)
            kernel.after(wait, kernel.net, self.arrive)
            if kernel.now + 2 * wait < self.again:
                return
        kernel.at(self.again, self.who, self.send)
        self.again = math.inf

    def arrive(self) -> None:
        """A packet reaches the device."""
        device, kernel = self.room.at(self.feed.device), self.kernel
        if self.room.answers(device):
            known = not self.about_outlet or self.feed.outlet in device.relays
            answer = (self.act(device) if known else ()) if device.password else None
            name = self.feed.device
            if self.network.reaches(name, self.sender) and kernel.random.random() >= device.loss:
                kernel.after(self.network.delay(name, self.sender), self.who, self.hear, answer)
                return
        kernel.at(self.again, self.who, self.send)
        self.again = math.inf

    def hear(self, answer: tuple[object, ...] | None) -> None:
        """An answer is back: the first one counts; None: a wrong password; empty: no such outlet."""
        if self.done:
            return
        if self.kernel.now > self.deadline:
            self.end(f"{self.feed}: no answer in time")
        elif not answer:
            self.end(f"{self.feed}: {'refused the password' if answer is None else 'no such outlet'}")
        else:
            self.done = True
            self.tell(*answer)

    @abstractmethod
    def act(self, device: Device) -> tuple[object, ...]:
        """Do what the packet asks, at the device; what it answers."""

    def tell(self, *answer: object) -> None:
        """Hand on an answer that arrived in time."""
        self.answered(*answer)

    @abstractmethod
    def end(self, why: str) -> None:
        """Hand on that there is none."""


class Order(Talk):
    """On or off. Answered as `Ordered`."""

    __slots__ = ()
    switches = True

    def act(self, device: Device) -> tuple[object, ...]:
        """See `Talk`."""
        answers = self.room.identity(device.name)
        if not matches(self.identity, answers):
            return (
                False,
                False,
                f"WrongIdentity: reports {answers or 'no identity'}, {self.identity} is expected; NOT sent",
            )
        self.room.obey(self.feed, self.on)
        return True, True, ""

    def tell(self, *answer: object) -> None:
        """See `Talk`."""
        self.room.ordered(self.sender, self.feed, self.on)
        super().tell(*answer)

    def end(self, why: str) -> None:
        """See `Talk`."""
        self.done = True
        self.room.ordered(self.sender, self.feed, self.on)
        self.answered(False, self.sent, why)


class Reading(Talk):
    """What a feed reads. Answered as `Told`."""

    __slots__ = ()

    def act(self, device: Device) -> tuple[object, ...]:
        """See `Talk`."""
        seen = self.room.seen(self.feed)
        self.room.told(self.sender, self.feed, self.began, seen[0])
        return *seen, self.room.identity(device.name), ""

    def end(self, why: str) -> None:
        """See `Talk`."""
        self.done = True
        self.answered(PowerState.UNKNOWN, "", None, "", why)


class Identity(Talk):
    """Who it is. Answered as `Identified`."""

    __slots__ = ()
    about_outlet = False

    def act(self, device: Device) -> tuple[object, ...]:
        """See `Talk`."""
        return self.room.board(device.name), self.room.identity(device.name), device.boot

    def end(self, why: str) -> None:
        """See `Talk`."""
        self.done = True
        self.answered("", "", "")
