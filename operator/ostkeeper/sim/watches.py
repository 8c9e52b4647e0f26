"""Watches: what of each commit reaches whom, and when.

One stream for each subscriber and kind: in order within itself, with a lag of its own, so that kinds overtake each other.
A stream breaks when its link does, or the API server; its subscriber comes back after a while and lists. What vanished in
between is told at once to agents, by a sweep within a minute to operators (kopf does not notice), and for leases and Nodes
never. After a restore of etcd a stream that was further on is deaf until the versions have caught up, or it lists anew.
Not here: what news means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.claims import pair_key
from ostkeeper.sim.kernel import Actor, Kernel
from ostkeeper.sim.network import API, Network
from ostkeeper.sim.store import LEASE, NODE, Store

LAG_LEAST, LAG_SPREAD = 0.002, 0.06
"""Seconds from a commit to its subscribers: at least, and at most so much more."""
BACK_FIRST, BACK_MOST = 0.2, 5.0
"""Seconds until a subscriber of a broken stream tries again: at first, and at most (doubling)."""
SWEEP = 60.0
"""Seconds within which an operator notices what vanished while its stream was broken."""
HISTORY = 200
"""How many missed commits a lease watch is given afterwards; of more it has to list."""
Deliver = Callable[[str, str, Any], None]
"""Gets kind, key, and the object; None: it is gone."""


class Stream:
    """One subscriber's watch of one kind."""

    __slots__ = (
        "afresh",
        "asleep",
        "backoff",
        "broken",
        "deliver",
        "due",
        "held",
        "kind",
        "known",
        "listed",
        "missed",
        "slow",
        "topic",
        "version",
        "who",
    )

    def __init__(self, who: Subscription, kind: str, topic: str, listed: Callable[[], None] | None) -> None:
        self.who, self.kind, self.topic, self.listed = who, kind, topic, listed
        self.deliver = who.deliver
        self.asleep = False
        self.broken = False
        self.backoff = BACK_FIRST
        self.held = 0.0
        """Broken on purpose until this second."""
        self.slow = 0.0
        """Seconds of lag beyond the usual, at most."""
        self.due = 0.0
        """When the last news arrives: none overtakes it."""
        self.version = 0
        """The resourceVersion up to which it was served."""
        self.known: dict[str, Any] = {}
        """What it was shown last, by key."""
        self.afresh = False
        """It lists on purpose, to find what is gone, too."""
        self.missed: list[tuple[str, Any]] | None = None
        """Lease watches go on from where they broke: what they missed meanwhile. None: it has to list."""


class Subscription:
    """All streams of one process."""

    __slots__ = ("actor", "deliver", "name", "prompt", "streams", "watches")

    def __init__(self, watches: Watches, name: str, actor: Actor, deliver: Deliver, prompt: bool) -> None:
        """`name` is its endpoint. `prompt`: a fresh LIST tells at once of what is gone; else a sweep does, later."""
        self.watches, self.name, self.actor, self.deliver, self.prompt = watches, name, actor, deliver, prompt
        self.streams: list[Stream] = []

    def watch(self, kind: str, topic: str = "", listed: Callable[[], None] | None = None) -> None:
        """List, then follow, a kind: all of it, or what concerns one topic (see `topic_of`). `listed`: told after each LIST."""
        stream = Stream(self, kind, topic, listed)
        self.streams.append(stream)
        self.watches.add(stream)

    def unwatch(self, kind: str, topic: str = "") -> None:
        """Follow it no longer."""
        for stream in [s for s in self.streams if (s.kind, s.topic) == (kind, topic)]:
            self.streams.remove(stream)
            self.watches.remove(stream)

    def close(self) -> None:
        """Its process is gone."""
        for stream in self.streams:
            self.watches.remove(stream)
        self.streams.clear()

    def relist(self, kind: str = "") -> None:
        """List anew (all kinds, if none is named), whatever the streams are at: all is shown, and told what is gone."""
        for stream in self.streams:
            if stream.kind == kind or not kind:
                self.watches.interrupt(stream)
                stream.missed, stream.afresh = None, True
                stream.known = dict.fromkeys(stream.known)

    def sleep(self) -> None:
        """Hear nothing for now: nothing would come of it."""
        for stream in self.streams:
            stream.asleep = True

    def wake(self) -> None:
        """Be shown at once what has changed meanwhile, and hear again."""
        for stream in self.streams:
            stream.asleep = False
            if not stream.broken:
                self.watches.catch_up(stream)


