"""What one leader saw of one failover: sessions, shots, rounds and nonces. Volatile: after a crash it is done again.

Here: the memory and the confirm loop, as functions of readings and `now`. A reading not taken proves nothing.
Not here: which step comes next (`failover`), how a device is asked (`fencing`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ostkeeper.core.power import Feed, PowerReading, PowerState

FIRST_RETRY = 5.0
"""Seconds from the end of a level's last try to the next one, while Blocked; twice as long after each further try."""
LAST_RETRY = 60.0
"""Seconds between two tries at the most."""


@dataclass(frozen=True, slots=True)
class Load:
    """How a feed's measured load is judged once it reads OFF."""

    grace: float = 10.0
    """Seconds after the acknowledged off: until then load means that the feed is not off yet."""
    residue: float = 5.0
    """Watts: load above this, once the grace is over, is a veto: something still draws power."""


@dataclass(frozen=True, slots=True)
class Tried:
    """The last try of a level, as this leader made it."""

    at: float
    """When it ended."""
    wait: float
    """Seconds until the next one."""


@dataclass(slots=True)
class Shot:
    """One feed's off: under way, acknowledged, failed, or never sent."""

    op: int
    ended: float = math.inf
    ok: bool = False
    sent: bool = False
    detail: str = ""


@dataclass(slots=True)
class Rounds:
    """Rounds of readings of all feeds of a level. `needed` in a row must read OFF everywhere."""

    feeds: tuple[Feed, ...]
    needed: int
    interval: float
    patience: float
    """Seconds for which a feed may go on without reading OFF: the device's request time-out, twice that if it reads ON."""
    not_before: float
    """Only readings that began after this second count: the last off was acknowledged then."""
    loads: dict[Feed, Load] = field(default_factory=dict)
    """How the measured load of each feed is judged."""
    acked: float = -math.inf
    """When the last off was acknowledged: the grace for measured load counts from it."""
    next_at: float = 0.0
    pending: dict[int, Feed] = field(default_factory=dict)
    got: dict[Feed, PowerReading] = field(default_factory=dict)
    boots: dict[Feed, str] = field(default_factory=dict)
    identities: dict[Feed, str] = field(default_factory=dict)
    """Who answered in the rounds that count."""
    bad_since: dict[Feed, float] = field(default_factory=dict)
    read_off: bool = False
    """Whether a round read OFF on every feed, whether it counted or not."""
    count: int = 0
    failure: str = ""
    """Why this level proves nothing; empty: it may still."""

    @property
    def done(self) -> bool:
        """Enough rounds in a row read OFF on every feed."""
        return self.count >= self.needed and not self.failure

    def due(self, now: float) -> bool:
        """Whether another round is to be started."""
        return not self.pending and not self.done and not self.failure and now >= self.next_at

    def start(self, ops: dict[int, Feed], now: float) -> None:
        """A round begins: one question to each feed."""
        self.pending = dict(ops)
        self.got = {}
        self.next_at = now + self.interval

    def again(self, not_before: float) -> None:
        """All that was read so far proves nothing: something moved since."""
        self.count = 0
        self.not_before = not_before
        self.boots, self.identities = {}, {}

    def take(self, op: int, reading: PowerReading, now: float) -> None:
        """A reading came in. Late answers to earlier questions are nobody's."""
        feed = self.pending.pop(op, None)
        if feed is None:
            return
        self.got[feed] = reading
        self._judge(feed, reading, now)
        if not self.pending:
            self._close()

    def _judge(self, feed: Feed, reading: PowerReading, now: float) -> None:
        if reading.state is PowerState.OFF:
            self.bad_since.pop(feed, None)
            limit = self._limit(feed)
            if self._loaded(feed, reading) and reading.began >= self.acked + limit.grace:
                since = reading.began - self.acked
                self.failure = f"{feed} reads OFF, but {reading.watts:g} W flow through it, {since:.1f}s after the off"
            if len(self.feeds) > 1 and not reading.boot:
                self.failure = f"{feed} has no sign of reboots: it cannot carry a level of several feeds"
            return
        since = self.bad_since.setdefault(feed, reading.began)
        patience = self.patience if reading.state is PowerState.UNKNOWN else 2 * self.patience
        if now - since >= patience * 0.98:
            word = "reads ON" if reading.state is PowerState.ON else f"is UNKNOWN: {reading.detail or 'no answer'}"
            self.failure = f"{feed} {word}, {now - self.not_before:.1f}s after the off"

    def _limit(self, feed: Feed) -> Load:
        return self.loads.get(feed, Load())

    def _loaded(self, feed: Feed, reading: PowerReading) -> bool:
        """Whether load above the residue is measured. A figure that is not a number is no proof that there is none."""
        return reading.watts is not None and not reading.watts <= self._limit(feed).residue

    def _off(self, feed: Feed, reading: PowerReading) -> bool:
        """Whether the reading proves that the feed gives no power: OFF, new enough, and no load."""
        return reading.state is PowerState.OFF and reading.began >= self.not_before and not self._loaded(feed, reading)

    def _close(self) -> None:
        """A round is complete: it counts when every reading of it proves OFF, and all are from the same boots."""
        self.read_off = self.read_off or all(r.state is PowerState.OFF for r in self.got.values())
        off = all(self._off(feed, reading) for feed, reading in self.got.items())
        boots = {feed: reading.boot for feed, reading in self.got.items()}
        identities = {feed: reading.identity for feed, reading in self.got.items()}
        if not off:
            self.count = 0
            self.boots, self.identities = {}, {}
        elif self.count and (boots, identities) != (self.boots, self.identities):
            self.count = 1
            self.boots, self.identities = boots, identities
        else:
            self.count += 1
            self.boots, self.identities = boots, identities


