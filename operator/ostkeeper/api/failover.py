"""`Failover`: one decision and its execution. A person writes `spec.approval`; nothing else of the spec ever changes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ostkeeper.api import rules as cel
from ostkeeper.api.common import AGE_COLUMN, Column, Conditions, Duration, Model, Resource, Rule
from ostkeeper.api.fencedevice import Load, Name
from ostkeeper.api.oss import MOST_TARGETS, Mark, Text, Word
from ostkeeper.api.osspair import Confirm, Mode

Phase = Literal[
    "AwaitingApproval",
    "Holding",
    "Fencing",
    "Relocating",
    "PoweringOn",
    "Recovering",
    "Blocked",
    "Complete",
    "Observed",
    "Aborted",
]
Type = Literal["Failover", "Switchover", "Failback", "Drill"]
Answer = Literal["Failover", "Restart", "Dismiss", "ConfirmDead", "Failback"]


class FeedSnapshot(Model):
    """One feed as it was declared when the Failover was opened. What is changed later counts as silent in it."""

    device_name: Name
    """The FenceDevice."""
    outlet: Annotated[str, Field(max_length=32)] = ""
    """The outlet; empty for a BMC."""
    device_uid: Annotated[Word, Field(alias="deviceUID")] = ""
    """UID of the FenceDevice object."""
    address: Annotated[str, Field(max_length=300)] = ""
    """Where it answered, normalised."""
    identity: Annotated[str, Field(max_length=128)] = ""
    """The identity that the device reported; empty: none, or one that identifies nothing. Another one is another device."""
    accepted: bool = False
    """The pair accepted that nothing identifies this device (spec.failover.acceptUnidentified)."""
    load: Load = Load()
    """How its measured load is judged after the off."""


class LevelSnapshot(Model):
    """One fencing level as it was declared when the Failover was opened."""

    name: Name
    """Name of the level."""
    drilled: bool = False
    """A drill proved the level as it was declared then."""
    feeds: Annotated[tuple[FeedSnapshot, ...], Field(min_length=1, max_length=8)]
    """All must read OFF."""


class PolicySnapshot(Model):
    """The pair's policy when the Failover was opened."""

    mode: Mode
    """Who decides."""
    automatic_after: Duration | None = None
    """After this time without an answer it acts, if the pair was armed."""
    armed: bool
    """Whether the pair was armed when suspicion began."""
    levels: Annotated[tuple[LevelSnapshot, ...], Field(max_length=4)]
    """How the server is fenced."""
    confirm: Confirm
    """How its death is confirmed."""
    sole_witness: Literal["Refuse", "Accept"] = "Refuse"
    """What the OFF of one device alone proves, of a level that was never drilled."""
    clear_mmp: Annotated[bool, Field(alias="clearMMP")]
    """Whether the certificate may clear MMP: ClearWhenCertified, and the feeds are drilled or declared enough."""
    valid_for: Duration
    """How long an answer is worth something."""
    boot_timeout: Duration
    """How long the server may take to boot."""
    release_timeout: Duration
    """When an orderly unmount is overdue."""
    release_failed: Literal["Ask", "Fence"] = "Ask"
    """What follows an overdue release of a server that is Sick."""


class Witness(Model):
    """One witness as it stood when the Failover was opened."""

    name: Word
    """heartbeat, node, disk, network or Lustre."""
    state: Word
    """Fresh, Stale or Unknown."""
    detail: Text = ""
    """What was seen, with its age."""


class Evidence(Model):
    """All readings on which the Failover was opened."""

    verdict: Word
    """What was made of the server."""
    sentence: Text
    """Why, in one sentence."""
    boot_id: Annotated[Word, Field(alias="bootID")] = ""
    """The server's boot that it is about; empty where none was seen."""
    partner_boot_id: Annotated[Word, Field(alias="partnerBootID")] = ""
    """The partner's boot."""
    witnesses: Annotated[tuple[Witness, ...], Field(max_length=12)] = ()
    """The witnesses."""


