"""Which device each feed of a Failover must be, and what a reading of any other device counts as.

The identity of a BMC is the server's pinned board. The identity of a PDU is the one in the Failover's snapshot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ostkeeper.api.failover import Failover, FeedSnapshot
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.core.identity import GUID, key, matches, reported, usable
from ostkeeper.core.power import Feed, PowerReading, PowerState
from ostkeeper.core.view import View

WRONG = "WrongIdentity"
NONE = "NoIdentity"


class Expected(NamedTuple):
    """The identity that a feed's device must report."""

    identity: str = ""
    """Empty: no usable identity is known."""
    accepted: bool = False
    """The pair's spec accepts that nothing identifies the device (`acceptUnidentified`)."""
    why: str = ""
    """Why the device proves nothing and is sent nothing; empty: it may be used."""


def identifies(view: View, identity: str) -> bool:
    """Whether an identity identifies one device: no placeholder, and reported by one board or device only."""
    if not usable(identity):
        return False
    shared = [p for p in view.problems if p.identities]
    return not shared or not any(key(identity) in p.identities for p in shared)


def board_of(view: View, node: str) -> str:
    """The system UUID of the server's pinned board; empty: none is pinned."""
    status = view.status
    return next((b.system_uuid for b in status.boards if b.node == node), "") if status else ""


def declared_twice(view: View, device: str) -> str:
    """Why the FenceDevice of this name is not used: another object stands for the same device. Empty: none does."""
    if not view.problems or view.pair is None:
        return ""
    found = f"{view.pair.metadata.namespace}/{device}"
    return next((f"{p.reason}: {p.message}" for p in view.problems if found in p.devices), "")


def snapshot_of(failover: Failover, feed: Feed) -> FeedSnapshot | None:
    """The feed as the Failover's snapshot has it."""
    feeds = (f for level in failover.spec.policy.levels for f in level.feeds)
    return next((f for f in feeds if (f.device_name, f.outlet) == feed.names), None)


def expected(view: View, failover: Failover, feed: Feed) -> Expected:
    """The identity that the feed's device must report in this Failover."""
    snapshot = snapshot_of(failover, feed)
    if snapshot is None:
        return Expected(why=f"{NONE}: {feed} is not part of this Failover")
    known = snapshot.identity if identifies(view, snapshot.identity) else ""
    board = "" if feed.outlet else board_of(view, failover.spec.node)
    if board and identifies(view, board) and (known or not snapshot.accepted):
        return Expected(GUID + board, snapshot.accepted)
    if snapshot.accepted or (known and not board):
        return Expected(known, snapshot.accepted)
    if board:
        return Expected(
            why=f"{NONE}: {feed.device} cannot be told from other BMCs: {_no_board(failover.spec.node, board)}"
        )
    return Expected(why=f"{NONE}: {_nothing_told(feed.device)}")


def _no_board(node: str, board: str) -> str:
    return f"the system UUID of {node}, {board}, is a placeholder or is also reported by another board"


def _nothing_told(device: str) -> str:
    return f"{device} reported no identity of its own (serial number, engine ID, system GUID) when this Failover was opened"


def wrong(view: View, failover: Failover, feed: Feed, answered: str) -> tuple[str, str]:
    """Reason and text why the answer of a device with this identity proves nothing; both empty: it counts."""
    want = expected(view, failover, feed)
    if want.why:
        return NONE, want.why
    board = "" if feed.outlet else board_of(view, failover.spec.node)
    if not want.identity and usable(answered) and board and identifies(view, board):
        want = Expected(GUID + board)  # accepted without an identity, but this device does report one
    if not want.identity or matches(want.identity, answered):
        return "", ""
    if not usable(answered):
        said = f"reports {answered}, which identifies nothing" if answered else "reports no identity"
        return ("", "") if want.accepted else (NONE, f"{NONE}: {feed.device} {said}; {want.identity} is expected")
    text = f"{WRONG}: {feed.device} is another device: reports {answered}, {want.identity} is expected"
    return WRONG, text


def judged(view: View, failover: Failover | None, feed: Feed, reading: PowerReading) -> PowerReading:
    """The reading, as UNKNOWN where it is not one of the expected device."""
    if reading.state is PowerState.UNKNOWN:
        return reading
    reason, text = wrong(view, failover, feed, reading.identity) if failover else (NONE, f"{NONE}: no Failover asks")
    return replace(reading, state=PowerState.UNKNOWN, detail=text, reason=reason) if reason else reading


def beside(view: View, failover: Failover | None, feed: Feed, reading: PowerReading) -> PowerState:
    """The state that a BMC of another level counts as: ON vetoes unless another device says it."""
    found = judged(view, failover, feed, reading)
    return reading.state if found.reason == NONE and reading.state is PowerState.ON else found.state


def another(view: View, failover: Failover, feed: Feed) -> str:
    """Why the feed's device is not the expected one, as its last probe or another object says; empty: nothing says so."""
    device = view.devices.get(feed.device)
    answered = reported(device) if device else ""
    reason, text = wrong(view, failover, feed, answered) if answered else ("", "")
    return text if reason == WRONG else declared_twice(view, feed.device)


def misidentified(view: View, failover: Failover, feed: Feed) -> str:
    """Why the feed proves nothing and is sent no off: its device is another one, or nothing identifies it."""
    return another(view, failover, feed) or expected(view, failover, feed).why


def _untold(view: View, failover: Failover, feed: Feed) -> str:
    """A device that was probed and has reported no identity so far."""
    device = view.devices.get(feed.device)
    if device is None or device.status is None or reported(device) or expected(view, failover, feed).accepted:
        return ""
    return f"{NONE}: {feed.device} has reported no identity so far"


def said_of_levels(view: View, failover: Failover) -> str:
    """The fencing levels that cannot be used because of a device's identity, for the person who is asked."""
    said = []
    for level in failover.spec.policy.levels:
        feeds = (Feed(f.device_name, f.outlet) for f in level.feeds)
        found = (misidentified(view, failover, feed) or _untold(view, failover, feed) for feed in feeds)
        reasons = list(dict.fromkeys(why for why in found if why))
        said += [f"level {level.name} cannot be used: {'; '.join(reasons)}"] if reasons else []
    return "; ".join(said)


def distrusted(view: View, node: str, device: FenceDevice) -> str:
    """Why the identity of a server's fence device keeps the pair from being armed; empty: it is the expected device."""
    what = "PDU" if device.spec.has_outlets else "BMC"
    answered = reported(device)
    if not answered:
        kind = "identity (serial number or engine ID)" if device.spec.has_outlets else "system UUID"
        return f"{what} {device.name} has not told its {kind} yet"
    if not identifies(view, answered):
        return f"{NONE}: {what} {device.name} reports {answered}, which is a placeholder or is not reported by it alone"
    if device.spec.has_outlets:
        return ""
    report = view.report(node)
    board = (report.system_uuid if report else "") or board_of(view, node)
    if not board or matches(GUID + board, answered):
        return ""
    if not identifies(view, board):
        return f"{NONE}: {_no_board(node, board)}; {device.name} cannot be told from other BMCs"
    told = answered.removeprefix(GUID)
    return f"{WRONG}: BMC {device.name} belongs to board {told}, {node} runs on {board}: the feeds are swapped"
