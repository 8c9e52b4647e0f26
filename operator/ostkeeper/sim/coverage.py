"""Which steps between phases were taken, counted by ourselves; and which of all that `api.phases` allows were not.

Here: names and counts of edges. Not here: what leads to a step (`core`), who counts them in a run (`checker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ostkeeper.api.phases import EDGES, FIRST


def every_edge() -> tuple[str, ...]:
    """All steps of all types, as `Type: From>To`; what is written first has nothing before the arrow."""
    return tuple(f"{type_}: {edge}" for edge in (*FIRST, *EDGES) for type_ in edge.types)


def edge_name(type_: str, source: str, target: str) -> str:
    """One step, as `every_edge` names it."""
    return f"{type_}: {source}>{target}"


def add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts to counts."""
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def merged(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of all, by name."""
    total: dict[str, int] = {}
    for each in counts:
        add(total, each)
    return dict(sorted(total.items()))


def never_taken(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Steps that `api.phases` allows and nobody took."""
    return tuple(edge for edge in every_edge() if not counts.get(edge))