class Approval(Model):
    """A person's answer, bound to the evidence that the person saw."""

    answer: Answer
    """Failover: cut its power and move its targets. Restart: cut its power and boot it again. Dismiss: do nothing.
    ConfirmDead (in Blocked only): I have made sure that it has no power. Failback: move the targets home."""
    evidence: Word
    """status.evidence as it stood when the person answered. The answer lapses when that changes."""
    by: Annotated[str, Field(min_length=1, max_length=253)]
    """Who answered; the API server holds it against the user who asks."""
    note: Text = ""
    """Why."""


class FailoverSpec(Model):
    """The decision, with what it rests on. Immutable but for `approval`."""

    rules: ClassVar[tuple[Rule, ...]] = cel.FAILOVER_SPEC

    pair_name: Name
    """The OSSPair of the same namespace."""
    epoch: Annotated[int, Field(ge=1)]
    """The epoch at which it was opened; part of its name, PAIR-EPOCH."""
    type: Type
    """Failover, Switchover, Failback or Drill."""
    node: Name
    """The server that it is about: the failed one, or the one that targets leave."""
    partner: Name
    """The other server."""
    targets: Annotated[tuple[Word, ...], Field(max_length=MOST_TARGETS)] = ()
    """The targets that it is about."""
    evidence: Evidence
    """All readings on which it was opened."""
    policy: PolicySnapshot
    """The pair's policy when it was opened."""
    drill_level: Annotated[str, Field(max_length=63)] = ""
    """For a Drill: the level."""
    drill_id: Annotated[str, Field(max_length=63, alias="drillID")] = ""
    """For a Drill: the request."""
    approval: Approval | None = None
    """A person's answer."""


class FeedProof(Model):
    """What a feed proved."""

    device_name: Name
    """The FenceDevice."""
    outlet: Annotated[str, Field(max_length=32)] = ""
    """The outlet; empty for a BMC."""
    state: Annotated[str, Field(max_length=16)]
    """What it read, in every round."""
    reads: int
    """How many rounds in a row read it."""
    boot: Word = ""
    """The device's sign of reboots; the same in all rounds."""
    identity: Annotated[str, Field(max_length=128)] = ""
    """The identity that the device reported; the same in all rounds. Empty: none, and the pair accepted that."""


class DiskProof(Model):
    """What the partner's agent read of one disk of the dead server, after the last off."""

    target: Word
    """The Lustre target name."""
    state: Word
    """Still, Clean or Fsck. Unreadable and Advancing are never part of a certificate."""
    block: Word = ""
    """SHA-256 of the MMP block; what is cleared must be byte-identical."""
    mark: Mark = ""
    """The mark in the block: MMP's node and device name, whole."""
    reported: Mark = ""
    """The mark that the dead server itself reported for its mount in the boot that is dead; empty if it reported none.
    MMP may be cleared only where it equals `mark`; any other block is mounted after the kernel's own wait."""
    hazard: Text = ""
    """Why `mark` is not known to be the dead server's: another host may have written to this LUN. Empty: no hazard."""


class Certificate(Model):
    """A death certificate: after `holdEpoch` was durable, this boot of this server had no power. True for ever."""

    rules: ClassVar[tuple[Rule, ...]] = cel.CERTIFICATE

    node: Name
    """The server."""
    boot_id: Annotated[Word, Field(alias="bootID")] = ""
    """The boot that is dead; empty where none was ever seen."""
    hold_epoch: int
    """The Hold that was durable before the first off."""
    level: Annotated[str, Field(max_length=63)] = ""
    """The level that proved it."""
    feeds: Annotated[tuple[FeedProof, ...], Field(max_length=8)] = ()
    """All feeds of that level."""
    disks: Annotated[tuple[DiskProof, ...], Field(max_length=MOST_TARGETS)] = ()
    """The dead server's disks, as the partner read them after the last off."""
    proof: Word = ""
    """What stands beside the OFF of the level. Drilled: the server died in a drill with exactly these feeds. SecondDevice: the
    feeds are on more than one device. SoleWitnessAccepted: nothing, and failover.soleWitness accepts that.
    Person: confirmedBy. SameServer: for Restart, nothing else mounts."""
    nonce: Word = ""
    """The nonce that the partner answered."""
    clear_mmp: Annotated[bool, Field(alias="clearMMP")] = False
    """Whether MMP may be cleared under it."""
    confirmed_by: Annotated[str, Field(max_length=253)] | None = None
    """The person whose word stands in for power readings."""
    digest: Word = ""
    """SHA-256 of the rest, canonical JSON."""


