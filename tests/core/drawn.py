"""Properties with their draws: the same examples in every run and every process, and a way to see that they can fail.

Here: how a property is drawn (examples that are written down come first, then what a fixed seed gives), and `caught`, which
runs the very same draws against a machine that is broken on purpose. Not here: what holds (`test_properties` of core and
host), how a machine is broken (`test_properties_can_fail`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st

SEED = 20261123
Check = Callable[..., None]


@dataclass(frozen=True)
class Draws:
    """What one property is tried with."""

    strategies: tuple[st.SearchStrategy[Any], ...]
    examples: tuple[tuple[Any, ...], ...]
    most: int

    def over(self, check: Check, *phases: Phase) -> Check:
        """The property as a test over these draws; its leading arguments that nothing is drawn for stay open."""
        tried: Check = given(*self.strategies)(check)
        for one in reversed(self.examples):
            tried = example(*one)(tried)
        quiet = list(HealthCheck)
        how = settings(max_examples=self.most, deadline=None, database=None, suppress_health_check=quiet, phases=phases)
        return seed(SEED)(how(tried))


PROPERTIES: dict[str, tuple[Check, Draws]] = {}
"""All that were declared, by the name of their test."""


def drawn(
    *strategies: st.SearchStrategy[Any], examples: Sequence[tuple[Any, ...]] = (), most: int = 12
) -> Callable[[Check], Check]:
    """Make a test of a property. `examples` are tried before any that are drawn: they are what a mutant was caught with."""

    def declare(check: Check) -> Check:
        draws = Draws(strategies, tuple(examples), most)
        PROPERTIES[check.__name__] = (check, draws)
        return draws.over(check, Phase.explicit, Phase.generate, Phase.shrink)

    return declare


def caught(test: Check, **given_: Any) -> str:
    """How the property fails over its draws, with the machine as it is now; empty: it holds. Nothing is shrunk."""
    declared = PROPERTIES.get(test.__name__)
    tried = declared[1].over(declared[0], Phase.explicit, Phase.generate) if declared else test
    try:
        tried(**given_)
    except Exception as failure:
        return f"{type(failure).__name__}: {failure}"
    return ""
