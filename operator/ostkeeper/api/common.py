"""What all kinds share: the base model, metadata, conditions, durations. Not here: anything of one kind only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "ostkeeper.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
HEARTBEAT_NAMESPACE = "ostkeeper-heartbeats"
"""The namespace of the agents' leases: of its own, so that RBAC can give an agent its lease and nothing else."""
REPORT_ANNOTATION = f"{GROUP}/report"
"""On an agent's lease: the resourceVersion of its last OSS report, so that silence is not taken for "unchanged"."""
UNREAD_ANNOTATION = f"{GROUP}/unread-disks"
"""On an agent's lease: the targets whose latest good disk reading is older than DISK_READING_MAX_AGE, separated by commas. Empty:
every disk was read. `none`: the agent reads no disk. `*`: more than UNREAD_NAMED disks are overdue, and all count as overdue."""
PENDING_ANNOTATION = f"{GROUP}/report-pending"
"""On an agent's lease, while a newer OSS report than the one that the lease names is not written: for how many seconds, and why, as
the API server or the connection said. Empty: no report is pending."""
PENDING_CHARACTERS = 240
REPORT_MAX_PENDING = 10.0
"""Seconds: the last report counts as current only until a newer one has been pending for this long."""
UNREAD_NAMED = 64
DISK_READING_MAX_AGE = 10.0
"""Seconds: a server says something about a disk only if it read that disk within this time."""


def unread_word(targets: tuple[str, ...] | None) -> str:
    """The value of UNREAD_ANNOTATION; None: the agent reads no disk."""
    if targets is None:
        return "none"
    return ",".join(targets) if len(targets) <= UNREAD_NAMED else "*"


def pending_word(since: float | None, why: str, now: float) -> str:
    """The value of PENDING_ANNOTATION. `since`: when the report was first tried; None: none is pending."""
    if since is None:
        return ""
    return f"{max(0.0, now - since):.0f} {' '.join(why.split())}"[:PENDING_CHARACTERS].strip()


def pending_of(word: str | None) -> tuple[float | None, str]:
    """Seconds and reason of a value of PENDING_ANNOTATION; None: no report is pending."""
    age, _, why = (word or "").partition(" ")
    return (float(age), why) if age.isdecimal() else (None, "")


def unread_of(word: str | None) -> tuple[str, ...] | None:
    """The targets that a value of UNREAD_ANNOTATION names; None: no disk is read, or there is no such annotation."""
    if word is None or word == "none":
        return None
    return tuple(target for target in word.split(",") if target)


DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Rule(BaseModel):
    """One CEL rule. `message` says field and reason; `path` is the field that the API server names."""

    model_config = ConfigDict(frozen=True)
    rule: str
    message: str = ""
    message_expression: str = ""
    path: str = ""
    optional_old_self: bool = False

    def wire(self) -> dict[str, Any]:
        """As `x-kubernetes-validations` has it."""
        names = {"message": self.message, "messageExpression": self.message_expression, "fieldPath": self.path}
        written: dict[str, Any] = {"rule": self.rule} | {name: word for name, word in names.items() if word}
        return written | ({"optionalOldSelf": True} if self.optional_old_self else {})


def checked(*rules: Rule) -> dict[str, Any]:
    """What to give `Field` as json_schema_extra for rules on one field that is not an object."""
    return {"x-kubernetes-validations": [rule.wire() for rule in rules]}


Duration = Annotated[
    str,
    Field(
        pattern=DURATION_PATTERN,
        max_length=32,
        json_schema_extra=checked(
            Rule(
                rule=f"self.matches(r'{DURATION_PATTERN}')",
                message="is not a duration; write a number and a unit (ms, s, m or h), such as 500ms or 1h30m",
            )
        ),
    ),
]
"""A length of time as Go and kubectl write it: 500ms, 2s, 10m, 1h30m."""


@lru_cache(maxsize=512)
def seconds(duration: str) -> float:
    """The seconds of a duration such as `1h30m`. Raises ValueError for anything else."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration such as 500ms, 2s, 10m or 1h30m")
    return sum(float(number) * _UNIT[unit] for number, unit in parts)


class Model(BaseModel):
    """Base of all wire models: camelCase on the wire, frozen, documented by its attribute docstrings."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules that the API server checks on this object (`x-kubernetes-validations`)."""

    def wire(self) -> dict[str, Any]:
        """As it goes over the wire: camelCase, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class Condition(Model):
    """One condition, as of metav1.Condition and kstatus."""

    type: Annotated[str, Field(max_length=64)]
    """What this condition is about: Ready, Reconciling, Stalled, Armed, Degraded, ..."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=64)] = "Unknown"
    """One CamelCase word for machines and for searching the documentation."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """What is so, why, and what a person can do about it."""
    last_transition_time: Annotated[str, Field(max_length=40)] = ""
    """When `status` last changed, RFC 3339."""
    observed_generation: int = 0
    """The metadata.generation of the spec that this was judged by."""


def condition_of(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type; None: nothing was said of it yet."""
    for condition in conditions:
        if condition.type == type_:
            return condition
    return None


Conditions = Annotated[
    tuple[Condition, ...],
    Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


class ObjectMeta(Model):
    """What we read of metav1.ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class Resource(Model):
    """Base of the five kinds. `kind`, `plural`, `short` and `namespaced` describe the REST resource."""

    kind: ClassVar[str]
    plural: ClassVar[str]
    short: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    """Further short names."""
    namespaced: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = ()
    selectable: ClassVar[tuple[str, ...]] = ()
    """JSON paths that field selectors may use (`selectableFields`)."""

    metadata: ObjectMeta = ObjectMeta()

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for what is cluster-wide."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name

    @property
    def version(self) -> str:
        """metadata.resourceVersion."""
        return self.metadata.resource_version

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Self:
        """From the wire. Raises pydantic.ValidationError naming the field and the reason."""
        return cls.model_validate(raw)


class Column(BaseModel):
    """One printer column of `kubectl get`; priority 1 shows with `-o wide` only."""

    model_config = ConfigDict(frozen=True)
    name: str
    type: str
    path: str
    priority: int = 0
    description: str = ""


def condition_column(type_: str, field: str, name: str, priority: int = 0) -> Column:
    """Return the column that shows one field of one condition."""
    return Column(name=name, type="string", path=f'.status.conditions[?(@.type=="{type_}")].{field}', priority=priority)


READY_COLUMN = condition_column("Ready", "status", "Ready")
AGE_COLUMN = Column(name="Age", type="date", path=".metadata.creationTimestamp")
WHY_COLUMNS = (condition_column("Ready", "reason", "Reason", 1), condition_column("Ready", "message", "Message", 1))
"""Why it is Ready or is not, with `-o wide`."""

Model.model_rebuild()
Resource.model_rebuild()
