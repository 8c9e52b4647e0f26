"""Who speaks to the testbed's API server: users and groups, as `--token-auth-file` knows them.

Here: names and groups. Not here: tokens (drawn at start, `controlplane_files`), nor what anyone may do (`deploy/`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

OPERATOR_NAMESPACE = "ostkeeper-system"


@dataclass(frozen=True, slots=True)
class Identity:
    """One user. `groups` come on top of system:authenticated, which the API server adds itself."""

    user: str
    groups: tuple[str, ...] = ()


ADMIN = Identity("admin", ("system:masters",))
"""May do everything, past RBAC; admission policies hold for it all the same."""
OPERATOR = Identity(
    f"system:serviceaccount:{OPERATOR_NAMESPACE}:ostkeeper-operator",
    ("system:serviceaccounts", f"system:serviceaccounts:{OPERATOR_NAMESPACE}"),
)
"""The operator's service account, as a pod's token would name it."""
ONCALL = Identity("alice", ("ostkeeper:oncall",))
"""A person who may approve, once `deploy/` has bound the group."""
VIEWER = Identity("bob", ("ostkeeper:viewers",))
"""A person who may look, and who must not be able to approve."""
STRANGER = Identity("mallory")
"""Authenticated, and nothing else."""


def agent(node: str) -> Identity:
    """Return the agent of `node`, named as the client certificate of a real one: a CN has 64 characters at most."""
    return Identity(node if len(node) > 48 else f"ostkeeper:agent:{node}", ("ostkeeper:agents",))


def everyone(nodes: Iterable[str] = ()) -> tuple[Identity, ...]:
    """Return all of the above, with an agent for each of `nodes`."""
    return (ADMIN, OPERATOR, ONCALL, VIEWER, STRANGER, *(agent(node) for node in nodes))
