"""Rules on single fields of what people declare: lengths of time, addresses, mount options.

Here: the bounds and lists, as data, with the CEL rule that is made of each; `core.twins` makes its Python from the same data.
Not here: rules that compare two fields or two versions (`rules`).
"""

import re
from ipaddress import ip_address
from typing import NamedTuple

from ostkeeper.api.common import DURATION_PATTERN, Rule, seconds

# ---- lengths of time

_SMALL = r"^([0-9]{1,9}(\.[0-9]{1,6})?(ms|s)|[0-9]{1,6}(\.[0-9]{1,6})?m|[0-9]{1,4}(\.[0-9]{1,6})?h)+$"
"""Durations that fit into CEL's 64 bits of nanoseconds, whatever 32 characters of them add up to. Longer ones are refused."""


class Bound(NamedTuple):
    """The values that one duration field may have."""

    field: str
    least: str
    most: str
    why: str

    @property
    def says(self) -> str:
        """The refusal."""
        return f"is under {self.least} or over {self.most}: {self.why}"

    def holds(self, value: str | None) -> bool:
        """Whether the rule takes this value. What is no duration at all has a refusal of its own, and passes here."""
        if value is None or not re.fullmatch(DURATION_PATTERN, value):
            return True
        fits = re.fullmatch(_SMALL, value) is not None
        return fits and seconds(self.least) <= seconds(value) <= seconds(self.most)


def bounded(bound: Bound) -> Rule:
    """Return the rule for a duration that lies between two others."""
    it = f"self.{bound.field}"
    return Rule(
        rule=f"!has({it}) || ({it}.matches(r'{_SMALL}')"
        f" ? duration({it}) >= duration('{bound.least}') && duration({it}) <= duration('{bound.most}')"
        f" : !{it}.matches(r'{DURATION_PATTERN}'))",
        path=f".{bound.field}",
        message=bound.says,
    )


HEARTBEAT = (
    Bound("interval", "100ms", "1m", "the API server could not follow, or a death would be seen too late"),
    Bound("timeout", "300ms", "10m", "late renewals would read as a death, or a death would be seen too late"),
)
UNHEALTHY = (Bound("duration", "0s", "24h", "a server that is unhealthy for longer would never count as Sick"),)
CONFIRM = (
    Bound(
        "interval", "50ms", "1m", "rounds that follow each other that fast are one reading; slower ones end no failover"
    ),
    Bound("settle", "0s", "10m", "no array holds a write back for that long"),
)
APPROVAL = (
    Bound("validFor", "1s", "24h", "an answer would lapse before it is acted upon, or be carried out the day after"),
)
FAILOVER_POLICY = (
    Bound("automaticAfter", "1s", "24h", "nobody could answer in that time, or nobody would remember that it acts"),
    Bound("releaseTimeout", "1s", "24h", "no server lets go in no time, and nobody would be asked for a day"),
    Bound("bootTimeout", "1s", "24h", "no server boots in no time, and one that never boots would be waited for a day"),
    Bound("partnerSoak", "0s", "720h", "a server would never be trusted again"),
)
FAILBACK = (Bound("soak", "0s", "720h", "the targets would never go home"),)
PROBE = (
    Bound("interval", "100ms", "1h", "BMCs have died of less; and a device that is probed less often is not known"),
    Bound("maxLatency", "1ms", "1m", "no device answers that fast, or one that is that slow cannot fence in time"),
)
DEVICE = (
    Bound(
        "requestTimeout", "100ms", "1m", "no device answers that fast, and each would look dead; or fencing would hang"
    ),
)

# ---- addresses

ADDRESS_PATTERN = r"^[A-Za-z0-9_:]([-A-Za-z0-9_.:]*[A-Za-z0-9_:])?$"
ADDRESS = Rule(
    rule="!self.contains(':') || isIP(self)",
    message="must be a host name or an IP address alone: a port has a field of its own (port), and an IPv6 address no brackets",
)


def is_address(address: str) -> bool:
    """Whether `ADDRESS` holds. `isIP` takes neither a zone nor an IPv4 address that is mapped into IPv6."""
    if ":" not in address:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return "%" not in address and not (found.version == 6 and found.ipv4_mapped is not None)


# ---- mount options

MOUNT_FLAGS = (
    *("defaults", "rw", "atime", "noatime", "relatime", "norelatime", "strictatime", "diratime", "nodiratime"),
    *(
        "lazytime",
        "nolazytime",
        "nodev",
        "noexec",
        "nosuid",
        "async",
        "dirsync",
        "sync",
        "_netdev",
        "user_xattr",
        "acl",
    ),
    *("barrier", "barrier=1", "block_validity", "noblock_validity", "delalloc", "nodelalloc", "discard", "nodiscard"),
    *("journal_checksum", "data=ordered", "data=journal", "errors=remount-ro", "errors=panic", "extents", "mballoc"),
    *("auto_da_alloc", "noauto_da_alloc", "init_itable", "noinit_itable", "no_mbcache", "dioread_lock"),
    *("dioread_nolock", "i_version", "quota", "noquota", "usrquota", "grpquota", "prjquota", "noscrub", "skip_lfsck"),
)
"""Options without a value that an OST may be mounted with: none goes past MMP, the journal, recovery or the barriers."""
MOUNT_NUMBERS = (
    *("commit", "stripe", "inode_readahead_blks", "init_itable", "max_dir_size_kb", "max_batch_time", "min_batch_time"),
    *("journal_ioprio", "retry", "max_sectors_kb", "md_stripe_cache_size", "recovery_time_soft", "recovery_time_hard"),
)
"""Options that take a number."""
MOUNT_OPTION_PATTERN = "^(" + "|".join(MOUNT_FLAGS) + "|(" + "|".join(MOUNT_NUMBERS) + ")=[0-9]{1,10}" + ")$"
MOUNT_OPTION = Rule(
    rule=f"self.matches(r'{MOUNT_OPTION_PATTERN}')",
    message="is not on the list of mount options in README, or is more than one without a list item each."
    " Refused is what passes MMP by (ro, loop), skips the journal or a barrier (noload, nobarrier), reads another"
    " super block (sb=), aborts recovery (abort_recov) or writes the configuration anew (writeconf, nosvc)",
)


def is_mount_option(option: str) -> bool:
    """Whether `MOUNT_OPTION` holds."""
    return re.fullmatch(MOUNT_OPTION_PATTERN, option) is not None
