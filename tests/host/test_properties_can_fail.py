"""The properties of the agent's machine can fail: each catches agents that are broken on purpose, over its own draws.

Here: the mutants by the property that has to catch them. An agent has its invariants beside its rules (`hostgate`), so most
mutants lose both: what is tried is whether the property would notice. Not here: the operator's (`tests/core`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.drawn import caught
from host import test_properties as properties
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core import hostevents as ev
from ostkeeper.core import hostgate, hosttargets, hostview, permission
from ostkeeper.core.events import Seen
from ostkeeper.core.host import HostMachine
from ostkeeper.sim.mutants import Patch, at_work

pytestmark = pytest.mark.scenario


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *args, **named: value


def _then(after: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
    """What is done to the agent's memory after each event of the world."""

    def broken(right: Any) -> Any:
        def take(host: Any, event: Any, now: float) -> None:
            right(host, event, now)
            after(host, event)

        return take

    return broken


def _forgets_mounts(host: Any, event: Any) -> None:
    """What an earlier agent has mounted is not remembered."""
    if isinstance(event, ev.ClusterKnown):
        host.records = {}


def _forgets_epochs(host: Any, event: Any) -> None:
    """Nor which epochs it has seen."""
    if isinstance(event, ev.ClusterKnown):
        host.epochs = {}


def _only_known_targets(host: Any, event: Any) -> None:
    """A mount is remembered where its OST was seen before."""
    if isinstance(event, ev.ClusterKnown):
        host.records = {name: record for name, record in host.records.items() if name in host.targets}


def _only_read_targets(host: Any, event: Any) -> None:
    """A mount is remembered where its disk was read before."""
    if isinstance(event, ev.ClusterKnown):
        read = [name for name, target in host.targets.items() if target.reading]
        host.records = {name: record for name, record in host.records.items() if name in read}


def _seen_is_believed(host: Any, event: Any) -> None:
    """What it sees of the pair is the highest that it has seen."""
    pair = event.object if isinstance(event, Seen) else None
    status = pair.status if isinstance(pair, OSSPair) else None
    for a in status.assignments if status else ():
        host.epochs = dict.fromkeys(host.epochs, a.epoch)


def _unread(right: Any) -> Any:
    """It mounts upon what it has seen: no fresh read is waited for."""

    def prepared(turn: Any, target: Any, grant: Any) -> bool:
        right(turn, target, grant)
        record = turn.host.record(target.name)
        return record is not None and record.epoch == grant.epoch

    return prepared


def _says_it_again(_: Any) -> Any:
    """What is watched and renewed is said anew with every step."""
    return lambda self, effect: iter([effect])


UNGUARDED: tuple[Patch, ...] = ((hostgate, "refused", _always(None)), (hostgate, "told", _always("")))
OLDER = properties.test_older_versions_of_the_pair_never_widen_a_permission_and_change_no_end
RESTART = properties.test_restart_of_the_agent_at_any_point_changes_no_mount_and_no_end
ORDER = properties.test_order_in_which_an_agent_first_sees_its_world_does_not_matter
IDLE = properties.test_woken_for_nothing_the_agent_asks_for_nothing
RESTS = properties.test_agent_without_faults_comes_to_what_the_pair_says_and_stays_there

MUTANTS: dict[str, tuple[Callable[..., None], tuple[Patch, ...]]] = {
    "mounts-on-a-cached-serve": (
        OLDER,
        (*UNGUARDED, (hosttargets, "_prepared", _unread), (hostview, "take", _then(_seen_is_believed))),
    ),
    "unmounts-on-a-cached-release": (OLDER, (*UNGUARDED, (hostview, "take", _then(_seen_is_believed)))),
    "forgets-mounts": (RESTART, ((hostview, "take", _then(_forgets_mounts)),)),
    "forgets-epochs": (RESTART, (*UNGUARDED, (hostview, "take", _then(_forgets_epochs)))),
    "only-known-targets": (ORDER, ((hostview, "take", _then(_only_known_targets)),)),
    "only-read-targets": (ORDER, ((hostview, "take", _then(_only_read_targets)),)),
    "says-it-again": (IDLE, ((HostMachine, "_on_change", _says_it_again),)),
    "never-mounts": (RESTS, ((permission, "ordered", _always(None)),)),
    "never-releases": (RESTS, ((hosttargets, "_release", _always(None)),)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_property_catches_the_mutant_over_its_own_draws(mutant: str) -> None:
    test, patches = MUTANTS[mutant]
    with at_work(patches):
        found = caught(test)
    assert found, f"{mutant}: nobody notices"