class Shot(Model):
    """A feed that was ordered off, and is to be powered on again only by an end that says so."""

    device_name: Name
    """The FenceDevice."""
    outlet: Annotated[str, Field(max_length=32)] = ""
    """The outlet; empty for a BMC."""
    level: int
    """Index of the level."""


class TimelineEntry(Model):
    """One thing that was done or seen, with its reason."""

    time: Annotated[str, Field(max_length=40)]
    """When, RFC 3339 with microseconds."""
    phase: Word
    """The phase it belongs to."""
    message: Text
    """What and why."""


class DrillProgress(Model):
    """Where a drill stands: feeds one at a time, then all together."""

    step: int = 0
    """Index of the feed that is drilled alone; the number of feeds: all together."""
    back_on: bool = False
    """The power is being switched on again."""
    boot_id: Annotated[Word, Field(alias="bootID")] = ""
    """The server's boot when all feeds are cut together."""
    partner_boot_id: Annotated[Word, Field(alias="partnerBootID")] = ""
    """The partner's boot then."""


class FailoverStatus(Model):
    """How far it is. Written by the operator only."""

    rules: ClassVar[tuple[Rule, ...]] = cel.FAILOVER_STATUS

    phase: Phase
    """AwaitingApproval, Holding, Fencing, Relocating, Recovering, Complete; Observed and Aborted end it early; Blocked says
    what is missing; Restart goes from Fencing to PoweringOn."""
    evidence: Word = ""
    """Digest of the evidence that an answer must name: verdict, boot IDs, witnesses, and `asked`."""
    asked: int = 0
    """Counts the questions: raised at each lapse, and at each entry to Blocked with something else missing."""
    tries: int = 0
    """How often a level was tried again from Blocked."""
    answer: Annotated[str, Field(max_length=32)] = ""
    """What is being carried out: Failover, Restart, Failback or Switchover."""
    answered_by: Annotated[str, Field(max_length=253)] = ""
    """Who chose it: a person, or `policy`."""
    hold_epoch: int = 0
    """The epoch of the Hold; 0 before it was written."""
    level: int = 0
    """Index of the fencing level that is being tried."""
    shots: Annotated[tuple[Shot, ...], Field(max_length=32)] = ()
    """What was ordered off, written before it is done."""
    missing: Annotated[tuple[Text, ...], Field(max_length=16)] = ()
    """In Blocked, and while a level is tried again from it: what is missing."""
    refuted: Annotated[tuple[Name, ...], Field(max_length=4)] = ()
    """Levels whose OFF proves nothing in this Failover: the server lived, or nothing else bears it out. Not tried again."""
    certificate: Certificate | None = None
    """The death certificate; never edited."""
    drill: DrillProgress | None = None
    """For a Drill: where it stands."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """What it does or waits for, for people."""
    timeline: Annotated[tuple[TimelineEntry, ...], Field(max_length=64)] = ()
    """What was done and seen, in order."""
    conditions: Conditions = ()
    """Ready: it has ended well. Stalled: a person is needed."""
    observed_generation: int = 0
    """The spec that the rest was judged by."""


class Failover(Resource):
    """One decision about one server, its evidence, its execution and its death certificate."""

    rules: ClassVar[tuple[Rule, ...]] = cel.FAILOVER

    kind: ClassVar[str] = "Failover"
    plural: ClassVar[str] = "failovers"
    short: ClassVar[str] = "fo"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Type", type="string", path=".spec.type"),
        Column(name="Node", type="string", path=".spec.node"),
        Column(name="Partner", type="string", path=".spec.partner"),
        Column(name="Phase", type="string", path=".status.phase"),
        Column(name="Answer", type="string", path=".status.answer"),
        Column(name="By", type="string", path=".status.answeredBy"),
        AGE_COLUMN,
        Column(name="Pair", type="string", path=".spec.pairName", priority=1),
        Column(name="Message", type="string", path=".status.message", priority=1),
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.pairName", ".spec.node", ".status.phase")

    spec: FailoverSpec
    status: FailoverStatus | None = None

    @property
    def phase(self) -> str:
        """The phase; empty before the first was written."""
        return self.status.phase if self.status else ""
