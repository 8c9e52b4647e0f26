"""`OSSPair`: two servers, how each is fenced, what counts as failed, who decides. The unit of authority."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ostkeeper.api import fieldrules
from ostkeeper.api import rules as cel
from ostkeeper.api.common import (
    AGE_COLUMN,
    READY_COLUMN,
    WHY_COLUMNS,
    Column,
    Conditions,
    Duration,
    Model,
    Resource,
    Rule,
    condition_column,
)
from ostkeeper.api.fencedevice import Name
from ostkeeper.api.oss import MOST_TARGETS, Text, Word

Mode = Literal["Observe", "Manual", "Automatic"]
Intent = Literal["Serve", "Hold", "Release"]


class FeedRef(Model):
    """One power path: a BMC, or one outlet of one PDU."""

    device_name: Name
    """The FenceDevice of the same namespace."""
    outlet: Annotated[str, Field(max_length=32)] | None = None
    """The outlet of a PDU, as the device numbers it; not set for a BMC."""


class Level(Model):
    """Feeds that together cut all power of a server. A level cuts ALL its feeds."""

    rules: ClassVar[tuple[Rule, ...]] = (cel.FEEDS_ONCE,)

    name: Name
    """Name of the level, unique in its server."""
    feeds: Annotated[tuple[FeedRef, ...], Field(min_length=1, max_length=8)]
    """All must read OFF for the level to prove anything."""


class NodeSpec(Model):
    """One server of the pair and how it is fenced."""

    rules: ClassVar[tuple[Rule, ...]] = (cel.LEVELS_ONCE,)

    name: Name
    """The server: the Kubernetes Node of the same name, where there is one."""
    fencing: Annotated[tuple[Level, ...], Field(min_length=1, max_length=4)]
    """Fencing levels, tried in order. What a failed level cut stays cut."""


class Heartbeat(Model):
    """The agents' leases."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *map(fieldrules.bounded, fieldrules.HEARTBEAT),
        cel.HEARTBEAT_SLACK,
    )

    interval: Duration = "2s"
    """How often an agent renews its lease. Default 2s. The agent follows it."""
    timeout: Duration = "10s"
    """Unchanged for this long, a lease speaks for a dead server. Default 10s; at least three intervals."""


class UnhealthyCondition(Model):
    """A Node condition that counts as `Sick`."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(fieldrules.bounded, fieldrules.UNHEALTHY))

    type: Annotated[str, Field(max_length=64)]
    """Type of the Node condition."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """Its status."""
    duration: Duration = "60s"
    """For how long it must have stood. Default 60s."""


class Confirm(Model):
    """How a death is confirmed."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(fieldrules.bounded, fieldrules.CONFIRM))

    rounds: Annotated[int, Field(ge=1, le=10)] = 3
    """So many rounds in a row must read OFF on every feed of the level. Default 3."""
    interval: Duration = "500ms"
    """From the start of one round to the start of the next. Default 500ms."""
    settle: Duration = "2s"
    """How long after the last acknowledged off nothing may be mounted. Default 2s. Lets writes land that the dead server
    had queued in the array; no power reading shows those. Runs beside the rounds and the nonce."""


