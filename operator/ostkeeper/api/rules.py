"""What the API server itself refuses: CEL rules, each with the field it names and the reason it gives.

Here: what one object, alone or against its last version, can have refused. Not here: what takes a second object
(a condition, from `controller`), the caller (admission policies in `deploy/`), or time.

Rules that look at the past hang on the parent of what they guard: on the field itself, writing null and then an older
value would pass. Everything they read has a bound (maxItems, maxLength), or the server's cost budget refuses the CRD.
Some detours are for that budget: no `string(int)` in a concatenation, no map literal, no `f.?x == g.?x` inside two loops.
"""

from collections.abc import Iterable

from ostkeeper.api.common import DURATION_PATTERN, Rule
from ostkeeper.api.phases import ANSWERABLE, CERTIFIED, EDGES, FIRST, ORDERLY, Edge
from ostkeeper.api.proofrules import BOUND, DECIDED


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _by_type(edges: Iterable[Edge], seen: str, type_: str) -> str:
    """CEL for "`seen` is one of these edges, and the Failover's type one of those it is for"."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for edge in edges:
        groups.setdefault(edge.types, []).append(str(edge) if edge.source else edge.target)
    return " || ".join(f"({type_} in {_list(types)} && {seen} in {_list(words)})" for types, words in groups.items())


def exactly_one_of(*fields: str) -> Rule:
    """Return the rule for a union: one member, not none and not two."""
    count = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return Rule(rule=f"{count} == 1", message=f"must have exactly one of: {', '.join(fields)}")


def _is_duration(field: str) -> str:
    """CEL for what `Duration`'s own rule checks, where reading it would add a second, unreadable refusal."""
    return f"self.{field}.matches(r'{DURATION_PATTERN}')"


# ---- FenceDevice.spec

FENCE_GRACE = Rule(
    rule="!has(self.load) || !has(self.load.grace) || !self.load.grace.matches(r'" + DURATION_PATTERN + "')"
    " || duration(self.load.grace) <= duration('5m')",
    path=".load.grace",
    message="is over 5m: a failover would wait for so long for a feed that still gives power",
)

# ---- OSSPair.spec

HEARTBEAT_SLACK = Rule(
    rule=f"!{_is_duration('timeout')} || !{_is_duration('interval')}"
    " || duration(self.timeout).getMilliseconds() >= 3 * duration(self.interval).getMilliseconds()",
    path=".timeout",
    message_expression="'is ' + self.timeout + ', under 3 x spec.heartbeat.interval (' + self.interval + '):"
    " two late renewals would read as a death; use a longer timeout or a shorter interval'",
    message="is under 3 x spec.heartbeat.interval: two late renewals would read as a death",
)
AFTER_A_QUESTION = Rule(
    rule="!has(self.automaticAfter) || self.mode != 'Automatic'",
    path=".automaticAfter",
    message="is for the modes that ask: Automatic acts at once where the pair is armed; take one of the two away",
)
FEEDS_ONCE = Rule(
    rule="self.feeds.all(f, self.feeds.exists_one(g, g.deviceName == f.deviceName"
    " && (has(f.outlet) ? has(g.outlet) && g.outlet == f.outlet : !has(g.outlet))))",
    path=".feeds",
    message="names one feed twice: each feed (device and outlet) stands in a level once",
)
LEVELS_ONCE = Rule(
    rule="self.fencing.all(l, self.fencing.exists_one(m, m.name == l.name))",
    path=".fencing",
    message="has two levels of one name: level names are unique per server, since drills and certificates go by them",
)
PAIR_SPEC = (
    Rule(
        rule="self.nodes.size() != 2 || self.nodes[0].name != self.nodes[1].name",
        path=".nodes",
        message="names one server twice: a pair is two different servers that see the same disks",
    ),
    Rule(
        rule="!has(self.maintenance) || self.maintenance.all(m, self.nodes.exists(n, n.name == m))",
        path=".maintenance",
        message="names a server that is not in spec.nodes: only the pair's own servers can be emptied here",
    ),
    Rule(
        rule="!has(self.drill) || self.nodes.exists(n, n.name == self.drill.node"
        " && n.fencing.exists(l, l.name == self.drill.level))",
        path=".drill",
        message="names a server or a level that spec.nodes does not have: only a declared level can be drilled",
    ),
    Rule(
        rule="!has(self.acceptBoards) || self.acceptBoards.all(b, self.nodes.exists(n, n.name == b.node))",
        path=".acceptBoards",
        message="names a server that is not in spec.nodes",
    ),
)

