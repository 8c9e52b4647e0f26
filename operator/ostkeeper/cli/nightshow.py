"""Simulated nights on a terminal: the timeline, how each OST fared, the table of faults. Plain text where it is no terminal.

Here: layout. Not here: any of what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ostkeeper.core.claims import pair_key
from ostkeeper.sim.config import Site
from ostkeeper.sim.fmea import Row
from ostkeeper.sim.fmea import Table as Analysis
from ostkeeper.sim.narrate import Night

Advance = Callable[[], None]
STYLE = {
    "fault": "bold red",
    "verdict": "yellow",
    "decision": "bold",
    "target": "green",
    "trust": "magenta",
    "floor": "dim",
}
NARROW = 110
"""Columns that a line may have where it is not known how many there are."""


class _Pipe(Console):
    """A console whose reader may leave early, such as `head`: that is no failure of ours (`cli.main` handles it)."""

    def on_broken_pipe(self) -> None:
        """Raise what was caught, instead of ending with status 1."""
        raise BrokenPipeError


def _console() -> Console:
    console = _Pipe(highlight=False, soft_wrap=False)
    return console if console.is_terminal else _Pipe(highlight=False, width=NARROW, no_color=True)


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Give what counts one on. Shown on standard error, if that is a terminal, and gone in the end."""
    columns = (TextColumn(f"{what}:"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def night(site: Site, told: Night) -> None:
    """One night."""
    console = _console()
    for pair in site.pairs:
        osts = [o for o in site.osts if pair_key(o) == pair.key]
        console.print(f"{pair.key}: {' + '.join(pair.servers)}, {len(osts)} OSTs, {pair.spec.failover.mode}")
    lines = Table.grid(padding=(0, 2))
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for line in told.lines:
        lines.add_row(f"+{line.at:.1f}s", line.subject, Text(line.words, STYLE[line.sort]))
    console.print(lines)
    console.print()
    console.print(_served(told))
    for fo in told.failovers:
        by = f", decided by {fo.answered_by}" if fo.answered_by else ""
        console.print(f"{fo.type} {fo.name} of {fo.node}: {fo.phase}{by}")
    for wait in told.waits:
        console.print(Text(f"a person is needed: {wait}", "bold yellow"))
    for violation in told.violations:
        console.print(
            Text(f"A BUG, please report it with these manifests and seed {told.seed}: {violation}", "bold red")
        )


def _served(told: Night) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    for title in ("NAME", "HOME", "NODE", "STATE", "AWAY", "SERVED AGAIN"):
        table.add_column(title, no_wrap=True)
    for ost in told.osts:
        again = "never away" if not ost.away else "NOT SERVED" if ost.back is None else f"after {ost.back:.0f}s"
        style = "bold red" if ost.back is None else ""
        table.add_row(ost.ost, ost.home, ost.node or "-", ost.state, f"{ost.away:.0f}s", again, style=style)
    return table


def fmea(site: Site, table: Analysis) -> None:
    """The analysis: for each shape of pair all single faults, and the double ones after which something is not served."""
    console = _console()
    for pair, others in shapes(table):
        alike = f" (and {len(others)} of the same shape: {', '.join(others)})" if others else ""
        console.print(Text(f"{pair}{alike}: single faults", "bold"))
        console.print(_rows([row for row in table.singles if row.pairs == (pair,)]))
        doubles = [row for row in table.doubles if row.pairs == (pair,)]
        bad = [row for row in doubles if not row.ok]
        console.print(
            Text(f"{pair}: {len(doubles)} double faults, all served again after {len(doubles) - len(bad)}", "bold")
        )
        if bad:
            console.print(_rows(bad))
        console.print()
    across = [row for row in table.doubles if len(row.pairs) > 1]
    if across:
        console.print(Text("servers of two pairs at once", "bold"))
        console.print(_rows(across))
    console.print(verdict(table))


def shapes(table: Analysis) -> list[tuple[str, list[str]]]:
    """The pairs that were played, each with those that differ from it in names only."""
    groups: dict[str, list[str]] = {}
    for row in table.singles:
        members = groups.setdefault(row.played[0], [])
        if row.pairs[0] != row.played[0] and row.pairs[0] not in members:
            members.append(row.pairs[0])
    return list(groups.items())


def verdict(table: Analysis) -> str:
    """The analysis in one sentence."""
    bad = [row for row in table.singles if not row.ok]
    count = f"{len(table.singles)} single and {len(table.doubles)} double faults ({table.played} nights played)"
    if table.broken:
        return (
            f"{count}: A BUG: {len(table.broken)} nights showed what must never be; please report it with the manifests"
        )
    if not bad:
        return f"{count}: no single fault leaves an OST unserved without a person"
    kinds = "; ".join(dict.fromkeys(row.faults[0] for row in bad[:6]))
    return f"{count}: {len(bad)} single faults leave an OST unserved without a person: {kinds}{' …' if len(bad) > 6 else ''}"


def _rows(rows: list[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    table.add_column("FAULT", ratio=4, overflow="fold")
    table.add_column("SERVED AGAIN", no_wrap=True)
    table.add_column("DECIDED", no_wrap=True)
    table.add_column("WHY NOT", ratio=6, overflow="fold")
    for row in rows:
        why = row.why or "; ".join(row.violations)
        many = f" (×{row.alike})" if row.alike > 1 else ""
        style = "bold red" if row.violations else "yellow" if row.unserved else ""
        table.add_row(" + ".join(row.faults) + many, again(row), row.decided, why, style=style)
    return table


def again(row: Row) -> str:
    """When all was served again."""
    if row.seconds is None:
        return f"no: {len(row.unserved)} OSTs"
    return f"after {row.seconds:.0f}s" if row.interrupted else "never away"
