"""`OSS`: what one server sees. The operator creates it; the server's agent writes its status, but for `Ready`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ostkeeper.api import rules as cel
from ostkeeper.api.common import AGE_COLUMN, READY_COLUMN, WHY_COLUMNS, Column, Conditions, Model, Resource, Rule
from ostkeeper.api.fencedevice import Name

MOST_TARGETS = 64
"""The most targets that a pair may hold: reports, answers and assignments have room for so many."""
Word = Annotated[str, Field(max_length=64)]
Text = Annotated[str, Field(max_length=1024)]
Mark = Annotated[str, Field(max_length=385)]
"""Node and device name in an MMP block, whole: 64 and 32 bytes and a slash. A byte that is no UTF-8 takes four characters."""


class PairRef(Model):
    """The pair a server belongs to. One server, one pair: creating the object is the referee."""

    namespace: Name
    """Namespace of the OSSPair."""
    name: Name
    """Name of the OSSPair."""


class OSSSpec(Model):
    """Which pair the server belongs to. Immutable."""

    pair: PairRef
    """The OSSPair that names this server."""


class Released(Model):
    """The report that a `Release` was carried out: no child that can write lives, O_EXCL opens, MMP reads CLEAN."""

    epoch: int
    """The epoch of the Release that was carried out."""
    boot_id: Annotated[Word, Field(alias="bootID")]
    """The boot that reports it."""
    dirty: bool = False
    """The block carries this server's own mark of an earlier boot and stands still: the partner waits as the kernel does."""


class TargetReport(Model):
    """One target, as this server has it."""

    target: Word
    """The Lustre target name."""
    state: Literal["Unmounted", "Mounting", "Mounted", "Unmounting", "ForeignMount", "Failed", "Refused", "Unknown"]
    """ForeignMount: mounted here, but neither by us nor adopted. Failed: the last mount failed. Refused: see reason."""
    read_only: bool = False
    """Mounted read-only."""
    errors: bool = False
    """The file system or the device reported errors: it cannot serve."""
    epoch: int = 0
    """The epoch of the grant that the mount, or the mount in flight, rests on; 0 for what was found mounted."""
    mark: Mark = ""
    """MMP's node and device name, as the mounting agent read it back; empty when not mounted here."""
    child: bool = False
    """A mount, umount or clear of this target may still be running here."""
    released: Released | None = None
    """The last Release that was carried out."""
    reason: Word = ""
    """Why it is refused or failed, one CamelCase word."""
    message: Text = ""
    """The same for people."""
    failures: int = 0
    """How often in a row mounting it failed."""
    recovery: Word = ""
    """Lustre's recovery: COMPLETE, or `a/b m:ss`; empty for a backend without recovery."""
    cleared_mmp: Annotated[bool, Field(alias="clearedMMP")] = False
    """MMP was cleared under a certificate before this mount."""


class DiskReport(Model):
    """One shared disk, as read through MMP by this server."""

    target: Word
    """The Lustre target name."""
    state: Literal["Clean", "Advancing", "Still", "Fsck", "Unreadable", "Unknown"]
    """Advancing: the sequence moved. Still: an ordinary sequence, unmoved for twice its update interval."""
    mark: Mark = ""
    """Who wrote the block: MMP's node and device name."""
    block: Word = ""
    """SHA-256 of the MMP block as read, given for Still only (the block that a certificate may have cleared)."""
    uuid: Word = ""
    """UUID of the file system."""


class NonceAnswer(Model):
    """The answer to a nonce of the pair: read after the question was seen."""

    value: Word
    """The nonce."""
    moved: Annotated[tuple[Word, ...], Field(max_length=MOST_TARGETS)] = ()
    """Targets not mounted here whose block has moved since this nonce, or an earlier one of its failover, was first seen."""
    disks: Annotated[tuple[DiskReport, ...], Field(max_length=MOST_TARGETS)] = ()
    """All disks of the pair, each read after the nonce was seen."""
    children: Annotated[tuple[Word, ...], Field(max_length=MOST_TARGETS)] = ()
    """Targets that a child of this or of an earlier agent may still write to."""
    mounted: Annotated[tuple[Word, ...], Field(max_length=MOST_TARGETS)] = ()
    """Targets mounted here, whoever mounted them."""


class PeerReport(Model):
    """The network witness: what the partner's TCP port 7845 (or LNet) answered."""

    state: Literal["Answering", "Silent", "Unknown"] = "Unknown"
    """Silent: no answer for the heartbeat's time-out less one interval, or for two intervals, whichever is longer."""
    boot_id: Annotated[Word, Field(alias="bootID")] = ""
    """The boot that answered last."""


class OSSStatus(Model):
    """What the agent of this server reports."""

    boot_id: Annotated[Word, Field(alias="bootID")] = ""
    """Linux boot ID of the running system."""
    system_uuid: Annotated[Word, Field(alias="systemUUID")] = ""
    """System UUID of the board (SMBIOS type 1), lower case."""
    agent_version: Word = ""
    """Version of the agent."""
    agent_start: Word = ""
    """Names this run of the agent; changes when it restarts."""
    uptime_seconds: int = 0
    """Seconds since it booted, when this was written; an agent reports at least once a minute."""
    epoch_seen: Annotated[int, Field(ge=0, le=cel.EPOCH_MOST)] = 0
    """The highest epoch this agent has seen for any disk of the pair; above the API's: EpochRegressed."""
    nonce: NonceAnswer | None = None
    """The last nonce that was answered."""
    targets: Annotated[tuple[TargetReport, ...], Field(max_length=MOST_TARGETS)] = ()
    """Every target of the pair, as this server has it."""
    disks: Annotated[tuple[DiskReport, ...], Field(max_length=MOST_TARGETS)] = ()
    """Every disk of the pair, as this server reads it."""
    peer: PeerReport = PeerReport()
    """The partner, as the network shows it."""
    hazards: Annotated[tuple[Text, ...], Field(max_length=16)] = ()
    """What else could mount a target here: an fstab entry, a running Pacemaker, a boot-time fsck."""
    refusal: Text = ""
    """Why this agent serves nothing at all (another board, a corrupt store); empty when it works."""
    conditions: Conditions = ()
    """Ready is written by the operator: alive, of this pair, and reading every disk."""


class OSS(Resource):
    """One object storage server: what its agent sees of itself, its partner and their disks."""

    rules: ClassVar[tuple[Rule, ...]] = cel.OSS

    kind: ClassVar[str] = "OSS"
    plural: ClassVar[str] = "osses"
    short: ClassVar[str] = "oss"
    namespaced: ClassVar[bool] = False
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Pair", type="string", path=".spec.pair.name"),
        Column(name="Boot", type="string", path=".status.bootID"),
        READY_COLUMN,
        Column(
            name="Peer",
            type="string",
            path=".status.peer.state",
            description="What the partner's network witness answers.",
        ),
        AGE_COLUMN,
        Column(name="Namespace", type="string", path=".spec.pair.namespace", priority=1),
        Column(name="Agent", type="string", path=".status.agentVersion", priority=1),
        Column(name="Epoch-Seen", type="integer", path=".status.epochSeen", priority=1),
        Column(name="Refusal", type="string", path=".status.refusal", priority=1),
        *WHY_COLUMNS,
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.pair.namespace", ".spec.pair.name")

    spec: OSSSpec
    status: OSSStatus | None = None
