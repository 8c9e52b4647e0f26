"""`OST`: one target and its home. Its status is a mirror, for `kubectl get ost`."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ostkeeper.api import fieldrules
from ostkeeper.api import rules as cel
from ostkeeper.api.common import (
    AGE_COLUMN,
    WHY_COLUMNS,
    Column,
    Conditions,
    Model,
    Resource,
    Rule,
    checked,
    condition_column,
)
from ostkeeper.api.fencedevice import Name

LdiskfsDevice = Annotated[str, Field(max_length=255, json_schema_extra=checked(cel.LDISKFS_DEVICE))]
Ext4Device = Annotated[str, Field(max_length=255, json_schema_extra=checked(cel.EXT4_DEVICE))]
MountPoint = Annotated[str, Field(max_length=255, json_schema_extra=checked(cel.MOUNT_POINT))]
MountOption = Annotated[str, Field(max_length=128, json_schema_extra=checked(fieldrules.MOUNT_OPTION))]


class Ldiskfs(Model):
    """A Lustre target on ldiskfs. Not served by the agent of this release: it refuses to mount it."""

    device: LdiskfsDevice
    """Block device, the same path on both servers, below /dev/disk/ or /dev/mapper/."""


class Ext4(Model):
    """A plain ext4 file system with MMP, to try everything without Lustre."""

    device: Ext4Device
    """Block device, the same path on both servers, below /dev/disk/, /dev/mapper/ or /dev/loop."""


class Zfs(Model):
    """A Lustre target on a ZFS dataset. Not served by the agent of this release: it refuses to mount it."""

    dataset: Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z][-A-Za-z0-9_.]*/[-A-Za-z0-9_./]+$")]
    """POOL/DATASET. All targets of one pool move together."""


class Backend(Model):
    """What the target lies on. Exactly one of ldiskfs, zfs, ext4; immutable."""

    rules: ClassVar[tuple[Rule, ...]] = (cel.exactly_one_of("ldiskfs", "zfs", "ext4"),)

    ldiskfs: Ldiskfs | None = None
    """Lustre on ldiskfs."""
    zfs: Zfs | None = None
    """Lustre on ZFS."""
    ext4: Ext4 | None = None
    """Plain ext4 with MMP."""

    @property
    def source(self) -> str:
        """What is mounted: the device's path or the dataset. Two objects that claim one source get no grant."""
        if self.ldiskfs:
            return self.ldiskfs.device
        if self.ext4:
            return self.ext4.device
        return self.zfs.dataset if self.zfs else ""


@lru_cache(maxsize=4096)
def _target_name(file_system: str, index: int) -> str:
    return f"{file_system}-OST{index:04x}"


class OSTSpec(Model):
    """What people and Git declare. The operator never writes it."""

    rules: ClassVar[tuple[Rule, ...]] = cel.OST_SPEC

    file_system: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,8}$", max_length=8)]
    """Name of the Lustre file system, at most 8 characters (lustre_user.h, LUSTRE_MAXFSNAME). Immutable."""
    index: Annotated[int, Field(ge=0, le=0xFFFF)]
    """Index of the OST; in target names it is hexadecimal. Immutable."""
    pair_name: Name
    """The OSSPair of the same namespace that sees its disk. Immutable."""
    home_node: Name
    """The server it is served from when all is well: one of the pair's two."""
    backend: Backend
    """What it lies on. Immutable."""
    mount_point: MountPoint
    """Where it is mounted, the same on both servers: below /mnt/, /lustre/ or /srv/."""
    mount_options: Annotated[tuple[MountOption, ...], Field(max_length=16)] = ()
    """Further options for mount -o, such as noatime: one an item, and only those that README lists."""
    desired: Literal["Mounted", "Unmounted"] = "Mounted"
    """Unmounted for e2fsck, writeconf or a site shutdown. Default Mounted."""
    deletion_policy: Literal["Retain", "Unmount"] = "Retain"
    """What becomes of the mount when this object is deleted. Default Retain: nothing. Unmount is refused by this release."""
    serve_from: Literal["Home", "Partner"] = "Home"
    """Partner: a planned switchover. Default Home."""

    @property
    def target(self) -> str:
        """The Lustre target name, such as scratch-OST000a."""
        return _target_name(self.file_system, self.index)


class OSTStatus(Model):
    """A mirror of the pair's assignments and the agents' reports."""

    observed_generation: int = 0
    """The spec that the rest was judged by."""
    target: Annotated[str, Field(max_length=32)] = ""
    """The Lustre target name."""
    node: Annotated[str, Field(max_length=63)] = ""
    """The server that it is assigned to."""
    mounted_on: Annotated[str, Field(max_length=127)] = ""
    """The server whose agent reports it mounted, both by commas; empty: none does."""
    state: Annotated[str, Field(max_length=32)] = "Pending"
    """Pending, Mounting, Mounted, Recovering, Releasing, Unmounted, Held, Refused, Failed, ForeignMount or Unknown."""
    epoch: int = 0
    """The epoch of its assignment."""
    recovery: Annotated[str, Field(max_length=64)] = ""
    """Clients back / clients expected, and the time left; empty when there is no recovery."""
    conditions: Conditions = ()
    """Ready: it is mounted where it is assigned, or unmounted as desired."""


class OST(Resource):
    """One Lustre object storage target: a file system on a disk that two servers share, and its home."""

    kind: ClassVar[str] = "OST"
    plural: ClassVar[str] = "osts"
    short: ClassVar[str] = "ost"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="FS", type="string", path=".spec.fileSystem"),
        Column(name="Index", type="integer", path=".spec.index"),
        Column(name="Home", type="string", path=".spec.homeNode"),
        Column(name="Node", type="string", path=".status.node", description="The server that it is assigned to."),
        Column(name="State", type="string", path=".status.state"),
        Column(
            name="Recovery",
            type="string",
            path=".status.recovery",
            description="Clients back / clients expected, and the time left.",
        ),
        AGE_COLUMN,
        Column(name="Target", type="string", path=".status.target", priority=1),
        Column(name="Mounted-On", type="string", path=".status.mountedOn", priority=1),
        Column(name="Epoch", type="integer", path=".status.epoch", priority=1),
        Column(name="Pair", type="string", path=".spec.pairName", priority=1),
        condition_column("Ready", "status", "Ready", priority=1),
        *WHY_COLUMNS,
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.pairName", ".spec.homeNode")

    spec: OSTSpec
    status: OSTStatus | None = None

    @property
    def target(self) -> str:
        """The Lustre target name."""
        return self.spec.target

    @property
    def in_service(self) -> bool:
        """Whether the operator says in its status that it is assigned to a server."""
        return self.status is not None and self.status.node != ""
