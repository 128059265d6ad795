"""What a row is, what came of it, and whether that is good enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abuse.target import PLAIN
from valtronics_fast.logging import LINES, PERIOD, ROUTINE_LINES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from abuse.campaign import Campaign
    from abuse.target import Line, Profile

MIB = 1 << 20
NOISE = 24 * MIB  # by which the memory may be over that at the start, after whatever rows, beside what they may keep
STILL = 5.0  # seconds that this process may be late: if it is more, the whole machine stood still for a while
BROKER = "no MQTT broker"  # which ends connections that are silent for too long, of a process that stood still

# Lines that any row may have, and how many of them in a PERIOD (docs/operations.md). They are at info.
ROUTINE = {"connected": ROUTINE_LINES, "disconnected": ROUTINE_LINES, "handshake ended": LINES, "subscribed": LINES}
SUPPRESSED = "lines suppressed"  # at any level, once in a period for each kind


@dataclass(frozen=True)
class Row:
    """An abuse.

    Attributes:
        name: what it is called on the command line.
        about: what the bad ones do, for people.
        attack: does it, and returns what came of it.
        must: what some of the bad ones must have got, or the server must have counted: without it, it was no attack.
        lines: kinds of lines that may be in the log beside the routine, at most LINES of each in a PERIOD.
        keeps: bytes that may stay in use after it for good.
        profile: how the server is run for it.
        open: whether good clients can come in meanwhile.
    """

    name: str
    about: str
    attack: Callable[[Campaign], Awaitable[Outcome]]
    must: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    keeps: int = 0
    profile: Profile = PLAIN
    open: bool = True


@dataclass
class Outcome:
    """What the bad ones did, and got; faults are what the row itself found wrong."""

    inputs: int = 0
    got: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> Outcome:
        """Take in another outcome."""
        self.inputs += other.inputs
        self.got += other.got
        self.faults += other.faults
        return self


@dataclass
class State:
    """The server at one time."""

    memory: int
    descriptors: int


@dataclass
class Result:
    """A row of the table.

    Attributes:
        before, after: the server, and `peak` its most memory in between.
        most_memory: what may be in use after it.
        let_in: good clients that came meanwhile.
        lines: what the log got.
        server: what the server counted meanwhile.
        stood_still: seconds for which this process did.
    """

    row: Row
    outcome: Outcome
    seconds: float = 0.0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    let_in: int = 0
    round_trips: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))
    deliveries: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))
    before: State = field(default_factory=lambda: State(0, 0))
    after: State = field(default_factory=lambda: State(0, 0))
    peak: int = 0
    most_memory: int = 0
    lines: list[Line] = field(default_factory=list)
    server: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    stood_still: float = 0.0

    def unexpected(self) -> list[Line]:
        """Return the lines of the log that the row does not account for, of any level."""
        # A period begins with its first line, so that parts of two more than fit into the time may lie in it.
        periods = self.seconds // PERIOD + 2
        counts: Counter[str] = Counter()
        found = []
        for line in self.lines:
            counts[line.kind] += 1
            if counts[line.kind] > periods * self._bound(line):
                found.append(line)
        return found

    def _bound(self, line: Line) -> int:
        """Return how many lines like this one there may be in a period."""
        kind = line.kind.partition(":")[0]
        if kind == SUPPRESSED:
            return 1
        if line.routine and kind in ROUTINE:
            return ROUTINE[kind]
        expected = line.kind in self.row.lines or (line.kind == BROKER and self.stood_still > STILL)
        return LINES if expected else 0

    def failures(self) -> list[str]:
        """Return why the row fails, one line each."""
        found = [*self.faults, *self.outcome.faults]
        for name in ("lost", "repeated", "disordered"):
            if count := getattr(self, name):
                found.append(f"{count} messages of good clients were {name}")
        if self.after.descriptors > self.before.descriptors:
            found.append(f"{self.after.descriptors - self.before.descriptors} descriptors stayed")
        if self.after.memory > self.most_memory:
            found.append(f"{self.after.memory / MIB:.1f} MiB are in use, over {self.most_memory / MIB:.1f}")
        if unexpected := self.unexpected():
            found.append(f"{len(unexpected)} unexpected lines in the log, such as: {unexpected[0].text[:400]}")
        if missing := self.row.must - self.outcome.got.keys() - self.server.keys():
            found.append(f"none of the bad ones got: {', '.join(sorted(missing))}")
        return found