class Watches:
    """All streams."""

    def __init__(self, kernel: Kernel, network: Network, store: Store) -> None:
        self._kernel, self._network, self._store = kernel, network, store
        self._streams: dict[tuple[str, str], list[Stream]] = {}
        """By kind and topic; under topic "" those who follow all of a kind."""
        store.watches = self

    def subscribe(self, name: str, actor: Actor, deliver: Deliver, prompt: bool = True) -> Subscription:
        """Begin as a process at an endpoint. `prompt`: see `Subscription`."""
        return Subscription(self, name, actor, deliver, prompt)

    # --- news

    def committed(self, kind: str, key: str, news: Any, about: Any, version: int) -> None:
        """Show a commit to those who follow it. `news` is None for a deletion; `about` is the object all the same."""
        streams = self._streams.get((kind, ""))
        if streams:
            self._show(streams, kind, key, news, version)
        if len(self._streams) > 1:
            streams = self._streams.get((kind, topic_of(about, key)))
            if streams:
                self._show(streams, kind, key, news, version)

    def _show(self, streams: list[Stream], kind: str, key: str, news: Any, version: int) -> None:
        kernel, network = self._kernel, self._network
        now, chance = kernel.now, kernel.random.random
        for stream in streams:
            if stream.asleep or version <= stream.version:
                continue
            if stream.broken:
                if stream.missed is not None:
                    stream.missed.append((key, news))
                continue
            who = stream.who
            if not network.reaches(API, who.name):
                self.interrupt(stream)
                if stream.missed is not None:
                    stream.missed.append((key, news))
                continue
            stream.version = version
            if news is None:
                stream.known.pop(key, None)
            else:
                stream.known[key] = news
            due = now + LAG_LEAST + LAG_SPREAD * chance()
            if stream.slow:
                due += stream.slow * chance()
            if due < stream.due:
                due = stream.due
            stream.due = due
            kernel.at(due, who.actor, stream.deliver, kind, key, news)

    # --- life of a stream

    def add(self, stream: Stream) -> None:
        """It begins with a LIST, which takes a moment."""
        self._streams.setdefault((stream.kind, stream.topic), []).append(stream)
        stream.broken = True
        self._kernel.after(LAG_LEAST + LAG_SPREAD * self._kernel.random.random(), stream.who.actor, self._back, stream)

    def remove(self, stream: Stream) -> None:
        """It ends."""
        self._streams[stream.kind, stream.topic].remove(stream)
        stream.asleep = True

    def interrupt(self, stream: Stream, until: float = 0.0) -> None:
        """It breaks, and stays so until a second (0: as soon as its subscriber comes back)."""
        stream.held = max(stream.held, until)
        if stream.broken:
            return
        stream.broken, stream.backoff = True, BACK_FIRST
        stream.missed = [] if stream.kind == LEASE else None
        self._again(stream)

    def break_all(self) -> None:
        """The API server went away."""
        for streams in self._streams.values():
            for stream in streams:
                self.interrupt(stream)

    def compact(self) -> None:
        """What the streams go on from is kept no longer: they break, and each has to list."""
        self.break_all()
        for streams in self._streams.values():
            for stream in streams:
                stream.missed = None

    def of(self, name: str, kind: str = "") -> list[Stream]:
        """The streams of one endpoint, of one kind or of all: for faults."""
        return [
            stream
            for streams in self._streams.values()
            for stream in streams
            if stream.who.name == name and kind in ("", stream.kind)
        ]

    def _again(self, stream: Stream) -> None:
        wait = stream.backoff * (0.5 + 0.5 * self._kernel.random.random())
        stream.backoff = min(BACK_MOST, stream.backoff * 2)
        self._kernel.at(max(stream.held, self._kernel.now + wait), stream.who.actor, self._back, stream)

    def _back(self, stream: Stream) -> None:
        """Its subscriber comes back, if it can."""
        if stream.asleep and stream not in stream.who.streams:
            return
        name, network = stream.who.name, self._network
        up = self._store.up and network.reaches(name, API) and network.reaches(API, name)
        if not up or stream.held > self._kernel.now:
            self._again(stream)
            return
        stream.broken = False
        missed, stream.missed = stream.missed, None
        if missed is not None and len(missed) <= HISTORY and not stream.asleep:
            self._resume(stream, missed)
        elif not stream.asleep:
            self._list(stream)

    def _resume(self, stream: Stream, missed: list[tuple[str, Any]]) -> None:
        """Go on where it broke: all that was committed meanwhile comes in one burst."""
        for key, news in missed:
            stream.known[key] = news
            self._kernel.at(self._due(stream), stream.who.actor, stream.deliver, stream.kind, key, news)
        stream.version = max(stream.version, self._store.version)

    def _list(self, stream: Stream) -> None:
        for key, found in self._fresh(stream):
            self._kernel.at(self._due(stream), stream.who.actor, stream.deliver, stream.kind, key, found)
        if (
            stream.kind in (OSS.kind, OSSPair.kind) and stream.topic and not stream.known
        ):  # a LIST by name finds nothing
            self._kernel.at(self._due(stream), stream.who.actor, stream.deliver, stream.kind, stream.topic, None)
        self._lose(stream)
        stream.afresh = False
        if stream.listed is not None:
            self._kernel.at(max(stream.due, self._kernel.now), stream.who.actor, stream.listed)

    def catch_up(self, stream: Stream) -> None:
        """Show, now, what a sleeper would have heard."""
        for key, found in self._fresh(stream):
            stream.deliver(stream.kind, key, found)
        self._lose(stream)

    def _fresh(self, stream: Stream) -> list[tuple[str, Any]]:
        """What a LIST shows that was not shown yet, noted as shown."""
        stream.version = self._store.version
        known, topic = stream.known, stream.topic
        fresh = [
            (key, found)
            for key, found in self._store.shelves[stream.kind].items()
            if known.get(key) is not found and (not topic or topic_of(found, key) == topic)
        ]
        known.update(fresh)
        return fresh

    def _lose(self, stream: Stream) -> None:
        """What a LIST shows no more."""
        if stream.kind in (LEASE, NODE):
            return
        shelf = self._store.shelves[stream.kind]
        for key in [key for key in stream.known if key not in shelf]:
            if stream.who.prompt or stream.afresh:
                del stream.known[key]
                self._kernel.at(self._due(stream), stream.who.actor, stream.deliver, stream.kind, key, None)
            else:
                wait = SWEEP * self._kernel.random.random()
                self._kernel.after(wait, stream.who.actor, self._sweep, stream, key)

    def _sweep(self, stream: Stream, key: str) -> None:
        """A minute's look for ghosts: a LIST says that it is gone."""
        if key in stream.known and key not in self._store.shelves[stream.kind] and not stream.broken:
            del stream.known[key]
            stream.deliver(stream.kind, key, None)

    def _due(self, stream: Stream) -> float:
        lag = LAG_LEAST + LAG_SPREAD * self._kernel.random.random()
        stream.due = max(stream.due, self._kernel.now + lag)
        return stream.due


def topic_of(about: Any, key: str) -> str:
    """What agents select by: an OST or a Failover by the pair that it names, all else by its key."""
    if isinstance(about, OST | Failover):
        return pair_key(about)
    return key
