"""The floor as one table that is drawn again and again: servers, OSTs, what happened last.

Here: from a `Scene` to what rich prints. Pure. Not here: looking (`observer`), when it is drawn (`stage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ostkeeper.testbed.scene import Scene, ServerSeen, TargetSeen, short

CONDITIONS = {"runs": "green", "hangs": "bold yellow", "cut off": "bold yellow"}
"""How a server's true condition is coloured; everything else is red."""
VERDICTS = {
    "Healthy": "green",
    "Suspect": "yellow",
    "Absent": "yellow",
    "Degraded": "yellow",
    "Silent": "yellow",
    "Fenced": "magenta",
}
STATES = {"Mounted": "green", "Mounting": "yellow", "Releasing": "yellow", "Recovering": "yellow", "Held": "magenta"}


WIDE = 112
"""Columns from which servers and OSTs stand side by side."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole picture. `lines`: what happened last, the newest at the end."""

    scene: Scene
    lines: Sequence[str] = ()
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield it for a terminal of this width."""
        yield Text()
        yield Text(self.title, style="bold cyan")
        floor = Table.grid(padding=(0, 4))
        both = (servers(self.scene.servers), targets(self.scene.targets))
        for row in [both] if options.max_width >= WIDE else [(both[0],), (both[1],)]:
            floor.add_row(*row)
        yield floor
        yield watchdog(self.scene)
        for number, line in enumerate(self.lines):
            style = "dim" if number < len(self.lines) - 1 else ""
            yield Text(line, style=style, no_wrap=True, overflow="ellipsis")


def servers(rows: Sequence[ServerSeen]) -> Table:
    """One line a server: the truth, its feeds, what the operator makes of it, what it serves."""
    table = _table({"SERVER": 6, "REALLY": 8, "FEEDS": 6, "OPERATOR SAYS": 13, "SERVES": 6})
    for row in rows:
        table.add_row(
            row.name,
            Text(row.condition, style=CONDITIONS.get(row.condition, "bold red")),
            feeds(row),
            Text(row.verdict or "-", style=VERDICTS.get(row.verdict, "bold red" if row.verdict else "dim")),
            str(len(row.mounts)) if row.mounts else Text("-", style="dim"),
        )
    return table


def feeds(server: ServerSeen) -> Text:
    """A dot a feed, left to right as they are declared: full while there is current."""
    text = Text()
    for feed in server.feeds:
        text.append("● " if feed.on else "○ ", style="green" if feed.on else "red")
    return text


def targets(rows: Sequence[TargetSeen]) -> Table:
    """One line an OST: home, who may mount it, its state, where it really is."""
    table = _table({"OST": 7, "HOME": 6, "NODE": 6, "STATE": 10, "REALLY MOUNTED ON": 17})
    for row in rows:
        away = bool(row.node) and row.node != row.home
        really = ", ".join(row.mounted_on)
        table.add_row(
            short(row.target),
            row.home,
            Text(row.node or "-", style="yellow" if away else ""),
            Text(row.state or "-", style=STATES.get(row.state, "red" if row.state else "dim")),
            Text(really or "nowhere", style="bold red" if len(row.mounted_on) != 1 else "green"),
        )
    return table


def _table(columns: dict[str, int]) -> Table:
    """Heading → least width, so that nothing jumps when a word changes."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, width in columns.items():
        table.add_column(heading, header_style="bold", no_wrap=True, min_width=width)
    return table


def watchdog(scene: Scene) -> Text:
    """What the safety monitor has seen so far."""
    if scene.overlaps:
        return Text(f"MOUNTED TWICE {scene.overlaps} times: the safety monitor saw it", style="bold white on red")
    return Text(f"safety monitor: {scene.samples:,} looks at every disk, none was ever held twice", style="green")
