"""A Kubernetes Node that is deleted is no witness any more: its server is judged by the others."""

from __future__ import annotations

import pytest

from core.pairs import at_rest
from ostkeeper.api.common import condition_of
from ostkeeper.core.events import NODE, Gone, NodeState

pytestmark = pytest.mark.scenario


def test_server_whose_node_was_deleted_is_degraded_no_longer() -> None:
    world = at_rest()
    world.set_node(NodeState("oss1", "Unknown", "0"))
    world.run(5)
    degraded = condition_of(world.status.conditions, "Degraded")
    assert degraded is not None
    assert "kubelet is silent" in degraded.message
    world.nodes.pop("oss1")
    world.tell(world.operator, Gone(NODE, "oss1"))
    world.run(10)
    degraded = condition_of(world.status.conditions, "Degraded")
    assert degraded is not None
    assert degraded.status == "False"
