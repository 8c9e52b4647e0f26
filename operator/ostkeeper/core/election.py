"""Who leads, by one lease and the candidate's own monotonic clock. Pure: requests out, answers in.

Whether a candidate leads is a question of its own clock: the last renewal that succeeded *began* less than
`renew_deadline` ago. Another takes over only after it saw the record unchanged for `lease_duration` on its own clock, so
between the two lies the difference, and the planner lets further time pass before the first shot of a new leader.
Not here: how the lease is read and written, when an attempt is made (every `retry` seconds), what a leader does.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The durations of the election, in seconds."""

    lease_duration: float = 4.0
    """How long a record must stand unchanged before another takes over."""
    renew_deadline: float = 2.5
    """How long after the start of its last renewal a leader still leads."""
    retry: float = 0.5
    """Between two attempts, to renew as well as to acquire."""

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.lease_duration:
            raise ValueError(
                f"the election needs 0 < retry ({self.retry:g}s) < renew deadline ({self.renew_deadline:g}s) "
                f"< lease duration ({self.lease_duration:g}s)"
            )


DEFAULT_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Record:
    """The lease as one call gave it."""

    holder: str
    """Empty: nobody's."""
    version: str
    """Its resourceVersion."""
    duration: float = 0.0
    """leaseDurationSeconds as its holder wrote it."""


class Verb(enum.StrEnum):
    """What is asked of the lease."""

    GET = "get"
    CREATE = "create"
    RENEW = "renew"
    """Replace, guarded by the version of our own record: the same holder, a new time."""
    TAKE = "take"
    """Replace, guarded by the version of the record that was read: us as the holder, one more transition."""


class Answer(enum.StrEnum):
    """How a request ended."""

    OK = "ok"
    """With the record, or with none (GET: it does not exist)."""
    CONFLICT = "conflict"
    """409: it has changed, or (CREATE) exists."""
    GONE = "gone"
    """404 to a write."""
    FAILED = "failed"
    """No answer, or any other refusal: it may or may not have been written."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call, to be made now. `record` is what a write is guarded by."""

    verb: Verb
    record: Record | None = None


class Election:
    """One candidate. `led(term)` and `deposed(why)` are called as it changes; `name_term` gives names never used twice."""

    __slots__ = (
        "_again",
        "_began",
        "_deposed",
        "_led",
        "_name_term",
        "_observed",
        "_record",
        "_renewed",
        "holder",
        "term",
        "terms",
    )

    def __init__(
        self,
        holder: str,
        terms: Terms,
        name_term: Callable[[], str],
        led: Callable[[str], None],
        deposed: Callable[[str], None],
    ) -> None:
        self.holder, self.terms = holder, terms
        self._name_term, self._led, self._deposed = name_term, led, deposed
        self.term = ""
        """The term that we lead; empty: we do not."""
        self._record: Record | None = None
        """What we wrote last."""
        self._renewed = 0.0
        """When the last successful renewal began."""
        self._began = 0.0
        """When the renewal or acquisition under way began."""
        self._again = False
        """Our record changed under us, and we look whose it is."""
        self._observed = ("", 0.0)
        """The version of another's record, and when it was first seen."""

    def leading(self, now: float) -> bool:
        """Whether we lead at `now`, by our own clock alone. Ask right before each act, with the time of that moment."""
        return now < self.leads_until

    @property
    def leads_until(self) -> float:
        """The second of our clock at which we stop leading unless a renewal succeeds; minus infinity: we do not lead."""
        return self._renewed + self.terms.renew_deadline if self.term else -math.inf

    def attempt(self, now: float) -> Request:
        """Renew, or look whether the lease can be had; a term that has run out ends first."""
        self.check(now)
        self._began, self._again = now, False
        return Request(Verb.RENEW, self._record) if self.term else Request(Verb.GET)

    def answered(self, request: Request, answer: Answer, record: Record | None, now: float) -> Request | None:
        """Take in how a request of this attempt ended; returns the next one. None: the attempt is over."""
        following = self._answered(request, answer, record, now)
        if following is None:
            self.check(now)
        return following

    def check(self, now: float) -> None:
        """End a term whose last renewal is too old."""
        if self.term and not self.leading(now):
            self.end(f"its last renewal began {now - self._renewed:.1f}s ago")

    def end(self, why: str) -> None:
        """Stop leading, at once."""
        if self.term:
            self.term = ""
            self._deposed(why)

    def _answered(self, request: Request, answer: Answer, record: Record | None, now: float) -> Request | None:
        match request.verb, answer:
            case Verb.GET, Answer.OK:
                return self._whose(record) if self._again else self._acquire(record, now)
            case Verb.CREATE | Verb.TAKE, Answer.OK:
                self._start(record, now)
            case Verb.RENEW, Answer.OK:
                self._record, self._renewed = record, self._began
            case Verb.RENEW, Answer.GONE:
                self.end("its lease was deleted")
            case Verb.RENEW, Answer.CONFLICT if not self._again:
                self._again = True
                return Request(Verb.GET)
            case _:
                pass  # the next attempt is due soon; what we know of the lease has not changed
        return None

    def _whose(self, record: Record | None) -> Request | None:
        """Our record changed under us: somebody edited it, or somebody else leads."""
        if record is not None and record.holder == self.holder:
            self._record = record
            return Request(Verb.RENEW, record)
        self.end(f"{(record.holder if record else '') or 'nobody'} holds the lease now")
        return None

    def _acquire(self, record: Record | None, now: float) -> Request | None:
        if record is None:
            return Request(Verb.CREATE)
        if not self._free(record, now):
            return None
        self._began = now
        return Request(Verb.TAKE, record)

    def _free(self, record: Record, now: float) -> bool:
        """Whether the record is nobody's, or has stood unchanged for its time as we saw it."""
        if record.holder in ("", self.holder):
            return True
        if self._observed[0] != record.version:
            self._observed = (record.version, now)
        return now - self._observed[1] > max(self.terms.lease_duration, record.duration)

    def _start(self, record: Record | None, now: float) -> None:
        """It is ours, unless writing it took so long that it has run out already."""
        self._record, self._renewed = record, self._began
        self.term = self._name_term()
        if self.leading(now):
            self._led(self.term)
        else:
            self.term = ""
