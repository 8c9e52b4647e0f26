"""`FenceDevice`: one BMC or PDU, and how far it can be trusted."""

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
    checked,
)

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Address = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=fieldrules.ADDRESS_PATTERN,
        json_schema_extra=checked(fieldrules.ADDRESS),
    ),
]


class IPMI(Model):
    """A BMC that speaks IPMI 2.0 over LAN (RMCP+)."""

    address: Address
    """Host name or IP address of the BMC, without a port."""
    port: Annotated[int, Field(ge=1, le=65535)] = 623
    """UDP port. Default 623."""
    credentials_secret_name: Name
    """Secret of the same namespace with the keys `username` and `password`. The user needs privilege OPERATOR."""


class SNMPPDU(Model):
    """A network power strip that speaks SNMP."""

    address: Address
    """Host name or IP address of the PDU, without a port."""
    port: Annotated[int, Field(ge=1, le=65535)] = 161
    """UDP port. Default 161."""
    family: Literal["apc-rpdu2"] = "apc-rpdu2"
    """Which MIB objects switch and read its outlets. Default apc-rpdu2 (PowerNet-MIB rPDU2OutletSwitched*)."""
    version: Literal["v2c", "v3"] = "v3"
    """SNMP version. Default v3 (authPriv, SHA-256 and AES-128)."""
    credentials_secret_name: Name
    """Secret of the same namespace: `community` for v2c; `username`, `authPassword` and `privPassword` for v3."""


class Redfish(Model):
    """A BMC that speaks Redfish. Not driven by this release: such a device is never Ready and never used."""

    address: Address
    """Host name or IP address of the BMC, without a port."""
    credentials_secret_name: Name
    """Secret of the same namespace with the keys `username` and `password`."""


class FenceAgent(Model):
    """One of the ClusterLabs fence agents. Not driven by this release: such a device is never Ready and never used."""

    agent: Annotated[str, Field(max_length=63, pattern=r"^fence_[a-z0-9_]+$")]
    """Name of the executable, such as fence_apc_snmp."""
    credentials_secret_name: Name
    """Secret of the same namespace; its keys are handed to the agent on standard input."""