# ---- OSSPair, status

EPOCH_MOST = 2**52
"""The highest epoch that an agent may report and a person may adopt. As many again are left above it, and all are
exact as JSON numbers."""
EPOCH_JUMP = 1000
"""By how much one write may raise the epoch unasked."""
PAIR = (
    Rule(
        rule="!has(oldSelf.status) || has(self.status)",
        path=".status",
        message="must not vanish: it holds the epoch and who may mount what",
    ),
    Rule(
        rule="!has(self.status) || !has(self.status.assignments)"
        " || self.status.assignments.all(a, self.spec.nodes.exists(n, n.name == a.node))",
        path=".spec.nodes",
        message="lacks a server that holds targets (status.assignments): empty it first (spec.maintenance), then drop it",
    ),
    Rule(
        rule=f"!has(oldSelf.status) || !has(self.status) || self.status.epoch <= oldSelf.status.epoch + {EPOCH_JUMP}"
        " || (has(self.spec.adopt) && self.status.epoch <= self.spec.adopt + 1)",
        path=".status.epoch",
        message=f"must not jump by more than {EPOCH_JUMP}, unless a person's spec.adopt says so: a slip would use up the numbers",
    ),
    Rule(
        rule="!has(oldSelf.status) || !has(oldSelf.status.boards) || !has(self.status)"
        " || oldSelf.status.boards.all(o, !self.spec.nodes.exists(n, n.name == o.node) || (has(self.status.boards)"
        " && self.status.boards.exists(b, b.node == o.node && (b.systemUUID == o.systemUUID || (has(self.spec.acceptBoards)"
        " && self.spec.acceptBoards.exists(a, a.node == b.node && a.systemUUID == b.systemUUID))))))",
        path=".status.boards",
        message="must keep the machine that is pinned for each server: another takes its place only by a person's"
        " spec.acceptBoards, which names its systemUUID",
    ),
)
_ACTIVE = "(has(oldSelf.activeFailover) ? oldSelf.activeFailover : '')"
PAIR_STATUS = (
    Rule(
        rule="self.epoch >= oldSelf.epoch",
        path=".epoch",
        message="must not go back: a server might act on a permission that was taken from it",
    ),
    Rule(
        rule="!has(oldSelf.assignments) || oldSelf.assignments.all(o,"
        " (has(self.assignments) && self.assignments.exists(n, n.target == o.target))"
        " || (o.intent == 'Release' && self.epoch > oldSelf.epoch))",
        path=".assignments",
        message="must not lose a target, unless it was in Release: forgetting who may mount it would let it be placed anew"
        " beside its mount",
    ),
    Rule(
        rule="!has(oldSelf.assignments) || !has(oldSelf.activeFailover) || oldSelf.activeFailover == ''"
        " || !oldSelf.assignments.exists(h, h.intent == 'Hold')"
        " || (has(self.assignments) && self.assignments.size() >= oldSelf.assignments.size())",
        path=".assignments",
        message="must not lose a target while a Failover holds targets: from Hold to relocation nothing else changes",
    ),
    Rule(
        rule="!has(self.assignments) || self.assignments.all(a, a.epoch <= self.epoch)",
        path=".assignments",
        message="has an epoch above status.epoch: a permission carries an epoch that its pair has reached",
    ),
    Rule(
        rule=f"{_ACTIVE} == '' || !has(self.activeFailover) || self.activeFailover in ['', {_ACTIVE}]",
        path=".activeFailover",
        message="is another Failover's: the slot is freed (empty) before the next one takes it",
    ),
    Rule(
        rule="!has(self.assignments) || self.assignments.all(a, !has(a.warrant.certificate)"
        f" || a.warrant.certificate.failover == {_ACTIVE} || (has(oldSelf.assignments)"
        " && oldSelf.assignments.exists(o, o.target == a.target && o.warrant == a.warrant)))",
        path=".assignments",
        message="has a new certificate of another Failover than the one in the slot (status.activeFailover)",
    ),
    Rule(
        rule="(has(self.adopted) && self.adopted > (has(oldSelf.adopted) ? oldSelf.adopted : 0)) || !has(self.assignments)"
        " || !has(oldSelf.assignments) || self.assignments.all(a, !has(a.warrant.adopted)"
        " || oldSelf.assignments.all(o, o.target != a.target || o.node == a.node))",
        path=".assignments",
        message="moves a target by adoption, and no new word of a person's (spec.adopt, status.adopted) says so: it takes the"
        " release or the certificate of the server that has it",
    ),
)
ASSIGNMENT = (
    Rule(
        rule="self.node == oldSelf.node && self.intent == oldSelf.intent"
        " ? self.epoch >= oldSelf.epoch : self.epoch > oldSelf.epoch",
        path=".epoch",
        message="must rise with every change of node or intent, and never go back: agents tell old from new by it",
    ),
    Rule(
        rule="self.node == oldSelf.node || self.warrant != oldSelf.warrant",
        path=".warrant",
        message="must be a new one: a target moves to another server only with a new warrant",
    ),
    Rule(
        rule="self.node == oldSelf.node || !has(self.warrant.certificate) || oldSelf.intent == 'Hold'",
        path=".warrant",
        message="is a certificate, but the target was not in Hold: the Hold is durable before the first off",
    ),
    Rule(
        rule="self.node == oldSelf.node || !has(self.warrant.certificate)"
        " || (has(self.warrant.certificate.node) && self.warrant.certificate.node == oldSelf.node)",
        path=".warrant",
        message="is not the certificate of the server that has the target (warrant.certificate.node): only its own death moves it",
    ),
    Rule(
        rule="self.node == oldSelf.node || !has(self.warrant.released) || (oldSelf.intent == 'Release'"
        " && self.warrant.released.node == oldSelf.node && self.warrant.released.epoch == oldSelf.epoch)",
        path=".warrant",
        message="is not the release of the last assignment: only the server that had the target, at that epoch, lets it go",
    ),
)

