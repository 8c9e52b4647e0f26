"""What takes two objects to see: a home outside of its pair, a feed without a device, two claims on one disk or outlet.

Here: `find_problems`, pure, over all objects of a cluster at once. Each problem is said of one object and names the other;
of the targets and servers that it names nothing is granted or shot. Not here: what one object alone can have refused
(CEL in `crds/`), what a machine does about a problem (`pair`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import FeedRef, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.addresses import normalised
from ostkeeper.core.events import Problem
from ostkeeper.core.identity import key as identity_key
from ostkeeper.core.identity import reported, usable

GLOBAL_NAMES = ("/dev/disk/by-id/", "/dev/disk/by-uuid/", "/dev/disk/by-partuuid/")
"""Device paths that mean the same disk on every server. Others (mapper, loop, pool names) mean it within a pair only."""


def find_problems(
    pairs: Iterable[OSSPair], osts: Iterable[OST], devices: Iterable[FenceDevice], osses: Iterable[OSS] = ()
) -> tuple[Problem, ...]:
    """All problems between these objects, in the order of the objects' keys: the same input gives the same output."""
    by_pair = {pair.key: pair for pair in sorted(pairs, key=lambda pair: pair.key)}
    all_osts = sorted(osts, key=lambda ost: ost.key)
    by_device = {device.key: device for device in sorted(devices, key=lambda device: device.key)}
    targets: dict[str, list[str]] = defaultdict(list)
    for ost in all_osts:
        targets[pair_key(ost)].append(ost.target)
    boards = _boards(by_pair, osses)
    return (
        *_homes(by_pair, all_osts),
        *_disks(all_osts),
        *_names(all_osts),
        *_feeds(by_pair, by_device),
        *_shared_feeds(by_pair, by_device, targets),
        *_shared_addresses(by_pair, by_device),
        *_duplicate_boards(boards),
        *_shared_identities(by_pair, by_device, boards),
        *_shared_servers(by_pair, targets),
    )


def pair_key(found: OST | Failover) -> str:
    """The key of the pair that an OST or a Failover names."""
    return f"{found.metadata.namespace}/{found.spec.pair_name}"


def device_key(pair: OSSPair, feed: FeedRef) -> str:
    """The key of the FenceDevice that a feed names."""
    return f"{pair.metadata.namespace}/{feed.device_name}"


# --- OSTs


def _homes(pairs: Mapping[str, OSSPair], osts: Iterable[OST]) -> Iterator[Problem]:
    for ost in osts:
        pair = pairs.get(pair_key(ost))
        if pair is None:
            said = f"spec.pairName: there is no OSSPair {ost.spec.pair_name} in namespace {ost.metadata.namespace}"
            yield _of_ost(ost, "PairNotFound", f"{said}; create it, or name another: pairName cannot be changed later")
        elif ost.spec.home_node not in pair.servers:
            said = f"spec.homeNode: {ost.spec.home_node} is not a server of {pair.key}"
            yield _of_ost(ost, "HomeNotInPair", f"{said}; those are {' and '.join(pair.servers)}")


def _disks(osts: Iterable[OST]) -> Iterator[Problem]:
    """Two OSTs on one disk: a mount of one would destroy the other."""
    claims: dict[tuple[str, str], list[OST]] = defaultdict(list)
    for ost in osts:
        source = ost.spec.backend.source
        scope = "" if source.startswith(GLOBAL_NAMES) else pair_key(ost)
        claims[scope, source].append(ost)
    for (_, source), claimants in claims.items():
        advice = "one disk holds one target: delete the wrong one of the two"
        said = f"spec.backend: {source} is claimed by OST {{other}}, too; {advice}"
        yield from _of_osts("DuplicateDevice", said, claimants)


def _names(osts: Iterable[OST]) -> Iterator[Problem]:
    by_target: dict[tuple[str, str], list[OST]] = defaultdict(list)
    by_mount: dict[tuple[str, str], list[OST]] = defaultdict(list)
    for ost in osts:
        by_target[ost.metadata.namespace, ost.target].append(ost)
        by_mount[pair_key(ost), ost.spec.mount_point.rstrip("/")].append(ost)
    for claimants in by_target.values():
        said = f"spec.index: {claimants[0].target} is OST {{other}}, too; an index is given once in a file system"
        yield from _of_osts("DuplicateTarget", said, claimants)
    for claimants in by_mount.values():
        place = claimants[0].spec.mount_point
        said = f"spec.mountPoint: {place} is the mount point of OST {{other}}, too"
        said += "; on a server that holds both they would cover each other"
        yield from _of_osts("DuplicateMountPoint", said, claimants)