class ApprovalPolicy(Model):
    """What a person's answer is worth."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(fieldrules.bounded, fieldrules.APPROVAL))

    valid_for: Duration = "2m"
    """For how long after it was seen an answer may still be acted upon. Default 2m. It lapses with its evidence, too."""


class FailoverPolicy(Model):
    """What is done about a failed server, and who decides."""

    rules: ClassVar[tuple[Rule, ...]] = (*map(fieldrules.bounded, fieldrules.FAILOVER_POLICY), cel.AFTER_A_QUESTION)

    mode: Mode = "Manual"
    """Observe: says what it would do. Manual (default): asks. Automatic: acts where the pair is armed, else asks."""
    automatic_after: Duration | None = None
    """Manual, but acts after this time if nobody answered and the pair is armed. Default: never. Not with Automatic."""
    wiring: Literal["Drilled", "Declared"] = "Drilled"
    """What Automatic and ClearWhenCertified ask of the feeds. Drilled (default): a drill has proved them."""
    sole_witness: Literal["Refuse", "Accept"] = "Refuse"
    """What OFF proves that one fence device alone reads, of a level that was never drilled and whose measured load did not
    fall. Refuse (default): nothing; the next level is tried, then a person is asked. Accept: the death. If that device lies
    beside a server that hangs, an OST is mounted twice."""
    mmp: Literal["ClearWhenCertified", "Wait"] = "ClearWhenCertified"
    """ClearWhenCertified (default): MMP left dirty by the dead server is cleared under a complete certificate before the
    mount. Wait: the mount waits as the kernel does (22 s to 44 s at usual intervals)."""
    accept_unidentified: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    """FenceDevices that are used although they report no usable identity, by name. Default none: such a device proves
    nothing and is sent no off. If another device takes over its address, an off hits that one and its OFF is a false proof.
    A pair with such a device is never Armed."""
    confirm: Confirm = Confirm()
    """How a death is confirmed."""
    approval: ApprovalPolicy = ApprovalPolicy()
    """What a person's answer is worth."""
    release_timeout: Duration = "5m"
    """When an orderly unmount is overdue: a Failover then asks. Default 5m. No time-out ever means "released"."""
    release_failed: Literal["Ask", "Fence"] = "Ask"
    """What follows an overdue release. Ask (default): a person decides. Fence: a server that is Sick (it lives and cannot
    serve, as after the loss of its disks) and has not released a target that is to be mounted is fenced unasked, under the
    conditions of a dead server: Automatic or automaticAfter, armed, fuse and budget closed, its partner able."""
    boot_timeout: Duration = "15m"
    """How long a server may take to boot; one in POST is not shot. Default 15m."""
    partner_soak: Duration = "10m"
    """How long after its own last fencing a server may not take over from its partner. Default 10m. A drill is none."""


class FailbackPolicy(Model):
    """How targets go home again."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(fieldrules.bounded, fieldrules.FAILBACK))

    mode: Literal["Manual", "Automatic"] = "Manual"
    """Manual (default): a Failover of type Failback asks. Automatic: after `soak`."""
    soak: Duration = "10m"
    """How long the home server must have been healthy. Default 10m."""
    max_parallel: Annotated[int, Field(ge=1, le=16)] = 1
    """How many targets move at the same time. Default 1."""


class DrillRequest(Model):
    """A person asks for a drill: is the wiring what is declared? Refused unless the server holds no target."""

    node: Name
    """The server whose feeds are drilled."""
    level: Name
    """The fencing level."""
    id: Annotated[str, Field(min_length=1, max_length=63)]
    """Names this request; the result in status.wiring carries it. The same id is drilled once."""
    accept_partner_outage: bool = False
    """The partner may lose its power if cords are crossed. Default false: while the partner serves, a drill of outlets is
    refused of which nothing but the cut can tell whose they are."""


class BoardAcceptance(Model):
    """A person accepts another machine under a server's name."""

    node: Name
    """The server."""
    system_uuid: Annotated[Word, Field(alias="systemUUID")]
    """System UUID of the board that is accepted."""