# ---- OST, OSS

_NAME = r"[A-Za-z0-9_+=@#:\\-][-A-Za-z0-9_+=@#:.\\]*"
_BELOW_DISK = rf"/dev/(disk|mapper)(/{_NAME})+"
MOUNT_POINT_PATTERN = r"^/(mnt|lustre|srv)(/[A-Za-z0-9_-][-A-Za-z0-9_.]*)+$"
LDISKFS_DEVICE_PATTERN = rf"^{_BELOW_DISK}$"
EXT4_DEVICE_PATTERN = rf"^({_BELOW_DISK}|/dev/loop[0-9]+)$"
MOUNT_POINT = Rule(
    rule=f"self.matches(r'{MOUNT_POINT_PATTERN}')",
    message="must be a plain path below /mnt/, /lustre/ or /srv/: no '..', no hidden part, no other directory of the server",
)
LDISKFS_DEVICE = Rule(
    rule=f"self.matches(r'{LDISKFS_DEVICE_PATTERN}')",
    message="must be below /dev/disk/ or /dev/mapper/: names such as /dev/sdb differ from boot to boot and server to server",
)
EXT4_DEVICE = Rule(
    rule=f"self.matches(r'{EXT4_DEVICE_PATTERN}')",
    message="must be below /dev/disk/ or /dev/mapper/, or a /dev/loopN: other names differ from boot to boot",
)
_IMMUTABLE_OF_OST = tuple(
    Rule(rule=f"self.{field} == oldSelf.{field}", path=f".{field}", message=f"is immutable: {why}")
    for field, why in (
        ("fileSystem", "with the index it is the target's name on disk; make another OST for another target"),
        ("index", "with the file system it is the target's name on disk; make another OST for another target"),
        ("pairName", "who may mount it stands in that pair; to move it, unmount it, delete it and declare it anew"),
        ("backend", "who may mount it is bound to that disk; make another OST for another disk"),
    )
)
OST_SPEC = (
    *_IMMUTABLE_OF_OST,
    Rule(
        rule="!has(self.deletionPolicy) || self.deletionPolicy == 'Retain'",
        path=".deletionPolicy",
        message="Unmount is not carried out by this release: set desired: Unmounted, wait for it, then delete the OST",
    ),
)
OSS = (
    Rule(
        rule="self.spec == oldSelf.spec",
        path=".spec",
        message="is immutable: a server belongs to one pair; delete the OSS to give the server to another",
    ),
)

# ---- Failover

