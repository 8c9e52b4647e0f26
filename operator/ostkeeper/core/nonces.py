"""Answering the pair's nonces: which readings count, what has moved since the question, who may still write.

Here: the questions that are open, from when on movement counts, the answer. Not here: what an answer proves (the pair
machine's part), how disks are read.

A nonce asks what is so *after* it was seen, so only readings that began later count. Movement is counted from the first
such reading of the first nonce of one failover and level: what changed before it says nothing about the time after the off.
"""

from __future__ import annotations

from functools import lru_cache

from ostkeeper.api.oss import DiskReport, NonceAnswer
from ostkeeper.core.hostevents import Activity, Reading
from ostkeeper.core.hoststate import STALLED_AFTER, Base, Host, Question, Target

PATIENCE = 1.0
"""Seconds after which a nonce is answered without the disks that do not answer: they read Unknown."""
KEPT_ATTEMPTS = 8
"""Attempts of one failover whose first readings are kept."""
APART = 0.1
"""Seconds between the first and the last reading before "not moved" means something."""


def take_question(host: Host, now: float) -> bool:
    """Note the pair's nonce if it is new to this agent; say whether it is: then all disks are read anew."""
    nonce = host.pair.status.nonce if host.pair and host.pair.status else None
    old = host.question.nonce if host.question else None
    if nonce is None:
        host.question = None
        return False
    if nonce == old:
        return False
    if host.question and old and old.value == nonce.value:
        host.question.nonce = nonce
        return False
    counts = bool(nonce.failover) and nonce.level >= 0
    base = host.bases.get((nonce.failover, nonce.level)) if counts else None
    if base is None:
        base = Base(now)
        if counts:
            host.bases[nonce.failover, nonce.level] = base
            _forget_attempts(host, nonce.failover)
    host.question = Question(nonce, now, base)
    return True


def _forget_attempts(host: Host, failover: str) -> None:
    """Drop what belongs to the attempts of a failover that were given up long ago: while Blocked they are many."""
    levels = sorted(level for name, level in host.bases if name == failover)
    for level in levels[:-KEPT_ATTEMPTS]:
        del host.bases[failover, level]


def note_reading(host: Host, target: Target) -> None:
    """Let a reading begin the count of movement, for each question for which it is the first."""
    reading = target.reading
    if reading is None or not reading.ok:
        return
    bases = [*host.bases.values(), *([host.question.base] if host.question else [])]
    for base in bases:
        if reading.began >= base.since:
            base.first.setdefault(target.name, (reading.began, reading.moves))


def answer(host: Host, now: float) -> NonceAnswer | None:
    """The answer to the open question, or the last answer while this one is not ready."""
    question = host.question
    if question is None:
        return host.answer
    known = host.told()
    overdue = now >= question.seen_at + PATIENCE
    if not (answered(host) or overdue or ready(host, question)):
        return host.answer
    if host.unseen():  # a restarted agent does not call unmounted what it has not looked for
        return host.answer
    mounted = tuple(target.name for target in known if target.mounts)
    host.answered_mounted[question.nonce.value] = mounted
    moved = tuple([target.name for target in known if not target.mounts and _moved(question, target)])
    disks = tuple([_disk(question, target) for target in known])
    children = tuple([target.name for target in known if target.child])
    old, value = host.answer, question.nonce.value
    if old and (old.value, old.moved, old.disks, old.children, old.mounted) == (
        value,
        moved,
        disks,
        children,
        mounted,
    ):
        return old
    return NonceAnswer.model_construct(value=value, moved=moved, disks=disks, children=children, mounted=mounted)


def answered(host: Host) -> bool:
    """The last answer is to the open question; also so where none is open."""
    question = host.question
    return question is None or (host.answer is not None and host.answer.value == question.nonce.value)


def ready(host: Host, question: Question, new: Reading | None = None) -> bool:
    """Every disk was read as the question asks; `new`: with this reading, which is not taken in yet."""
    for target in host.targets.values():
        reading = new if new is not None and new.target == target.name else target.reading
        if target.ost is not None and not _ready(question, target, reading):
            return False
    return True


def _ready(question: Question, target: Target, reading: Reading | None) -> bool:
    """Its disk was read after the question, for a failover twice unless it is mounted here; `reading`: its latest."""
    if reading is None or reading.began < question.seen_at:
        return False
    if not question.nonce.failover or target.mounts or not reading.ok:
        return True
    first = question.base.first.get(target.name)
    return first is not None and reading.began >= first[0] + APART


def _moved(question: Question, target: Target) -> bool:
    first = question.base.first.get(target.name)
    return first is not None and target.reading is not None and target.reading.moves != first[1]


def _disk(question: Question, target: Target) -> DiskReport:
    if target.reading is None or target.reading.began < question.seen_at:
        return _disk_report(target.name, "Unknown", "", "", "")
    return disk_report(target, question.seen_at)


def disk_report(target: Target, now: float) -> DiskReport:
    """One disk as it is reported; `now` decides whether its last reading is too old to be worth anything."""
    reading = target.reading
    if reading is None:
        return _disk_report(target.name, "Unknown", "", "", "")
    stalled = now - reading.began > STALLED_AFTER
    state = "Unreadable" if stalled or not reading.ok else reading.activity
    block = reading.digest if state == "Still" else ""
    return _disk_report(target.name, state, reading.mark, block, reading.uuid)


@lru_cache(maxsize=4096)
def _disk_report(target: str, state: Activity, mark: str, block: str, uuid: str) -> DiskReport:
    """Made once, and shared by all reports that say the same: models are frozen."""
    return DiskReport.model_construct(target=target, state=state, mark=mark, block=block, uuid=uuid)
