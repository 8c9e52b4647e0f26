"""The power plane: the single truth about which server of the testbed has power.

Here: relays (PDU outlets, the chassis relay behind each BMC), wiring, dead supplies, and what follows from them:
a server runs while its chassis relay is on and any live feed has current. Switching off returns when the server is
really dead; switching on returns at once, as a real device does. Not here: the protocols by which a relay is switched
and their faults (`bmc`, `pdu`), how a server dies (`host`), the Unix socket for other processes (`powersocket`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ostkeeper.core.power import Feed

RUNNING_WATTS = 210.0
"""What a running server draws, shared by its live feeds."""
STANDBY_WATTS = 9.0
"""What a BMC draws while its server is off, shared by the live feeds."""
BMC_PREFIX = "bmc:"
"""A feed named `bmc:HOST` is the chassis relay behind that server's BMC; every other feed is `PDU/OUTLET`."""


class UnknownFeed(KeyError):
    """Nobody wired a feed of this name. The text says which, and which there are."""

    def __str__(self) -> str:
        return str(self.args[0])


class Board(Protocol):
    """What stands behind the relays of one server. Both methods may be repeated, and are never run at the same time."""

    async def power_on(self) -> None:
        """Boot. Returns when the server's first process runs."""
        ...

    async def power_off(self) -> None:
        """Die without syncing. Returns when no process is left and nothing can write to a disk any more."""
        ...


AcListener = Callable[[str, bool], Awaitable[None]]
Log = Callable[[str, dict[str, Any]], None]