FAILOVER_SPEC = (
    Rule(
        rule=" && ".join(f"self.{f} == oldSelf.{f}" for f in ("pairName", "epoch", "type", "node", "partner")),
        message="is immutable but for spec.approval: it is the decision that was taken (pairName, epoch, type, node, partner)",
    ),
    Rule(
        rule="self.evidence == oldSelf.evidence && self.policy == oldSelf.policy",
        message="is immutable but for spec.approval: it is what the decision rests on (evidence, policy)",
    ),
    Rule(
        rule=" && ".join(
            f"(has(self.{f}) ? has(oldSelf.{f}) && self.{f} == oldSelf.{f} : !has(oldSelf.{f}))"
            for f in ("targets", "drillLevel", "drillID")
        ),
        message="is immutable but for spec.approval: it is what the decision is about (targets, drillLevel, drillID)",
    ),
    Rule(rule="self.node != self.partner", path=".partner", message="must be the other server, not spec.node"),
)
CERTIFICATE = (
    Rule(
        rule="(has(self.confirmedBy) && self.confirmedBy != '') || (has(self.feeds) && self.feeds.size() > 0"
        " && self.feeds.all(f, f.state == 'PoweredOff' && f.reads >= 1))",
        path=".feeds",
        message="prove nothing: every feed of the level must have read PoweredOff, or a person have confirmed it."
        " UNKNOWN is never OFF",
    ),
    Rule(
        rule="!has(self.disks) || self.disks.all(d, d.state in ['Still', 'Clean'])",
        path=".disks",
        message="has a disk that is not Still or Clean: what moves is alive, what cannot be read proves nothing, and what"
        " e2fsck holds is being written",
    ),
    Rule(
        rule="!has(self.confirmedBy) || !has(self.clearMMP) || !self.clearMMP",
        path=".clearMMP",
        message="must be false where a person's word stands in for power readings: the mount then waits as the kernel does",
    ),
)
FAILOVER_STATUS = (
    Rule(
        rule="!has(oldSelf.certificate) || (has(self.certificate) && self.certificate == oldSelf.certificate)",
        path=".certificate",
        message="is never edited and never taken back: targets were moved by it",
    ),
    Rule(
        rule="!has(oldSelf.holdEpoch) || (has(self.holdEpoch) && self.holdEpoch >= oldSelf.holdEpoch)",
        path=".holdEpoch",
        message="must not go back",
    ),
)

_UNCHANGED = "!has(self.spec.approval) || (has(oldSelf.spec.approval) && self.spec.approval == oldSelf.spec.approval)"
_IDENTITY = (
    Rule(
        rule="self.metadata.name.startsWith(self.spec.pairName + '-')"
        " && self.metadata.name.substring(self.spec.pairName.size() + 1) == string(self.spec.epoch)",
        path=".spec.epoch",
        message="and spec.pairName must make up metadata.name as PAIR-EPOCH: that is what keeps failovers one at a time",
    ),
    Rule(
        rule="!has(oldSelf.status) || has(self.status)",
        path=".status",
        message="must not vanish: it holds the phase and the certificate",
    ),
)
_PHASE = (
    Rule(
        rule="has(oldSelf.status) || !has(self.status) || " + _by_type(FIRST, "self.status.phase", "self.spec.type"),
        path=".status.phase",
        message_expression="'must not begin as ' + self.status.phase + ' for type ' + self.spec.type",
        message="is not one that a Failover of this type begins with",
    ),
    Rule(
        rule="!has(oldSelf.status) || !has(self.status) || self.status.phase == oldSelf.status.phase || "
        + _by_type(EDGES, "(oldSelf.status.phase + '>' + self.status.phase)", "self.spec.type"),
        path=".status.phase",
        message_expression="'must not go from ' + oldSelf.status.phase + ' to ' + self.status.phase"
        " + ' for type ' + self.spec.type",
        message="does not follow from the last one",
    ),
    Rule(
        rule=f"!has(self.status) || self.spec.type != 'Failover' || !(self.status.phase in {_list(CERTIFIED)})"
        " || has(self.status.certificate)",
        path=".status.certificate",
        message="is missing: nothing moves and nothing is powered on before the death is certified",
    ),
    Rule(
        rule="!has(oldSelf.status) || !has(self.status) || oldSelf.status.phase != 'Blocked'"
        " || self.status.phase != 'Relocating' || has(oldSelf.status.certificate) || (has(self.status.certificate)"
        " && has(self.status.certificate.confirmedBy))",
        path=".status.certificate",
        message="needs confirmedBy to go from Blocked to Relocating, unless it was written before: without power readings a person"
        " answers for the death",
    ),
)
_PROOF = (
    Rule(
        rule="!has(self.status) || !has(self.status.certificate) || (self.status.certificate.node == self.spec.node"
        " && self.status.certificate.holdEpoch > self.spec.epoch)",
        path=".status.certificate",
        message="must name spec.node and a holdEpoch above spec.epoch: no certificate without a durable Hold",
    ),
    Rule(
        rule="!has(self.status) || !has(self.status.certificate) || has(self.status.certificate.confirmedBy)"
        " || (has(self.status.certificate.feeds)"
        " && self.status.certificate.feeds.all(f, f.reads >= self.spec.policy.confirm.rounds)"
        " && self.spec.policy.levels.exists(l, l.name == self.status.certificate.level"
        " && l.feeds.all(f, self.status.certificate.feeds.exists(p, p.deviceName == f.deviceName"
        " && (has(f.outlet) ? f.outlet : '') == (has(p.outlet) ? p.outlet : '')))))",
        path=".status.certificate.feeds",
        message="must hold every feed of one level of spec.policy, read in as many rounds as the policy asks for",
    ),
)
LOOK_AGAIN = "things have changed since you looked"
"""Said of an answer to evidence that is no longer so."""
NOT_ASKED = "nothing is asked in this one"
"""Said of an answer to a Failover that has gone on to another phase."""


