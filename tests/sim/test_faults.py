"""Faults are what people say, and can be written down."""

import json

import pytest

from ostkeeper.sim.faults import KINDS, Fault, Kind, parse

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_sentence_of_every_kind_is_understood_as_that_kind(kind: Kind) -> None:
    args = tuple(f"thing{number}" for number, _ in enumerate(kind.subjects))
    assert parse(kind.says(args)) == Fault(kind.name, 0.0, None, args)


def test_fault_comes_back_from_json_as_it_was() -> None:
    fault = Fault("cut", 3.5, 40.0, ("oss1", "api"))
    assert Fault.parse(json.loads(json.dumps(fault.wire()))) == fault


def test_words_that_name_no_fault_are_answered_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"host \{host\} dies"):
        parse("host oss1 is unhappy")
