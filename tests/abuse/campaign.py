"""One row after the other: measure, let the bad ones do it, measure again, judge."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from abuse.audience import Audience
from abuse.target import Target
from services import Mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from abuse.target import Line

SAMPLE = 0.05  # seconds between two looks at the memory
REST = 2.0  # seconds in which nothing bad happens before a row
REST_QUICK = 0.7
CALM = 45.0  # seconds that the server has to give back descriptors and memory: longer than `memory.INTERVAL`
GROWTH = 192 << 20  # bytes by which the memory after a row may be over that at the campaign's start
NOISE = 16 << 20  # bytes by which it may grow in a row without being waited for
LINES_A_PERIOD = 12  # of one message that is limited to 10 lines in 10 s, and one that says how many were left out
PERIOD = 10.0
STILL = 5.0  # seconds that this process may be late: if it is more, the whole machine stood still for a while
BROKER = "no MQTT broker"  # which ends connections that are silent for too long, of a process that stood still
SUPPRESSED = "lines suppressed"  # tells of lines of an earlier period, so it may come in any row
TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """An abuse.

    Attributes:
        name: what it is called on the command line.
        about: what the bad ones do, for people.
        attack: does it, and returns what came of it.
        must: what some of the bad ones must have got: without it, it was no attack.
        lines: messages at warning or above that may be in the log, at most LINES_A_PERIOD of each in a PERIOD.
    """

    name: str
    about: str
    attack: Callable[[Campaign], Awaitable[Outcome]]
    must: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()


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
    """A row of the table."""

    row: Row
    outcome: Outcome
    seconds: float = 0.0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    round_trips: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))
    deliveries: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))
    before: State = field(default_factory=lambda: State(0, 0))
    after: State = field(default_factory=lambda: State(0, 0))
    peak: int = 0
    start_memory: int = 0
    lines: list[Line] = field(default_factory=list)
    server: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    stood_still: float = 0.0

    def unexpected(self) -> list[Line]:
        """Return the lines of the log that the row does not account for."""
        expected = self.row.lines | {SUPPRESSED} | ({BROKER} if self.stood_still > STILL else set())
        bound = LINES_A_PERIOD * (1 + self.seconds // PERIOD)
        counts: Counter[str] = Counter()
        found = []
        for line in self.lines:
            counts[line.message] += 1
            if line.message not in expected or counts[line.message] > bound:
                found.append(line)
        return found

    def failures(self) -> list[str]:
        """Return why the row fails, one line each."""
        found = [*self.faults, *self.outcome.faults]
        for name in ("lost", "repeated", "disordered"):
            if count := getattr(self, name):
                found.append(f"{count} messages of good clients were {name}")
        if self.after.descriptors > self.before.descriptors:
            found.append(f"{self.after.descriptors - self.before.descriptors} descriptors stayed")
        if self.after.memory > self.start_memory + GROWTH:
            found.append(f"{(self.after.memory - self.start_memory) >> 20} MiB more are in use than at the start")
        if unexpected := self.unexpected():
            found.append(f"{len(unexpected)} unexpected lines in the log, such as: {unexpected[0].text[:400]}")
        if missing := self.row.must - self.outcome.got.keys():
            found.append(f"none of the bad ones got: {', '.join(sorted(missing))}")
        return found


class Campaign:
    """A server, its broker, its good clients, and whoever attacks it.

    Attributes:
        quick: small numbers.
        seed: of all that is random.
        target, audience, broker: see there.
    """

    def __init__(self, target: Target, audience: Audience, broker: Mosquitto, *, quick: bool, seed: int) -> None:
        self.quick = quick
        self.seed = seed
        self.target = target
        self.audience = audience
        self.broker = broker
        self._blocks = 1
        self._start_memory = target.memory()

    @classmethod
    @asynccontextmanager
    async def begin(cls, directory: Path, *, quick: bool, seed: int) -> AsyncIterator[Campaign]:
        """Start everything in an empty directory, and end it with the block."""
        connections = 300 if quick else 2000
        with Mosquitto(directory) as broker, Target(directory, mqtt_url=broker.url, connections=connections) as target:
            async with Audience(target) as audience:
                yield cls(target, audience, broker, quick=quick, seed=seed)

    def scaled(self, full: int, quick: int) -> int:
        """Return the number for the scale of this campaign."""
        return quick if self.quick else full

    async def run(self, row: Row) -> Result:
        """Do a row."""
        audience, target = self.audience, self.target
        await audience.settled()
        tally = audience.tally()
        audience.round_trips.take(), audience.deliveries.take()
        await asyncio.sleep(REST_QUICK if self.quick else REST)
        resting = audience.round_trips.take(), audience.deliveries.take()
        counts = Counter(await asyncio.to_thread(target.counts))
        result = Result(row, Outcome(), start_memory=self._start_memory)
        result.before = await self._state(lambda _: True)
        sampling = asyncio.create_task(self._watch(result))
        began = time.monotonic()
        result.outcome = await self._attacked(row)
        await audience.settled()
        under_attack = audience.round_trips.take(), audience.deliveries.take()
        result.round_trips, result.deliveries = zip(resting, under_attack, strict=True)
        result.lost, result.repeated, result.disordered = (
            now - then for now, then in zip(audience.tally(), tally, strict=True)
        )
        if target.alive():
            result.after = await self._state(lambda state: self._is_calm(state, result.before))
        sampling.cancel()
        result.seconds = time.monotonic() - began
        result.lines = list(target.new_lines())
        result.faults = await self._faults()
        if not result.faults:
            result.server = Counter(await asyncio.to_thread(target.counts)) - counts
        return result

    async def _attacked(self, row: Row) -> Outcome:
        try:
            return await row.attack(self)
        except Exception as error:  # noqa: BLE001 - the row fails, the campaign goes on
            return Outcome(faults=[f"the attack itself failed: {error!r}"])

    async def _watch(self, result: Result) -> None:
        """Note the most memory that is in use, and how late this process is at most."""
        while self.target.alive():
            result.peak = max(result.peak, self.target.memory())
            now = time.monotonic()
            await asyncio.sleep(SAMPLE)
            result.stood_still = max(result.stood_still, time.monotonic() - now)

    def _is_calm(self, state: State, before: State) -> bool:
        # Beyond that it is worth waiting for the server to trim its memory.
        enough = max(before.memory + NOISE, self._start_memory + GROWTH // 2)
        return state.descriptors <= before.descriptors and state.memory <= enough

    async def _state(self, good: Callable[[State], bool]) -> State:
        """Return the server's state as soon as it is good, or after CALM."""
        deadline = time.monotonic() + CALM
        while True:
            state = State(self.target.memory(), self.target.descriptors())
            if good(state) or time.monotonic() > deadline or not self.target.alive():
                return state
            await asyncio.sleep(SAMPLE)

    async def _faults(self) -> list[str]:
        """Return what went wrong with the server and the good clients."""
        if not self.target.alive():
            return ["the server is dead"]
        found = [f"publishing ended: {failure}"] if (failure := self.audience.failure()) else []
        clients = [(client, fault) for client in self.audience.clients for fault in client.faults]
        if clients:
            found.append(f"{len(clients)} faults of good clients, such as: {clients[0][1]}")
        for client, _ in clients:
            client.faults.clear()
        return found

    # --- what rows do

    async def attack(self, name: str, *, window: int = 64, http: bool = False, **options: object) -> Outcome:
        """Run an attack, and return what came of it."""
        async with self.attacking(name, window=window, http=http, **options) as attack:
            return await attack.end()

    @asynccontextmanager
    async def attacking(
        self, name: str, *, window: int = 64, http: bool = False, **options: object
    ) -> AsyncIterator[Attack]:
        """Run an attack beside the block."""
        self._blocks += 1
        port = self.target.http_port if http else self.target.port
        arguments = orjson.dumps({"port": port, "block": self._blocks, "window": window, **options})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "abuse.attacks", name, arguments.decode(),
            stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(TESTS)},
        )  # fmt: skip
        try:
            yield Attack(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


class Attack:
    """An attack that is under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout

    async def full(self) -> None:
        """Return when all its connections are there."""
        if await self._output.readline() != b"full\n":
            raise RuntimeError("the attack ended before it began")

    async def end(self) -> Outcome:
        """Wait for the end, and return what came of it."""
        *_, last = (await self._output.read()).splitlines() or [b""]
        if await self._process.wait():
            raise RuntimeError("the attack ended with an error")
        found: Mapping[str, object] = orjson.loads(last)
        return Outcome(int(str(found["inputs"])), Counter(found["outcomes"]))  # type: ignore[arg-type]