class Probe(Model):
    """How the device is probed, read only, all the time, and when it counts as trustworthy."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(fieldrules.bounded, fieldrules.PROBE))

    interval: Duration = "30s"
    """Time between two probes. Default 30s."""
    sample_count: Annotated[int, Field(ge=1, le=10000)] = 100
    """How many of the last probes are judged. Default 100; until there are as many: 10 samples, none failed."""
    min_success_percent: Annotated[int, Field(ge=1, le=100)] = 99
    """How many of them must have been answered, in percent. Default 99."""
    max_latency: Duration = "1s"
    """How slow the slowest but one percent may be. Default 1s."""


class Load(Model):
    """How the measured load of an outlet is judged once it was ordered off and reads OFF."""

    grace: Duration = "10s"
    """Time after the acknowledged off. Default 10s. Until then load means "not off yet": meters average over seconds."""
    residue_watts: Annotated[float, Field(ge=0, le=100)] = 5
    """Watts. Default 5. Load above this after `grace` is a veto: something still draws power through the outlet."""


class FenceDeviceSpec(Model):
    """Which device it is. Exactly one of ipmi, snmpPDU, redfish, fenceAgent."""

    rules: ClassVar[tuple[Rule, ...]] = (
        cel.exactly_one_of("ipmi", "snmpPDU", "redfish", "fenceAgent"),
        *map(fieldrules.bounded, fieldrules.DEVICE),
        cel.FENCE_GRACE,
    )

    ipmi: IPMI | None = None
    """A BMC over IPMI. It feeds one server and has no outlets."""
    snmp_pdu: Annotated[SNMPPDU | None, Field(alias="snmpPDU")] = None
    """A PDU over SNMP. A feed that names it names an outlet, too."""
    redfish: Redfish | None = None
    """A BMC over Redfish."""
    fence_agent: FenceAgent | None = None
    """Any device that a ClusterLabs fence agent can drive."""
    request_timeout: Duration = "5s"
    """How long one question may take before it counts as unanswered. Default 5s. UNKNOWN is never OFF."""
    probe: Probe = Probe()
    """How it is probed."""
    load: Load = Load()
    """How the measured load of its outlets is judged after an off."""

    @property
    def has_outlets(self) -> bool:
        """Whether a feed on this device names an outlet."""
        return self.snmp_pdu is not None

    @property
    def address(self) -> str:
        """Where it answers, as `address:port`; part of what a Failover takes a snapshot of."""
        if self.ipmi:
            return f"{self.ipmi.address}:{self.ipmi.port}"
        if self.snmp_pdu:
            return f"{self.snmp_pdu.address}:{self.snmp_pdu.port}"
        if self.redfish:
            return self.redfish.address
        return self.fence_agent.agent if self.fence_agent else ""


class FeedReading(Model):
    """What one feed of the device read at the last probe."""

    outlet: Annotated[str, Field(max_length=32)] = ""
    """The outlet; empty for a BMC."""
    state: Annotated[str, Field(max_length=16)] = "Unknown"
    """PoweredOn, PoweredOff or Unknown. Unknown is never OFF."""
    watts: float | None = None
    """Measured load, where the device measures it."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """Why this feed alone cannot be used, one CamelCase word such as NoSuchOutlet; empty: nothing is wrong with it."""
    message: Annotated[str, Field(max_length=512)] = ""
    """The reason in words, with the next action."""


class FenceDeviceStatus(Model):
    """What the operator knows of the device."""

    observed_generation: int = 0
    """The spec that the rest was judged by."""
    system_uuid: Annotated[str, Field(alias="systemUUID", max_length=64)] = ""
    """A BMC's system GUID as it spells it; must be the board's that the agent reads."""
    identity: Annotated[str, Field(max_length=128)] = ""
    """The device's identity as it reported it last: `guid:` (BMC, system GUID), `serial:` or `engine:` (PDU, serial number
    or snmpEngineID). Kept while the device is silent; replaced when a device with another identity answers."""
    model: Annotated[str, Field(max_length=128)] = ""
    """What the device says that it is."""
    samples: int = 0
    """How many probes were judged."""
    succeeded: int = 0
    """How many of them were answered."""
    latency_milliseconds: int = 0
    """The slowest but one percent of the answers, in milliseconds."""
    last_probe_time: Annotated[str, Field(max_length=40)] = ""
    """When it was last probed, RFC 3339."""
    feeds: Annotated[tuple[FeedReading, ...], Field(max_length=64)] = ()
    """What the feeds that pairs use read at the last probe."""
    conditions: Conditions = ()
    """Ready: it has a driver, answers, and may be trusted."""


class FenceDevice(Resource):
    """One BMC or PDU that can cut a server's power, and how far it can be trusted."""

    kind: ClassVar[str] = "FenceDevice"
    plural: ClassVar[str] = "fencedevices"
    short: ClassVar[str] = "fd"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Address", type="string", path=".spec['ipmi','snmpPDU','redfish','fenceAgent']['address','agent']"),
        READY_COLUMN,
        Column(
            name="Latency-ms",
            type="integer",
            path=".status.latencyMilliseconds",
            description="The slowest but one percent of the answers.",
        ),
        Column(
            name="Answered",
            type="integer",
            path=".status.succeeded",
            description="How many of the probes that are judged were answered.",
        ),
        Column(name="Probes", type="integer", path=".status.samples", description="How many probes are judged."),
        AGE_COLUMN,
        Column(name="Model", type="string", path=".status.model", priority=1),
        Column(name="Identity", type="string", path=".status.identity", priority=1),
        *WHY_COLUMNS,
    )

    spec: FenceDeviceSpec
    status: FenceDeviceStatus | None = None
