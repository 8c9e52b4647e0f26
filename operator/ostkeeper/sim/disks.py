"""The disks of the site: one LUN a target, with its MMP block, seen by both servers of a pair; and their page caches.

Here: what stands on a disk, who writes its MMP block, what a server has cached of it. Not here: mounting (`hosts`), what
follows from readings (`core.diskview`).

A mounted disk's block is not written by events: which sequence it holds is computed when it is read. A writer that is
stopped (its server hangs, its path stalls, its power is gone) leaves the block as it was then; one that goes on, goes on.
"""

from __future__ import annotations

from random import Random

from ostkeeper.core.diskview import Mark, MmpState, Probe

NO_MARK = Mark("", "")
THIRD_HOST = "a third host"
"""Name of a writer that is none of the site's servers."""


class Writer:
    """The kernel thread that rewrites the block as long as a server has the disk mounted."""

    __slots__ = ("host", "mark", "running", "sequence", "since", "wrote_at")

    def __init__(self, host: str, mark: Mark, sequence: int, now: float) -> None:
        self.host, self.mark, self.sequence = host, mark, sequence
        self.since = self.wrote_at = now
        """It writes now, and then every update interval from `since` on."""
        self.running = True


class Disk:
    """One LUN. Times are true seconds."""

    __slots__ = (
        "_raw", "_raw_of", "caches", "errors", "generation", "label", "mark", "random", "sequence", "state", "target",
        "update_interval", "uuid", "writers",
    )  # fmt: skip

    def __init__(self, target: str, random: Random, update_interval: float = 5.0, backend_labels: bool = True) -> None:
        self.target = target
        self.random = random
        self.uuid = f"uuid-of-{target}"
        self.label = target if backend_labels else ""
        self.update_interval = update_interval
        self.state = MmpState.CLEAN
        self.sequence = 0
        self.mark = NO_MARK
        """What was written last, but for what running writers have written since."""
        self.writers: list[Writer] = []
        self.generation = 0
        """How often what is on it was changed by a mount that began or ended: a cache of another generation is stale."""
        self.caches: dict[str, int] = {}
        """By server: the generation of what its page cache holds of the device. Not there: nothing is cached."""
        self.errors = False
        """The kernel has flagged errors in the super block."""
        self._raw_of: tuple[MmpState, int, Mark] | None = None
        self._raw = b""

    @property
    def third_host(self) -> Writer | None:
        """A host that is none of the site's servers, and has it mounted."""
        return next((writer for writer in self.writers if writer.host == THIRD_HOST), None)

    # --- reading

    def settle(self, now: float) -> None:
        """Let running writers have written what they have by now; of several, the last one counts."""
        interval, latest = self.update_interval, -1.0
        for writer in self.writers:
            if not writer.running:
                continue
            count = int((now - writer.since) / interval)
            wrote_at = writer.since + count * interval
            if wrote_at > writer.wrote_at:
                writer.wrote_at = wrote_at
                if wrote_at >= latest:
                    latest = wrote_at
                    self.state, self.sequence, self.mark = MmpState.SEQUENCE, writer.sequence + count, writer.mark

    def block(self, now: float) -> tuple[MmpState, int, Mark]:
        """What its MMP block holds."""
        if self.writers:
            self.settle(now)
        return self.state, self.sequence, self.mark

    def probe(self, device: str, began: float, ended: float, now: float) -> Probe:
        """A reading past every cache; `began` and `ended` on the reader's clock."""
        block = self.block(now)
        if block != self._raw_of:
            self._raw_of = block
            self._raw = f"{block[0].value} {block[1]} {block[2]}".encode()
        return Probe(
            device, began, ended, self.uuid, self.label, True, block[0], block[2], self.update_interval,
            self.update_interval, self._raw, self.errors,
        )  # fmt: skip

    # --- writing

    def write(self, state: MmpState, now: float, mark: Mark | None = None) -> None:
        """One write of the block by a mount that begins, ends, or clears: a new sequence, or CLEAN; the mark as it is."""
        self.settle(now)
        self.state = state
        if state is MmpState.SEQUENCE:
            self.sequence = self.random.randrange(1, 1 << 31)
        if mark is not None:
            self.mark = mark

    def start(self, host: str, mark: Mark, now: float) -> Writer:
        """A mount is complete: its kernel thread writes from now on."""
        writer = Writer(host, mark, self.random.randrange(1, 1 << 31), now)
        self.settle(now)
        self.state, self.sequence, self.mark = MmpState.SEQUENCE, writer.sequence, mark
        self.writers.append(writer)
        self.generation += 1
        self.caches[host] = self.generation
        return writer

    def stop(self, writer: Writer, now: float) -> None:
        """It can write no more for now."""
        self.settle(now)
        writer.running = False

    def resume(self, writer: Writer, now: float) -> None:
        """It goes on as if nothing had been, and overwrites whatever is there."""
        if not writer.running:
            self.settle(now)
            writer.sequence += int((writer.wrote_at - writer.since) / self.update_interval + 0.5) + 1
            writer.since = writer.wrote_at = now
            writer.running = True
            self.state, self.sequence, self.mark = MmpState.SEQUENCE, writer.sequence, writer.mark

    def end(self, writer: Writer, now: float, clean: bool) -> None:
        """Its mount is over: in order, so that it writes CLEAN, whoever has the disk by now; or not."""
        if writer.running:
            self.settle(now)
        self.writers.remove(writer)
        self.generation += 1
        if self.caches.get(writer.host) == self.generation - 1:
            self.caches[writer.host] = self.generation
        if clean:
            self.write(MmpState.CLEAN, now, writer.mark)

    # --- caches

    def cache(self, host: str) -> None:
        """Something on a server reads the device through its page cache: udev at boot, a monitor."""
        busy = any(writer.host != host for writer in self.writers)
        self.caches[host] = -1 if busy else self.generation

    def flush(self, host: str) -> None:
        """BLKFLSBUF."""
        self.caches.pop(host, None)

    def stale(self, host: str) -> bool:
        """Whether a mount there, now, would believe what is not on the disk any more."""
        return self.caches.get(host, self.generation) != self.generation