class PowerPlane:
    """Relays and wiring of one testbed. All methods belong to the event loop that the boards run on."""

    def __init__(
        self, wiring: Mapping[str, Sequence[Feed]], *, boot_delay: float = 0.3, log: Log | None = None
    ) -> None:
        """`wiring`: server → its feeds. `boot_delay`: seconds from power to the first process (POST), default 0.3."""
        self._feeds = {host: list(feeds) for host, feeds in wiring.items()}
        self._outlets = {feed: True for feeds in wiring.values() for feed in feeds}
        self._relays = dict.fromkeys(wiring, True)
        self._dead_supplies: set[tuple[str, Feed]] = set()
        self._boards: dict[str, Board] = {}
        self._up = dict.fromkeys(wiring, False)
        self._locks = {host: asyncio.Lock() for host in wiring}
        self._tasks: set[asyncio.Future[None]] = set()
        self._listeners: list[AcListener] = []
        self._log = log or (lambda _what, _fields: None)
        self.boot_delay = boot_delay
        self.errors: list[str] = []
        """Boots that failed, in words. A testbed with an entry here is broken."""

    # What is -------------------------------------------------------------------------------------------------------

    def hosts(self) -> list[str]:
        """Every server, in the order of the wiring."""
        return list(self._feeds)

    def feeds(self, host: str) -> list[Feed]:
        """The outlets that this server's cords are really in, which need not be what the manifests say."""
        return list(self._feeds[host])

    def outlet(self, pdu: str, outlet: str) -> bool:
        """Whether this outlet's relay is closed. Raises `UnknownFeed`."""
        feed = Feed(pdu, outlet)
        if feed not in self._outlets:
            raise UnknownFeed(f"no outlet {feed}; there are {', '.join(sorted(map(str, self._outlets)))}")
        return self._outlets[feed]

    def bmc(self, host: str) -> bool:
        """Whether the chassis relay of this server is closed, which is what a truthful BMC reads. Raises `UnknownFeed`."""
        if host not in self._relays:
            raise UnknownFeed(f"no BMC of {host}; there are those of {', '.join(sorted(self._relays))}")
        return self._relays[host]

    def ac(self, host: str) -> bool:
        """Whether any live feed of this server has current. Without it the BMC is dead, too. Raises `UnknownFeed`."""
        if host not in self._feeds:
            raise UnknownFeed(f"no server {host}; there are {', '.join(sorted(self._feeds))}")
        return bool(self._live_feeds(host))

    def powered(self, host: str) -> bool:
        """Whether this server has power: chassis relay and current. It may still have crashed or hang."""
        return self._relays[host] and self.ac(host)

    def watts(self, pdu: str, outlet: str) -> float:
        """The load on one outlet in watts, as its current meter shows it."""
        if not self.outlet(pdu, outlet):
            return 0.0
        return sum(self.host_watts(host).get(Feed(pdu, outlet), 0.0) for host in self._feeds)

    def host_watts(self, host: str) -> dict[Feed, float]:
        """What this server draws from each of its live feeds, in watts."""
        live = self._live_feeds(host)
        draw = RUNNING_WATTS if self._relays[host] else STANDBY_WATTS
        return {feed: draw / len(live) for feed in live}

    def _live_feeds(self, host: str) -> list[Feed]:
        return [f for f in self._feeds[host] if self._outlets[f] and (host, f) not in self._dead_supplies]

    # What is done --------------------------------------------------------------------------------------------------

    def connect(self, host: str, board: Board) -> None:
        """Put a board behind a server's relays. It is booted by `start`, or when its power comes next."""
        self._boards[host] = board

    def on_ac_change(self, callback: AcListener) -> None:
        """Have `callback(host, ac)` awaited whenever a server loses its last feed, or gets its first one back.

        An off waits for it, so that the BMC is as dead as its server when the off is acknowledged; an on does not.
        """
        self._listeners.append(callback)

    async def start(self) -> None:
        """Boot every server that has power, all at once, without the POST. Raises what a boot raised."""
        await asyncio.gather(*(self._settle(host) for host in self._boards))

    async def stop(self) -> None:
        """Cut every server for good: afterwards nothing boots by itself any more."""
        for task in self._tasks:
            task.cancel()
        for host in self._boards:
            self._relays[host] = False
        await asyncio.gather(*(self._settle(host) for host in self._boards))

    async def set_outlet(self, pdu: str, outlet: str, on: bool) -> None:
        """Switch one outlet. Off returns when every server that lost its power by it is dead. Raises `UnknownFeed`."""
        await self.set_outlets([Feed(pdu, outlet)], on)

    async def set_outlets(self, outlets: Iterable[Feed], on: bool) -> None:
        """Switch several outlets at one moment."""
        chosen = list(outlets)
        for feed in chosen:
            self.outlet(feed.device, feed.outlet)
        before = self._ac_map()
        self._outlets.update(dict.fromkeys(chosen, on))
        for feed in chosen:
            self._log("outlet", {"feed": str(feed), "on": on})
        await self._after_wiring_change(before)

    async def set_bmc(self, host: str, on: bool) -> None:
        """Switch the chassis relay. Off returns when the server is dead. Raises `UnknownFeed`."""
        self.bmc(host)
        self._relays[host] = on
        self._log("bmc", {"host": host, "on": on})
        await self._follow(host)

    async def swap_wires(self, one: str, other: str, pdus: Iterable[str] = ()) -> None:
        """Swap the cords of two servers: all, or those in the named PDUs. What that cuts, dies; what it feeds, boots."""
        before = self._ac_map()
        only = set(pdus)
        stay = {h: [f for f in self._feeds[h] if only and f.device not in only] for h in (one, other)}
        move = {h: [f for f in self._feeds[h] if not only or f.device in only] for h in (one, other)}
        self._feeds[one] = stay[one] + move[other]
        self._feeds[other] = stay[other] + move[one]
        self._log("wires", {"swapped": [one, other], "pdus": sorted(only)})
        await self._after_wiring_change(before)

    async def set_supply(self, host: str, pdu: str, alive: bool) -> None:
        """Kill or mend the power supply of a server that hangs on this PDU: its cord then carries nothing."""
        before = self._ac_map()
        chosen = {(host, feed) for feed in self._feeds[host] if feed.device == pdu}
        self._dead_supplies = self._dead_supplies - chosen if alive else self._dead_supplies | chosen
        self._log("supply", {"host": host, "pdu": pdu, "alive": alive})
        await self._after_wiring_change(before)

    async def crash(self, host: str) -> None:
        """Kill the server while its power stays on, as a kernel panic does. It stays dead until its power is cycled."""
        async with self._locks[host]:
            await self._boards[host].power_off()
        self._log("crash", {"host": host})

    async def reset(self, host: str) -> None:
        """Cut the server and boot it again, as sysrq `b` or a reset button does. Nothing happens without power."""
        async with self._locks[host]:
            await self._boards[host].power_off()
            self._up[host] = False
        self._log("reset", {"host": host})
        await self._follow(host)

    # How it follows ------------------------------------------------------------------------------------------------

    def _ac_map(self) -> dict[str, bool]:
        return {host: self.ac(host) for host in self._feeds}

    async def _after_wiring_change(self, before: dict[str, bool]) -> None:
        changed = [(host, self.ac(host)) for host in self._feeds if self.ac(host) != before[host]]
        for host, ac in changed:
            self._log("ac", {"host": host, "on": ac})
        told = [listener(host, ac) for host, ac in changed if not ac for listener in self._listeners]
        for host, ac in changed:
            for listener in self._listeners if ac else ():
                self._in_background(listener(host, ac))
        await asyncio.gather(*told, *(self._follow(host) for host, _ac in changed))

    def _in_background(self, what: Awaitable[None]) -> None:
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, host: str) -> None:
        """Wait for a death, but not for a boot."""
        if not self.powered(host):
            await self._settle(host)
        elif not self._up[host]:
            self._in_background(self._boot_later(host))

    async def _boot_later(self, host: str) -> None:
        await asyncio.sleep(self.boot_delay)
        try:
            await self._settle(host)
        except Exception as error:
            self.errors.append(f"{host} did not boot: {error!r}")
            self._log("boot-failed", {"host": host, "error": repr(error)})

    async def _settle(self, host: str) -> None:
        """Make the board follow the relays as they are now, whoever changed them while we waited for the lock."""
        board = self._boards.get(host)
        if board is None:
            return
        async with self._locks[host]:
            want = self.powered(host)
            if want == self._up[host]:
                return
            began = time.monotonic()
            self._up[host] = want
            await (board.power_on() if want else board.power_off())
            self._log("running" if want else "dead", {"host": host, "seconds": round(time.monotonic() - began, 4)})
