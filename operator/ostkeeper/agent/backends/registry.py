"""Which backend serves a target. Here: the one function that picks it. Not here: what backends do."""

from __future__ import annotations

from ostkeeper.agent.backends.base import Backend, BackendUnavailableError
from ostkeeper.agent.backends.ext4 import Ext4Backend
from ostkeeper.agent.children import Children

_SERVED = {Ext4Backend.kind: Ext4Backend}


def backend_for(kind: str, target: str, source: str, children: Children) -> Backend:
    """The backend for `spec.backend` of an OST: `kind` is the name of its one member, `source` its device or dataset.

    Raises `BackendUnavailableError` for a kind that this release does not serve.
    """
    made = _SERVED.get(kind)
    if made is None:
        raise BackendUnavailableError(kind)
    return made(target, source, children)
