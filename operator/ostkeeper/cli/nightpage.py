"""Simulated nights as one HTML file that needs nothing else: no script, no font, no picture from anywhere.

Here: layout. Not here: any of what is said.
"""

from __future__ import annotations

from html import escape

from ostkeeper.cli.nightshow import again, shapes, verdict
from ostkeeper.sim.config import Site
from ostkeeper.sim.fmea import Row
from ostkeeper.sim.fmea import Table as Analysis
from ostkeeper.sim.narrate import Line, Night

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; --ask: #b26a00; --good: #2e7d32; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
td.at { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.fault, .bad { color: var(--bad); font-weight: 600; } .verdict, .ask { color: var(--ask); } .target, .good { color: var(--good); }
.decision { font-weight: 600; } .trust, .floor { opacity: .75; }
summary { cursor: pointer; font-weight: 600; padding: .4rem 0; }
svg { width: 100%; height: auto; margin: .5rem 0 1rem; } svg text { font-size: 12px; fill: currentColor; }
"""


def night(site: Site, told: Night) -> str:
    """One night as a page."""
    pairs = "".join(
        f"<p>{escape(pair.key)}: {escape(' + '.join(pair.servers))}, {escape(pair.spec.failover.mode)}</p>"
        for pair in site.pairs
    )
    waits = "".join(f'<p class="ask">A person is needed: {escape(wait)}</p>' for wait in told.waits)
    bugs = "".join(
        f'<p class="bad">A bug, please report it (seed {told.seed}): {escape(v)}</p>' for v in told.violations
    )
    lines = "".join(map(_line, told.lines))
    osts = "".join(
        f"<tr><td>{escape(o.ost)}</td><td>{escape(o.home)}</td><td>{escape(o.node or '–')}</td><td>{escape(o.state)}</td>"
        f"<td>{o.away:.0f} s</td><td>{_again(o.away, o.back)}</td></tr>"
        for o in told.osts
    )
    ends = "".join(
        f"<tr><td>{escape(f.name)}</td><td>{escape(f.type)}</td><td>{escape(f.node)}</td><td>{escape(f.phase)}</td>"
        f"<td>{escape(f.answered_by)}</td><td>{escape(f.message)}</td></tr>"
        for f in told.failovers
    )
    body = (
        f"<h1>{escape(' + '.join(told.faults))}</h1>{pairs}{bugs}{waits}{_picture(told)}<h2>How each OST fared</h2>"
        f"{_table('OST,Home,Node,State,Away,Served again', osts)}<h2>What happened</h2>{_table('Second,Of,What', lines)}"
        f"<h2>Failovers</h2>{_table('Name,Type,Server,Phase,Decided by,Message', ends)}"
    )
    return _page("ostkeeper simulate", body)


def fmea(site: Site, table: Analysis) -> str:
    """The analysis as a page: every row of every pair that was played."""
    parts = [
        f'<h1>Failure modes and effects</h1><p class="{"good" if table.ok else "bad"}">{escape(verdict(table))}</p>'
    ]
    for pair, others in shapes(table):
        alike = f" <small>and {len(others)} of the same shape: {escape(', '.join(others))}</small>" if others else ""
        single = [row for row in table.singles if row.pairs == (pair,)]
        doubles = [row for row in table.doubles if row.pairs == (pair,)]
        bad = sum(1 for row in doubles if not row.ok)
        parts.append(f"<h2>{escape(pair)}{alike}</h2>{_rows(single)}")
        parts.append(
            f"<details><summary>{len(doubles)} double faults, {bad} leave something unserved</summary>{_rows(doubles)}</details>"
        )
    across = [row for row in table.doubles if len(row.pairs) > 1]
    if across:
        parts.append(f"<h2>Servers of two pairs at once</h2>{_rows(across)}")
    return _page("ostkeeper simulate --fmea", "".join(parts))


def _rows(rows: list[Row]) -> str:
    cells = "".join(
        f'<tr class="{"bad" if r.violations else "ask" if r.unserved else ""}"><td>{escape(" + ".join(r.faults))}'
        f"{f' (×{r.alike})' if r.alike > 1 else ''}</td><td>{escape(again(r))}</td><td>{escape(r.decided)}</td>"
        f"<td>{escape(r.why or '; '.join(r.violations))}</td></tr>"
        for r in rows
    )
    return _table("Fault,Served again,Decided,Why not", cells)


def _line(line: Line) -> str:
    return (
        f'<tr class="{line.sort}"><td class="at">+{line.at:.1f}</td><td>{escape(line.subject)}</td>'
        f"<td>{escape(line.words)}</td></tr>"
    )


def _again(away: float, back: float | None) -> str:
    if back is None:
        return '<span class="bad">not served</span>'
    return f"after {back:.0f} s" if away else "never away"


def _picture(told: Night) -> str:
    """One bar an OST over the night: green while it is served, with the moments of the faults."""
    wide, high, left = 1000, 22, 160
    scale = (wide - left - 10) / max(told.seconds, 1.0)
    rows = []
    for place, ost in enumerate(told.osts):
        top = place * high
        rows.append(f'<text x="0" y="{top + 15}">{escape(ost.ost)}</text>')
        rows.append(f'<rect x="{left}" y="{top + 4}" width="{told.seconds * scale:.1f}" height="14" fill="#2e7d32"/>')
        for begin, end in ost.spans:
            rows.append(
                f'<rect x="{left + begin * scale:.1f}" y="{top + 4}" width="{(end - begin) * scale:.1f}" height="14" '
                f'fill="#c62828"><title>away from second {begin:.0f} to {end:.0f}</title></rect>'
            )
    height = len(told.osts) * high + 4
    for line in told.lines:
        if line.sort == "fault":
            x = left + line.at * scale
            rows.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="currentColor" stroke-dasharray="3 3">'
                f"<title>{escape(line.words)}</title></line>"
            )
    return f'<svg viewBox="0 0 {wide} {height}" role="img" aria-label="when each OST was served">{"".join(rows)}</svg>'


def _table(titles: str, rows: str) -> str:
    heads = "".join(f"<th>{escape(title)}</th>" for title in titles.split(","))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )
