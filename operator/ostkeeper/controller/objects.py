"""Raw JSON of the API server to models, and where each object stands in the REST API.

Here: paths, parsing once per resourceVersion, what a parse error says. Not here: calls (`client`), what is done with a
bad object (`index`).
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import ValidationError

from ostkeeper.api import OSS, OST, Failover, FenceDevice, OSSPair
from ostkeeper.api.common import (
    API_VERSION,
    GROUP,
    PENDING_ANNOTATION,
    REPORT_ANNOTATION,
    UNREAD_ANNOTATION,
    VERSION,
    Resource,
    pending_of,
    unread_of,
)
from ostkeeper.core.events import Beat, NodeState

Json = dict[str, Any]
ResourceT = TypeVar("ResourceT", bound=Resource)

KINDS: dict[str, type[Resource]] = {kind.kind: kind for kind in (FenceDevice, OSSPair, OST, OSS, Failover)}
"""The five kinds by name."""


class BadObjectError(Exception):
    """An object that our models do not accept. The text says which field, and why."""

    def __init__(self, kind: str, key: str, reasons: str) -> None:
        super().__init__(f"{kind} {key}: {reasons}")
        self.kind, self.key, self.reasons = kind, key, reasons


def collection(kind: type[Resource], namespace: str = "") -> str:
    """The path of a collection; all namespaces if none is given."""
    base = f"/apis/{GROUP}/{VERSION}"
    return f"{base}/namespaces/{namespace}/{kind.plural}" if namespace and kind.namespaced else f"{base}/{kind.plural}"


def path(kind: type[Resource], key: str) -> str:
    """The path of one object, by `namespace/name` (or the name alone)."""
    namespace, _, name = key.rpartition("/")
    return f"{collection(kind, namespace)}/{name}"


def key_of(raw: Json) -> str:
    """`namespace/name` of raw JSON, or the name alone."""
    meta = raw.get("metadata") or {}
    namespace, name = meta.get("namespace", ""), meta.get("name", "")
    return f"{namespace}/{name}" if namespace else name


def body(kind: type[Resource], key: str, version: str = "", **fields: Any) -> Json:
    """An object to be sent: its type, name, the resourceVersion that guards it, and `fields`."""
    namespace, _, name = key.rpartition("/")
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    if version:
        metadata["resourceVersion"] = version
    return {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": metadata, **fields}


class Parser:
    """Parses each version of each object once and hands out the same model again.

    After a restore of etcd a resourceVersion comes again with other content, so a hit takes equal JSON as well. OSTs, of
    which there may be 10,000, are trusted by their version, until `clear`.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Resource, Json | None]] = {}

    def parse(self, kind: type[ResourceT], raw: Json) -> ResourceT:
        """From raw JSON. Raises BadObjectError."""
        meta = raw.get("metadata") or {}
        uid, version = meta.get("uid", ""), meta.get("resourceVersion", "")
        known_version, known, known_raw = self._known.get(uid, ("", None, None))
        if known_version == version and isinstance(known, kind) and (known_raw is None or known_raw == raw):
            return known
        try:
            parsed = kind.parse(raw)
        except ValidationError as error:
            raise BadObjectError(kind.kind, key_of(raw), why(error)) from error
        if uid:
            self._known[uid] = (version, parsed, None if kind is OST else raw)
        return parsed

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._known.pop(uid, None)

    def clear(self) -> None:
        """The API server's history went back: what a version stands for is open again."""
        self._known.clear()


def why(error: ValidationError) -> str:
    """Fields and reasons of a parse error, in one line."""
    faults = (f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:4])
    return "; ".join(faults)


def beat(raw: Json) -> Beat:
    """An agent's lease. What is not of the expected form is left empty: it is no sign of anything."""
    meta = raw.get("metadata") or {}
    annotations = meta.get("annotations") or {}
    holder = str((raw.get("spec") or {}).get("holderIdentity") or "")
    node, slash, boot_id = holder.partition("/")
    name = str(meta.get("name", ""))
    pending, why = pending_of(annotations.get(PENDING_ANNOTATION))
    return Beat(
        node=name,
        boot_id=boot_id if slash and node == name else "",
        version=str(meta.get("resourceVersion", "")),
        report=str(annotations.get(REPORT_ANNOTATION, "")),
        unread=unread_of(annotations.get(UNREAD_ANNOTATION)),
        pending=pending,
        pending_why=why,
    )


def node_state(raw: Json, lease: Json | None) -> NodeState:
    """A Node, with its kubelet's lease where there is one."""
    conditions = cast("list[Json]", (raw.get("status") or {}).get("conditions") or [])
    ready = next((c for c in conditions if c.get("type") == "Ready"), {})
    renewed = ((lease or {}).get("spec") or {}).get("renewTime") or ""
    return NodeState(
        name=str((raw.get("metadata") or {}).get("name", "")),
        ready=str(ready.get("status", "Unknown")),
        heartbeat=f"{ready.get('lastHeartbeatTime') or ''} {renewed}".strip(),
        conditions=tuple((str(c.get("type", "")), str(c.get("status", ""))) for c in conditions),
    )