class OSSPairSpec(Model):
    """What people and Git declare. The operator never writes it."""

    rules: ClassVar[tuple[Rule, ...]] = cel.PAIR_SPEC

    nodes: Annotated[tuple[NodeSpec, ...], Field(min_length=2, max_length=2)]
    """Exactly two different servers that see the same disks."""
    heartbeat: Heartbeat = Heartbeat()
    """The agents' leases."""
    unhealthy_conditions: Annotated[tuple[UnhealthyCondition, ...], Field(max_length=8)] = ()
    """Node conditions that count as well."""
    failover: FailoverPolicy = FailoverPolicy()
    """What is done about a failed server."""
    failback: FailbackPolicy = FailbackPolicy()
    """How targets go home again."""
    rejoin: Literal["Manual", "PowerOn"] = "Manual"
    """PowerOn: a fenced server is powered on as a standby once relocation is complete. Default Manual: it stays off."""
    paused: bool = False
    """Nothing is decided, shot or moved for this pair. Mounts stay. Default false."""
    maintenance: Annotated[tuple[Name, ...], Field(max_length=2)] = ()
    """Servers to be emptied: their targets move to the partner in order, and they are not fenced unasked. Both servers:
    there is nowhere to go, so nothing moves, and neither is fenced unasked, as for work on the whole pair."""
    drill: DrillRequest | None = None
    """A person asks for a drill (verb `approve`)."""
    adopt: Annotated[int, Field(ge=1, le=cel.EPOCH_MOST)] | None = None
    """A person's answer to EpochRegressed or to a dead server at adoption (verb `approve`): the highest epoch seen, as
    the condition's message gives it. An epoch above it is written and the targets adopted as they are found."""
    ask_again: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of a Failover that a person dismissed, or that ended as Observed (verb `approve`): what it asked is asked again,
    in a new Failover, if its reason still stands. A name that `status.noted` does not have does nothing."""
    accept_boards: Annotated[tuple[BoardAcceptance, ...], Field(max_length=2)] = ()
    """Boards that a person accepted in the place of a pinned one."""


class AdoptedWarrant(Model):
    """First placement: both agents answered the nonce, or a person stood in for a dead one."""

    nonce: Word
    """The nonce that was answered."""


class ReleasedWarrant(Model):
    """The server that had it reported it released."""

    node: Name
    """Who released it."""
    epoch: int
    """The epoch of the Release that was carried out."""
    dirty: bool = False
    """Left dirty by an earlier boot of that server: the mount waits as the kernel does."""


class CertificateWarrant(Model):
    """A death certificate, or for Restart the proof that the earlier boot is dead."""

    failover: Annotated[str, Field(max_length=253)]
    """Name of the Failover that holds it."""
    digest: Word
    """SHA-256 of the certificate."""
    node: Annotated[str, Field(max_length=63)] = ""
    """The server that it certifies dead: the one that had the target."""


class Warrant(Model):
    """Why a target was allowed to move. Exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (cel.exactly_one_of("adopted", "released", "certificate"),)

    adopted: AdoptedWarrant | None = None
    """First placement."""
    released: ReleasedWarrant | None = None
    """An orderly move."""
    certificate: CertificateWarrant | None = None
    """A death."""


class Assignment(Model):
    """Who may mount one target."""

    rules: ClassVar[tuple[Rule, ...]] = cel.ASSIGNMENT

    target: Word
    """The Lustre target name."""
    node: Annotated[str, Field(max_length=63)]
    """The server that this permission is for."""
    intent: Intent
    """Serve: may mount and keep it. Hold: keep what is mounted, mount nothing new. Release: unmount, and report."""
    epoch: int
    """The epoch of this permission. None goes back."""
    warrant: Warrant
    """Why it was allowed to move here."""


class Nonce(Model):
    """A question to the agents of the pair: read the disks again, and say what is mounted and who may still write."""

    value: Word
    """The question. Never used twice."""
    failover: Annotated[str, Field(max_length=253)] = ""
    """The Failover that asks; agents count movement from the first nonce of one failover and attempt on."""
    level: int = -1
    """Numbers the attempt: 16 x the asking number + 2 x the fencing level that had read OFF everywhere when this nonce was
    written, + 1 where a disk moved within `settle` and the count began again; grows from attempt to attempt. -1: nothing
    was cut before it."""
    open: bool = True
    """While open the agents read every disk every 100 ms."""


class Wiring(Model):
    """What a drill proved. Void once a feed, a device or the board is another."""

    node: Name
    """The server that was drilled."""
    level: Name
    """The level that was drilled."""
    id: Annotated[str, Field(max_length=63)]
    """The request that this answers."""
    proven: bool
    """Whether the feeds are what is declared."""
    fingerprint: Word
    """Digest of the level's feeds, the devices' UIDs and addresses, and the board."""
    message: Text = ""
    """What was seen."""
    time: Annotated[str, Field(max_length=40)] = ""
    """When, RFC 3339."""


class Board(Model):
    """The machine that is pinned under a server's name."""

    node: Name
    """The server."""
    system_uuid: Annotated[Word, Field(alias="systemUUID")]
    """Its system UUID."""


class Fenced(Model):
    """A boot that was certified dead."""

    node: Name
    """The server."""
    failover: Annotated[str, Field(max_length=253)]
    """The Failover that holds the certificate."""
    boot_id: Annotated[Word, Field(alias="bootID")]
    """The boot that is dead; empty where none was ever seen."""
    drill: bool = False
    """Fenced by a drill: asks for no soak."""