def _of_osts(reason: str, said: str, claimants: list[OST]) -> Iterator[Problem]:
    """The same said of each of several claimants, with another one.

    If exactly one of them is in service, it stays in service and fails over, and the others get nothing. Else none is granted.
    """
    serving = [ost for ost in claimants if ost.in_service]
    for place, ost in enumerate(claimants if len(claimants) > 1 else ()):
        if len(serving) != 1:
            yield _of_ost(ost, reason, said.format(other=claimants[0 if place else 1].key))
        elif ost is serving[0]:
            message = f"{said.format(other=claimants[0 if place else 1].key)}; this one is in service and stays so"
            yield Problem("OST", ost.key, reason, message)
        else:
            message = f"{said.format(other=serving[0].key)}; that one is in service, this one is not mounted"
            targets = (ost.target,) if ost.target != serving[0].target or pair_key(ost) != pair_key(serving[0]) else ()
            yield Problem("OST", ost.key, reason, message, targets, newcomer=True)


def _of_ost(ost: OST, reason: str, message: str) -> Problem:
    return Problem("OST", ost.key, reason, message, targets=(ost.target,))


# --- feeds


def _each_feed(pairs: Mapping[str, OSSPair]) -> Iterator[tuple[OSSPair, str, str, FeedRef]]:
    """All feeds: pair, server, the path of the field, the feed."""
    for pair in pairs.values():
        for at, node in enumerate(pair.spec.nodes):
            for level_at, level in enumerate(node.fencing):
                for feed_at, feed in enumerate(level.feeds):
                    yield pair, node.name, f"spec.nodes[{at}].fencing[{level_at}].feeds[{feed_at}]", feed


def _feeds(pairs: Mapping[str, OSSPair], devices: Mapping[str, FenceDevice]) -> Iterator[Problem]:
    for pair, server, field, feed in _each_feed(pairs):
        device = devices.get(device_key(pair, feed))
        if device is None:
            said = f"{field}.deviceName: there is no FenceDevice {feed.device_name} in namespace"
            reason, message = "FeedDeviceNotFound", f"{said} {pair.metadata.namespace}"
        elif feed.outlet and not device.spec.has_outlets and not device.spec.fence_agent:
            reason, message = (
                "OutletOnBMC",
                f"{field}.outlet: FenceDevice {feed.device_name} is a BMC, it has no outlets",
            )
        elif not feed.outlet and device.spec.has_outlets:
            said = f"{field}.outlet: FenceDevice {feed.device_name} is a PDU"
            reason, message = "OutletMissing", f"{said}; name the outlet that feeds {server}"
        else:
            continue
        yield Problem("OSSPair", pair.key, reason, f"{message}; {server} cannot be fenced by it", nodes=(server,))


def _shared_feeds(
    pairs: Mapping[str, OSSPair], devices: Mapping[str, FenceDevice], targets: Mapping[str, list[str]]
) -> Iterator[Problem]:
    """One outlet, or one BMC, that feeds two servers: whoever shoots one hits both.

    Two FenceDevices may stand for one device: they are told apart by address, PDUs by the identity that they report as well.
    Two BMCs that report one identity are `_shared_identities`: an off by either is sent to the pinned board only.
    """
    users: dict[tuple[str, str], dict[str, tuple[OSSPair, str]]] = defaultdict(dict)
    for pair, server, field, feed in _each_feed(pairs):
        key = device_key(pair, feed)
        for one in _names_of(devices.get(key), key):
            users[one, feed.outlet or ""].setdefault(server, (pair, field))
    told: set[tuple[str, str]] = set()
    for (_, outlet), servers in users.items():
        for server, (pair, field) in servers.items():
            others = [f"{name} of {other.key}" for name, (other, _) in servers.items() if name != server]
            if others and (pair.key, field) not in told:
                told.add((pair.key, field))
                what = f"outlet {outlet}" if outlet else "this BMC"
                said = (
                    f"{field}: {what} feeds {', '.join(others)} as well as {server}; a shot at one would hit the other"
                )
                nodes = tuple(servers)
                yield Problem("OSSPair", pair.key, "FeedFeedsTwoServers", said, tuple(targets.get(pair.key, ())), nodes)


def _names_of(device: FenceDevice | None, key: str) -> tuple[str, ...]:
    """What a device of an outlet is recognised by: its address, and for a PDU the identity that it reports."""
    if device is None or device.spec.fence_agent:
        return (key,)
    identity = _identity(device) if device.spec.has_outlets else ""
    return (normalised(device.spec.address), identity) if identity else (normalised(device.spec.address),)


def _identity(device: FenceDevice) -> str:
    """The usable identity that a device reports, in one spelling; empty: it reports none."""
    identity = reported(device)
    return identity_key(identity) if usable(identity) else ""


