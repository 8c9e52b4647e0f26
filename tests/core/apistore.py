"""An API server in memory: resourceVersions, optimistic concurrency, and what the CRDs' CEL refuses (`core.referee`).

The referee is on purpose not made of `core.invariants`: what the machine believes and what the API server refuses must
agree, and a test fails where they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Failover
from ostkeeper.core import invariants, referee
from ostkeeper.core.events import Outcome

ResourceT = TypeVar("ResourceT", bound=Resource)
Watcher = Callable[[Resource], None]


class RefusedError(Exception):
    """The API server refuses an object, as it would with 422; the text is what a rule says."""


def _judge(before: Resource | None, after: Resource) -> None:
    if told := referee.refusal(before, after):
        raise RefusedError(told)


class ApiStore:
    """All objects. Writes are immediate; latency, outages and who hears of them are the world's part."""

    def __init__(self) -> None:
        self.version = 1000
        self.objects: dict[tuple[str, str], Resource] = {}
        self.watcher: Watcher = lambda _: None
        self.refusals: list[str] = []
        self.broken: list[str] = []
        """Which invariants were broken by what was committed."""

    def find(self, kind: type[ResourceT], name: str) -> ResourceT | None:
        """The object of this kind and name; there is one namespace in this world."""
        found = self.objects.get((kind.kind, name))
        return found if isinstance(found, kind) else None

    def get(self, kind: type[ResourceT], name: str) -> ResourceT:
        """As `find`, but it has to be there."""
        found = self.find(kind, name)
        assert found is not None, f"{kind.kind} {name} does not exist"
        return found

    def every(self, kind: type[ResourceT]) -> tuple[ResourceT, ...]:
        """All objects of a kind, by name."""
        return tuple(o for _, o in sorted(self.objects.items()) if isinstance(o, kind))

    def tick(self) -> str:
        """The next resourceVersion."""
        self.version += 1
        return str(self.version)

    def put(self, obj: ResourceT) -> ResourceT:
        """Store without any check but the schema: what a person or the test's setup does."""
        before = self.objects.get((obj.kind, obj.name))
        meta: dict[str, Any] = {"resource_version": self.tick()}
        if before is None:
            meta |= {"uid": obj.metadata.uid or f"uid-{obj.name}-{self.version}", "generation": 1}
        stored = obj.model_copy(update={"metadata": obj.metadata.model_copy(update=meta)})
        stored = type(obj).parse(stored.wire())
        self.objects[obj.kind, obj.name] = stored
        self.watcher(stored)
        return stored

    def create(self, obj: Resource) -> tuple[Outcome, Resource | None, str]:
        """Create; CONFLICT where it exists."""
        if (obj.kind, obj.name) in self.objects:
            return Outcome.CONFLICT, None, f"{obj.kind} {obj.name} exists"
        try:
            _judge(None, obj)
            return Outcome.OK, self.put(obj), ""
        except (RefusedError, ValidationError) as refusal:
            return self._refused(refusal)

    def replace(
        self, kind: type[Resource], name: str, version: str, status: Any
    ) -> tuple[Outcome, Resource | None, str]:
        """Replace the status, guarded by resourceVersion (empty: unguarded)."""
        before = self.objects.get((kind.kind, name))
        if before is None:
            return Outcome.GONE, None, f"{kind.kind} {name} does not exist"
        if version and before.version != version:
            return Outcome.CONFLICT, None, f"{kind.kind} {name} is at {before.version}, not {version}"
        after = before.model_copy(update={"status": status})
        try:
            _judge(before, after)
            self.broken += invariants.committed(before, after, lambda failover: self.find(Failover, failover))
            return Outcome.OK, self.put(after), ""
        except (RefusedError, ValidationError) as refusal:
            return self._refused(refusal)

    def edit(self, kind: type[ResourceT], name: str, **spec: Any) -> ResourceT:
        """A person edits the spec: the generation rises."""
        before = self.get(kind, name)
        wire = before.wire()
        after = kind.parse({**wire, "spec": {**wire.get("spec", {}), **spec}})
        _judge(before, after)
        meta = before.metadata.model_copy(update={"generation": before.metadata.generation + 1})
        return self.put(after.model_copy(update={"metadata": meta}))

    def _refused(self, refusal: Exception) -> tuple[Outcome, None, str]:
        self.refusals.append(str(refusal))
        return Outcome.REFUSED, None, str(refusal)
