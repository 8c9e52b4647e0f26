"""The canary of one simulated operator: what `controller.leases` does beside its watch, on virtual time.

Here: when it is written, what its return proves, and what its absence or an older version of it says. Not here: the watch
itself (`watches`), staleness (`core.heartbeats`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostkeeper.core.heartbeats import CANARY_GAP
from ostkeeper.sim.store import Canary

if TYPE_CHECKING:
    from ostkeeper.sim.process import Process

CALL = 1.5
"""Seconds for one renewal."""


class Canaries:
    """Sings while its operator leads. A standby's would change nothing but the number of events."""

    __slots__ = ("_asked", "_began", "_every", "_process", "_song", "_turn", "_under_way", "_version")

    def __init__(self, process: Process, every: float) -> None:
        """`every`: seconds between two renewals when nobody asks for one."""
        self._process, self._every = process, every
        self._song = 0
        self._version = 0
        self._began: dict[int, float] = {}
        """When each canary that was not seen yet began to be written."""
        self._turn = 0
        """Which timer counts."""
        self._asked = self._under_way = False

    def start(self) -> None:
        """From now on."""
        self._began.clear()
        if not self._under_way:
            self._sing(self._turn)

    def stop(self) -> None:
        """Until `start`."""
        self._turn += 1

    def prove(self) -> None:
        """Renew it now; many who ask at once are served by one."""
        self._asked = True
        if not self._under_way:
            self._turn += 1
            self._process.world.kernel.after(0.0, self._process.actor, self._sing, self._turn)

    def _sing(self, turn: int) -> None:
        if turn != self._turn:
            return
        process = self._process
        began = process.now()
        self._song += 1
        song = self._song
        self._began[song] = began
        self._asked, self._under_way = False, True
        process.client.call_at_once(
            lambda: process.world.store.sing(process.token, song, self._version),
            lambda canary: self._sung(canary, song, began),
            CALL,
        )

    def _sung(self, canary: Canary | None, song: int, began: float) -> None:
        self._under_way = False
        if canary is not None:
            before, self._version = self._version, canary.version
            if canary.version < before:
                self._process.went_back()
            if canary.song != song:
                self._asked = True  # a conflict: the next one is guarded by what is stored
        self._check(began)
        wait = 0.01 if self._asked else max(0.01, began + self._every - self._process.now())
        self._turn += 1
        if self._process.election.term:
            self._process.world.kernel.after(wait, self._process.actor, self._sing, self._turn)

    def _check(self, now: float) -> None:
        """One that was written and never came back: the watch is deaf, whatever else it brings."""
        oldest = next(iter(self._began.values()), now)
        if now - oldest > CANARY_GAP:
            self._began.clear()
            self._process.deaf()

    def heard(self, canary: Canary) -> None:
        """Our own: it proves everything committed before it began to be written."""
        began = self._began.get(canary.song)
        if began is None:
            return
        for song in [song for song, at in self._began.items() if at <= began]:
            del self._began[song]
        self._process.proven(began)
