"""Showing that nothing happens, for so long that it would have: measured by what goes on meanwhile, not by a clock.

Here: waits during which a check must hold at every look. Not here: worlds (`world`), deadlines (`waiting`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from e2e.world import E2E, LEADER, steadily

ROOM = 4.0
"""How much longer than asked for a wait may take on a busy machine: so many times."""


async def while_leading(w: E2E, seconds: float, check: Callable[[], Any]) -> None:
    """Assert `check` (plain or async) again and again while an operator leads on, by its own renewals, for so long."""
    seen: list[datetime] = []

    async def led() -> bool:
        await _checked(check)
        renewed = str((await w.read(LEADER))["spec"].get("renewTime") or "")
        if renewed:
            seen.append(datetime.fromisoformat(renewed))
        return bool(seen) and (seen[-1] - seen[0]).total_seconds() >= seconds

    await steadily(led, ROOM * seconds + 20, f"an operator should lead on for {seconds:g}s", step=0.25)


async def while_writing(w: E2E, seconds: float, check: Callable[[], Any]) -> None:
    """Assert `check` (plain or async) again and again while the clients' writes go on: needs no API server."""

    async def acknowledged() -> float:
        return float((await w.verbs.truth())["records"]["acknowledged"])

    rate = w.world.options.load_rate * len(w.world.layout.targets)
    enough = await acknowledged() + rate * seconds

    async def written() -> bool:
        await _checked(check)
        return await acknowledged() >= enough

    await steadily(written, ROOM * seconds + 20, f"{seconds:g}s of records should be written", step=0.25)


async def _checked(check: Callable[[], Any]) -> None:
    answer = check()
    if answer is not None:
        await answer