class Noted(Model):
    """What was already asked or told about a server: it is not asked again until it has been well in between."""

    node: Name
    """The server."""
    type: Annotated[str, Field(max_length=16)]
    """The type of the Failover."""
    failover: Annotated[str, Field(max_length=253)]
    """The Failover that ended without an act (Observed, dismissed, aborted)."""
    boot_id: Annotated[Word, Field(alias="bootID")] = ""
    """The boot that it was about."""


class ServerState(Model):
    """What the operator makes of one server."""

    name: Name
    """The server."""
    verdict: Word
    """Healthy, Degraded, Silent, Suspect, Absent, Isolated, Sick, SharedFault, Failed, Fenced or Unknown."""
    message: Text = ""
    """Why, in one sentence."""
    since: Annotated[str, Field(max_length=40)] = ""
    """Since when, RFC 3339."""


class OSSPairStatus(Model):
    """Who may mount what. Written by the operator only."""

    rules: ClassVar[tuple[Rule, ...]] = cel.PAIR_STATUS

    epoch: Annotated[int, Field(ge=0)]
    """One counter for the pair; each permission carries one, and none goes back."""
    active_failover: Annotated[str, Field(max_length=253)] = ""
    """The one Failover that is open, or about to be created; empty: none."""
    assignments: Annotated[
        tuple[Assignment, ...],
        Field(
            max_length=MOST_TARGETS,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["target"]},
        ),
    ] = ()
    """Who may mount what, by target."""
    nonce: Nonce | None = None
    """The last question to the agents."""
    adopted: int = 0
    """The last spec.adopt that was carried out."""
    wiring: Annotated[tuple[Wiring, ...], Field(max_length=16)] = ()
    """What drills proved."""
    boards: Annotated[tuple[Board, ...], Field(max_length=2)] = ()
    """The machines pinned under the servers' names."""
    fenced: Annotated[tuple[Fenced, ...], Field(max_length=2)] = ()
    """Boots that were certified dead, until the server was seen in a later one for `partnerSoak`."""
    noted: Annotated[tuple[Noted, ...], Field(max_length=8)] = ()
    """What was already asked or told."""
    servers: Annotated[tuple[ServerState, ...], Field(max_length=2)] = ()
    """What the operator makes of the servers."""
    observed_generation: int = 0
    """The spec that the rest was judged by."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, Armed, Degraded, EpochRegressed."""

    def assignment(self, target: str) -> Assignment | None:
        """Who may mount the target, if anybody was ever told."""
        for assignment in self.assignments:
            if assignment.target == target:
                return assignment
        return None


class OSSPair(Resource):
    """Two object storage servers on shared disks: how each is fenced, what counts as failed, and who decides."""

    rules: ClassVar[tuple[Rule, ...]] = cel.PAIR

    kind: ClassVar[str] = "OSSPair"
    plural: ClassVar[str] = "osspairs"
    short: ClassVar[str] = "pair"
    aliases: ClassVar[tuple[str, ...]] = ("pairs",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Mode", type="string", path=".spec.failover.mode"),
        Column(name="Epoch", type="integer", path=".status.epoch"),
        condition_column("Armed", "status", "Armed"),
        READY_COLUMN,
        Column(name="Failover", type="string", path=".status.activeFailover"),
        AGE_COLUMN,
        Column(name="Server", type="string", path=".spec.nodes[0].name", priority=1),
        Column(name="Verdict", type="string", path=".status.servers[0].verdict", priority=1),
        Column(name="Server", type="string", path=".spec.nodes[1].name", priority=1),
        Column(name="Verdict", type="string", path=".status.servers[1].verdict", priority=1),
        *WHY_COLUMNS,
    )

    spec: OSSPairSpec
    status: OSSPairStatus | None = None

    @property
    def servers(self) -> tuple[str, str]:
        """The names of the two servers, as declared."""
        first, second = self.spec.nodes
        return first.name, second.name

    def partner_of(self, server: str) -> str:
        """The other server. Raises ValueError for a server that is not of this pair."""
        first, second = self.spec.nodes
        if server == first.name:
            return second.name
        if server == second.name:
            return first.name
        raise ValueError(f"{server} is not a server of {self.key}: those are {first.name} and {second.name}")

    def fencing_of(self, server: str) -> tuple[Level, ...]:
        """The fencing levels of a server."""
        return next((node.fencing for node in self.spec.nodes if node.name == server), ())