@dataclass(slots=True)
class Campaign:
    """What this leader saw and did for one Failover."""

    name: str
    began: float
    uid: str = ""
    """Of the Failover object: one that is deleted and created again under its name proves everything anew."""
    level: int = -1
    """The level that the rest is about; -1: none was begun by this leader."""
    read_op: int = 0
    """The quorum read before this level's offs, while it is under way."""
    read_began: float = -1.0
    """When the last good quorum read for this level began; negative: none."""
    shots: dict[Feed, Shot] = field(default_factory=dict)
    rounds: Rounds | None = None
    bystanders: dict[Feed, PowerState | None] = field(default_factory=dict)
    """The server's BMC on another level: None while the first answer after the last off is awaited."""
    bystander_ops: dict[int, Feed] = field(default_factory=dict)
    bystander_on_since: float = math.inf
    bystander_next: float = 0.0
    beat_at: float = -math.inf
    """When a heartbeat of the server was last seen since the fencing began."""
    level_nonce: str = ""
    """Asked when the last off was acknowledged: agents watch for movement from then on."""
    final_nonce: str = ""
    """Asked when the rounds were complete."""
    asked_at: float = math.inf
    recounted: bool = False
    """A disk moved before `settle` was over, and the count of stillness began again."""
    unsent: int = 0
    """How often an off of this level was not sent: its deadline came first, or its device could not be opened."""
    failures: dict[int, str] = field(default_factory=dict)
    """Why each level that was tried proved nothing."""
    tried: dict[int, Tried] = field(default_factory=dict)
    """The last try of each level."""
    retry: bool = False
    """One level is tried again from Blocked; after it Blocked is entered again."""
    on_ops: dict[int, Feed] = field(default_factory=dict)
    on_done: set[Feed] = field(default_factory=set)
    on_refused: dict[Feed, str] = field(default_factory=dict)
    """Why an on was not sent to the feed's device: another one answers."""
    on_at: float = -math.inf
    """When power was last ordered on."""
    on_began: float = math.inf
    """When power was first ordered on."""
    poll_ops: dict[int, Feed] = field(default_factory=dict)
    poll_at: float = 0.0
    poll: dict[Feed, PowerState] = field(default_factory=dict)
    """In Blocked: what each feed read last."""
    poll_base: dict[Feed, PowerState] = field(default_factory=dict)
    """In Blocked: what each feed read when it was entered."""
    loads: dict[Feed, float] = field(default_factory=dict)
    """The load that each feed showed when it was looked at last, watts; only what is measured."""
    before: dict[Feed, float] | None = None
    """In a drill: the loads before the off of this step; None: not looked at yet."""
    looked: bool = False
    """In a drill: the loads after the off were looked at."""
    phase_since: float = 0.0
    phase: str = ""
    partner_missing: bool = False
    """Blocked because of the partner: goes on when it is able again."""

    @property
    def last_ack(self) -> float:
        """When the last off of this level ended; inf while one is under way, or none was fired."""
        return max((shot.ended for shot in self.shots.values()), default=math.inf)

    def enter(self, phase: str, now: float) -> None:
        """The durable phase changed."""
        if phase != self.phase:
            self.phase, self.phase_since = phase, now

    def note_try(self, level: int, why: str, now: float) -> None:
        """A try of a level has failed: when the next one is due, with twice the wait each time."""
        before = self.tried.get(level)
        wait = FIRST_RETRY if before is None else min(2 * before.wait, LAST_RETRY)
        self.tried[level] = Tried(now, wait)
        self.failures[level] = why

    def begin_level(self, level: int) -> None:
        """Another level: nothing of the one before proves anything."""
        if level != self.level:
            self.unsent = 0
        self.level = level
        self.read_op, self.read_began = 0, -1.0
        self.shots = {}
        self.rounds = None
        self.bystanders, self.bystander_ops = {}, {}
        self.bystander_on_since, self.bystander_next = math.inf, 0.0
        self.level_nonce = self.final_nonce = ""
        self.asked_at = math.inf
        self.recounted = False
        self.beat_at = -math.inf

    def count_again(self, not_before: float) -> None:
        """Rounds and nonces from the start, with readings that begin after a moment only; once a level."""
        self.recounted = True
        self.level_nonce = self.final_nonce = ""
        self.asked_at = math.inf
        if self.rounds is not None:
            self.rounds.again(not_before)
            self.rounds.next_at = max(self.rounds.next_at, not_before)