def overtaken(refusal: str) -> bool:
    """Whether an answer was refused because the question had changed, or was none any more: whoever answers looks again."""
    return LOOK_AGAIN in refusal or NOT_ASKED in refusal


_TRIED_AGAIN = "(self.status.phase == 'Fencing' && has(self.status.missing) && self.status.missing.size() > 0)"
"""CEL for "a level is tried again, and Blocked's question stands"."""
_APPROVAL = (
    Rule(
        rule="oldSelf.hasValue() || !has(self.spec.approval)",
        optional_old_self=True,
        path=".spec.approval",
        message="must not be there from the beginning: an answer follows a question",
    ),
    Rule(
        rule="!has(oldSelf.spec.approval) || (has(self.spec.approval) && self.spec.approval == oldSelf.spec.approval)"
        " || (has(self.spec.approval) && has(oldSelf.status) && has(oldSelf.status.evidence)"
        " && oldSelf.spec.approval.evidence != oldSelf.status.evidence)",
        path=".spec.approval",
        message="was given and is not changed or withdrawn; a new one is taken once status.evidence is another",
    ),
    Rule(
        rule=f"{_UNCHANGED} || (has(self.status) && (self.status.phase in {_list(ANSWERABLE)} || {_TRIED_AGAIN}))",
        path=".spec.approval",
        message=f"is taken in the phases {' and '.join(ANSWERABLE)} only: {NOT_ASKED}",
    ),
    Rule(
        rule=f"{_UNCHANGED} || (has(self.status) && has(self.status.evidence)"
        " && self.spec.approval.evidence == self.status.evidence)",
        path=".spec.approval.evidence",
        message=f"is not the current status.evidence: {LOOK_AGAIN}; look again, then answer",
    ),
    Rule(
        rule=f"{_UNCHANGED} || !has(self.status)"
        " || (self.status.phase == 'AwaitingApproval'"
        " && self.spec.approval.answer in ['Failover', 'Restart', 'Dismiss', 'Failback'])"
        f" || ((self.status.phase == 'Blocked' || {_TRIED_AGAIN})"
        " && self.spec.approval.answer in ['ConfirmDead', 'Restart', 'Dismiss'])",
        path=".spec.approval.answer",
        message="is none for this phase: Failover, Restart, Dismiss or Failback in AwaitingApproval;"
        " ConfirmDead, Restart or Dismiss in Blocked",
    ),
    Rule(
        rule=f"{_UNCHANGED} || self.spec.approval.answer != 'ConfirmDead'"
        " || (has(self.status) && has(self.status.holdEpoch) && self.status.holdEpoch > 0)",
        path=".spec.approval.answer",
        message="may be ConfirmDead only after the Hold was written (status.holdEpoch)",
    ),
    Rule(
        rule=f"{_UNCHANGED} || self.spec.approval.answer == 'Dismiss'"
        f" || (self.spec.approval.answer == 'Failback' && self.spec.type in {_list(ORDERLY)})"
        " || (self.spec.approval.answer in ['Failover', 'Restart', 'ConfirmDead'] && self.spec.type == 'Failover')",
        path=".spec.approval.answer",
        message=f"is none for this type: Failback for {' and '.join(ORDERLY)}; Failover, Restart and ConfirmDead,"
        " which all shoot, for type Failover",
    ),
)
FAILOVER = (*_IDENTITY, *_PHASE, *_PROOF, *_APPROVAL, *DECIDED, *BOUND)