def _fed(pairs: Mapping[str, OSSPair]) -> Mapping[str, list[str]]:
    """The servers that each FenceDevice feeds, by its key."""
    fed: dict[str, list[str]] = defaultdict(list)
    for pair, server, _, feed in _each_feed(pairs):
        if server not in fed[device_key(pair, feed)]:
            fed[device_key(pair, feed)].append(server)
    return fed


def _shared_addresses(pairs: Mapping[str, OSSPair], devices: Mapping[str, FenceDevice]) -> Iterator[Problem]:
    fed = _fed(pairs)
    by_address: dict[str, list[FenceDevice]] = defaultdict(list)
    for device in devices.values():
        if not device.spec.fence_agent:
            by_address[normalised(device.spec.address)].append(device)
    for address, claimants in by_address.items():
        for place, device in enumerate(claimants if len(claimants) > 1 else ()):
            other = claimants[0 if place else 1]
            said = f"spec: {address} is the address of FenceDevice {other.key}, too; one device is declared once"
            yield Problem("FenceDevice", device.key, "SharedAddress", said, nodes=tuple(fed.get(device.key, ())))


# --- what devices and boards report of themselves


def _boards(pairs: Mapping[str, OSSPair], osses: Iterable[OSS]) -> Mapping[str, str]:
    """By server: its board's system UUID in one spelling, pinned or reported. Placeholders are left out."""
    found: dict[str, str] = {}
    for pair in pairs.values():
        for board in pair.status.boards if pair.status else ():
            found[board.node] = board.system_uuid
    for oss in osses:
        if oss.status is not None and oss.status.system_uuid:
            found.setdefault(oss.name, oss.status.system_uuid)
    return {node: identity_key(uuid) for node, uuid in found.items() if usable(uuid)}


def _duplicate_boards(boards: Mapping[str, str]) -> Iterator[Problem]:
    """One system UUID on several boards: it identifies none of them, nor their BMCs."""
    by_uuid: dict[str, list[str]] = defaultdict(list)
    for node in sorted(boards):
        by_uuid[boards[node]].append(node)
    for uuid, nodes in by_uuid.items():
        for node in nodes if len(nodes) > 1 else ():
            others = ", ".join(other for other in nodes if other != node)
            said = (
                f"status.systemUUID: {others} has a board of the same system UUID as {node}: it identifies neither, and no "
                f"BMC with it is used; set another with the vendor's tool"
            )
            yield Problem("OSS", node, "DuplicateIdentity", said, identities=(uuid,))


def _shared_identities(
    pairs: Mapping[str, OSSPair], devices: Mapping[str, FenceDevice], boards: Mapping[str, str]
) -> Iterator[Problem]:
    """Objects whose devices report one identity: one device that is declared twice, or an address that leads elsewhere.

    A BMC that reports the board of the one server that it feeds stays in use beside objects that feed other servers.
    """
    fed, shared = _fed(pairs), {uuid for uuid, count in Counter(boards.values()).items() if count > 1}
    by_identity: dict[str, list[FenceDevice]] = defaultdict(list)
    for device in devices.values():
        identity = _identity(device)
        if identity and identity not in shared:
            by_identity[identity].append(device)
    for identity, claimants in by_identity.items():
        own = [d.key for d in claimants if [boards.get(server) for server in fed.get(d.key, ())] == [identity]]
        for device in claimants if len(claimants) > 1 else ():
            others = [d.key for d in claimants if d is not device]
            if device.key in own and len(own) == 1:
                continue
            said = (
                f"status.identity: FenceDevice {', '.join(others)} reports {reported(device)}, too: one device is declared "
                f"twice, or one of the addresses leads to another device; correct spec"
            )
            yield Problem("FenceDevice", device.key, "SharedAddress", said, devices=(device.key,))


# --- servers


def _shared_servers(pairs: Mapping[str, OSSPair], targets: Mapping[str, list[str]]) -> Iterator[Problem]:
    members: dict[str, list[OSSPair]] = defaultdict(list)
    for pair in pairs.values():
        for server in dict.fromkeys(pair.servers):
            members[server].append(pair)
    for server, claimants in members.items():
        for place, pair in enumerate(claimants if len(claimants) > 1 else ()):
            other = claimants[0 if place else 1]
            said = f"spec.nodes: {server} is a server of OSSPair {other.key}, too; a server is in one pair"
            yield Problem(
                "OSSPair", pair.key, "ServerInTwoPairs", said, tuple(targets.get(pair.key, ())), nodes=(server,)
            )


def stamp(found: Resource) -> tuple[object, ...]:
    """What `find_problems` looks at in one object: while it stays the same, the problems do."""
    match found:
        case FenceDevice():
            told: object = reported(found)
        case OSS():
            told = found.status.system_uuid if found.status else ""
        case OSSPair():
            told = found.status.boards if found.status else ()
        case _:
            told = ""
    return (found.metadata.uid, found.metadata.generation, told)
