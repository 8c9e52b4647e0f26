"""Steps between phases are counted by name, and what nobody took is told."""

import pytest

from ostkeeper.api.phases import EDGES
from ostkeeper.sim.coverage import edge_name, every_edge, merged, never_taken

pytestmark = pytest.mark.sim


def test_every_edge_of_every_type_has_a_name_of_its_own() -> None:
    names = every_edge()
    assert len(names) == len(set(names))
    assert all(edge_name(type_, edge.source, edge.target) in names for edge in EDGES for type_ in edge.types)


def test_what_was_never_taken_is_what_no_run_counted() -> None:
    some, rest = every_edge()[0], every_edge()[1:]
    counts = merged([{some: 1}, {some: 2}, {rest[0]: 1}])
    assert counts[some] == 3
    assert never_taken(counts) == rest[1:]
