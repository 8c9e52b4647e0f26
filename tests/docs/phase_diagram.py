"""The phase diagram of README.md, drawn from the table that the planner walks. `python tests/docs/phase_diagram.py` prints it."""

from collections.abc import Iterable

from ostkeeper.api.phases import ALL_TYPES, EDGES, FIRST, TERMINAL, Edge


def mermaid() -> str:
    """Return the text of the diagram: one line an edge; a step that not all types take names those that do."""
    ends = (f"    {phase} --> [*]" for phase in TERMINAL)
    return "\n".join(["stateDiagram-v2", *_lines(FIRST), *_lines(EDGES), *ends]) + "\n"


def _lines(edges: Iterable[Edge]) -> list[str]:
    return [
        f"    {edge.source or '[*]'} --> {edge.target}"
        + (f": {', '.join(edge.types)}" if edge.types != ALL_TYPES else "")
        for edge in edges
    ]


if __name__ == "__main__":
    print(mermaid(), end="")
