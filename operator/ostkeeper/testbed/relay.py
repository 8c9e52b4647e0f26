"""The relays behind one simulated device, and the ways in which they disobey it.

Here: asking and switching the power plane over its socket; `stuck` and `lie`. Not here: the protocols in front (`bmc`,
`pdu`), what follows from a relay (`power`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

RelayKind = Literal["normal", "stuck", "lie"]


class PlaneGone(Exception):
    """The power plane does not answer, or refused. The device then gives its client an error, never a state."""


@dataclass(slots=True)
class RelayState:
    """What one relay says."""

    on: bool
    watts: float


class PlaneClient:
    """Asks the plane, one connection a question: questions are rare, and one that waits for a death blocks no other."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask one question. Raises PlaneGone."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline())
            finally:
                writer.close()
        except (OSError, ValueError) as error:
            raise PlaneGone(f"power plane {self._path}: {request}: {error!r}") from error
        if "error" in answer:
            raise PlaneGone(f"power plane {self._path}: {request}: {answer['error']}")
        return answer


class Relay:
    """One feed as its device sees it: obedient, stuck (acknowledges, does not move), or lying about that as well."""

    def __init__(self, plane: PlaneClient, feed: str) -> None:
        self.feed = feed
        self._plane = plane
        self._kind: RelayKind = "normal"
        self._claimed: bool | None = None

    def disobey(self, kind: RelayKind) -> None:
        """Set the fault. `normal` tells and does the truth again."""
        self._kind = kind
        self._claimed = None

    async def get(self) -> RelayState:
        """What the device reads. Raises PlaneGone."""
        answer = await self._plane.ask({"op": "get", "feed": self.feed})
        state = RelayState(bool(answer["on"]), float(answer.get("watts", 0.0)))
        if self._claimed is not None:
            state.on = self._claimed
        return state

    async def set(self, on: bool) -> None:
        """What the device does on a command. Off returns when whatever hung on it is dead. Raises PlaneGone."""
        if self._kind == "lie":
            self._claimed = on
        elif self._kind == "normal":
            await self._plane.ask({"op": "set", "feed": self.feed, "on": on})

    async def reset(self) -> None:
        """Interrupt the power, as "chassis control: hard reset" does. Raises PlaneGone."""
        if self._kind == "normal":
            await self._plane.ask({"op": "reset", "feed": self.feed})
