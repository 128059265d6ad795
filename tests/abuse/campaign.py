"""One row after the other: measure, let the bad ones do it, measure again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Self

import orjson

from abuse.audience import Audience
from abuse.result import NOISE, Outcome, Result, State
from abuse.target import PLAIN, Target
from services import Mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from abuse.result import Row
    from abuse.target import Profile

SAMPLE = 0.05  # seconds between two looks at the memory
REST = 2.0  # seconds in which nothing bad happens before a row
REST_QUICK = 0.2
CALM = 45.0  # seconds that the server has to give back descriptors and memory: longer than `memory.INTERVAL`
TESTS = Path(__file__).resolve().parent.parent


class Campaign:
    """A server, its broker, its good clients, and whoever attacks it; to be entered before the first row.

    Args:
        directory: an empty one.
        quick: small numbers.
        seed: of all that is random.

    Attributes:
        quick, seed: as above.
        broker: the MQTT broker.
        target, audience: the server of the present profile, and its good clients.
    """

    target: Target
    audience: Audience

    def __init__(self, directory: Path, *, quick: bool, seed: int) -> None:
        self.quick = quick
        self.seed = seed
        self.broker = Mosquitto(directory)
        self._directory = directory
        self._blocks = 1
        self._profile: Profile | None = None
        self._most_memory = 0
        self._all = AsyncExitStack()
        self._site = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._all.enter_context(self.broker)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._site.aclose()
        await self._all.aclose()

    def scaled(self, full: int, quick: int) -> int:
        """Return the number for the scale of this campaign."""
        return quick if self.quick else full

    async def _serve(self, profile: Profile) -> None:
        """Run the server in this way, in place of what ran before."""
        if profile is self._profile:
            return
        await self._site.aclose()
        self._profile = profile
        directory = self._directory / profile.name.replace(" ", "-")
        directory.mkdir()
        broker = self.broker.url if profile is PLAIN else ""
        target = Target(
            directory,
            profile,
            mqtt_url=broker,
            connections=self.scaled(2000, 300),
            handshake_timeout=self.scaled(5, 2),
        )
        self.target = self._site.enter_context(target)
        self.audience = await self._site.enter_async_context(Audience(self.target))
        await self.audience.fill_history()
        await self.audience.settled()
        list(self.target.new_lines())
        self._most_memory = self.target.memory() + NOISE

    async def run(self, row: Row) -> Result:
        """Do a row."""
        await self._serve(row.profile)
        audience, target = self.audience, self.target
        await audience.settled()
        tally, let_in = audience.tally(), audience.let_in
        audience.round_trips.take(), audience.deliveries.take()
        await asyncio.sleep(REST_QUICK if self.quick else REST)
        resting = audience.round_trips.take(), audience.deliveries.take()
        counts = Counter(await asyncio.to_thread(target.counts))
        self._most_memory += row.keeps
        result = Result(row, Outcome(), most_memory=self._most_memory)
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
        result.let_in = audience.let_in - let_in
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
            async with self.audience.others_passing() if row.open else nullcontext():
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
        return state.descriptors <= before.descriptors and state.memory <= self._most_memory

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
        audience = self.audience
        found = [f"publishing ended: {failure}"] if (failure := audience.failure()) else []
        told = audience.faults + [fault for client in audience.clients for fault in client.faults]
        if told:
            found.append(f"{len(told)} faults of good clients, such as: {told[0]}")
        audience.faults.clear()
        for client in audience.clients:
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
        given = {
            "port": self.target.http_port if http else self.target.port,
            "block": self._blocks,
            "window": window,
            "proxied": self.target.profile.proxied and not http,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "abuse.attacks", name, orjson.dumps(given | options).decode(),
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
