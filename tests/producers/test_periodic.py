from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import PublicationError
from valtronics_fast.producers import periodic
from valtronics_fast.producers.periodic import PeriodicProducer
from valtronics_fast.producers.simulated import SimulatedFleet
from valtronics_fast.producers.system import SystemProducer

if TYPE_CHECKING:
    from collections.abc import Callable

Message = dict[str, object]


class Pairs(PeriodicProducer):
    """Says two numbers a turn."""

    name = "pairs"
    title = "the producer of pairs"
    refusal = "number refused"

    def __init__(self, interval: float) -> None:
        super().__init__(interval)
        self.turns = 0

    def messages(self) -> list[Message]:
        self.turns += 1
        return [{"number": 2 * self.turns - 1}, {"number": 2 * self.turns}]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


class Hub(list[Mapping[str, object]]):
    def publish(self, message: Mapping[str, object]) -> int:
        self.append(message)
        return 0


def refuse(_: Mapping[str, object]) -> int:
    raise PublicationError(ErrorCode.INVALID_MESSAGE, "not today")


async def test_every_message_of_a_turn_is_published_in_its_order() -> None:
    hub = Hub()
    producer = Pairs(0.001)
    await producer.start(hub.publish)
    await until(lambda: len(hub) >= 6)
    await producer.stop()
    assert [message["number"] for message in hub] == list(range(1, 2 * producer.turns + 1))
    assert producer.stats() == {"published": len(hub), "rejected": 0}


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: Pairs(3600), 2),
        (lambda: SystemProducer(3600, lambda: 0), 1),
        (lambda: SimulatedFleet(1, 1, 3600), 2),  # it is online, and what it measures
    ],
)
async def test_the_first_turn_does_not_wait_for_the_interval(make: Callable[[], PeriodicProducer], count: int) -> None:
    hub = Hub()
    producer = make()
    await producer.start(hub.publish)
    await until(lambda: hub)
    await producer.stop()
    assert len(hub) == count


async def test_turns_keep_to_the_clock_and_missed_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    work = iter([1.0, 3.0, 25.0, 0.0])
    pauses: list[float] = []

    class Slow(Pairs):
        def messages(self) -> list[Message]:
            nonlocal now
            now += next(work)
            return []

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds
        if len(pauses) == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(periodic, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(periodic, "asyncio", SimpleNamespace(sleep=sleep))
    producer = Slow(10)
    with pytest.raises(asyncio.CancelledError):
        await producer._run(lambda _: 0)
    assert pauses == [9, 7, 0, 10]


@pytest.mark.parametrize(
    ("make", "logger", "text"),
    [
        (lambda: Pairs(0.001), Pairs.__module__, "number refused"),
        (lambda: SystemProducer(0.001, lambda: 0), "valtronics_fast.producers.system", "system figures refused"),
        (lambda: SimulatedFleet(2, 1, 0.001), "valtronics_fast.producers.simulated", "simulated message refused"),
    ],
)
async def test_a_refused_message_is_counted_and_ends_nothing(
    make: Callable[[], PeriodicProducer], logger: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    producer = make()
    await producer.start(refuse)
    await until(lambda: int(producer.stats()["rejected"]) > 10)
    assert producer.ready()
    await producer.stop()
    assert producer.stats()["published"] == 0
    (record,) = caplog.records  # one for all of them
    assert (record.name, record.levelname, record.getMessage()) == (logger, "WARNING", text)
    assert record.fields["detail"].args[0] == "not today"  # type: ignore[attr-defined]


async def test_a_refused_message_does_not_keep_back_the_others() -> None:
    producer = Pairs(0.001)
    await producer.start(lambda message: refuse(message) if message["number"] == 1 else 0)
    await until(lambda: producer.turns >= 3)
    await producer.stop()
    assert producer.stats() == {"published": 2 * producer.turns - 1, "rejected": 1}


async def test_one_that_failed_is_not_ready_until_started_again() -> None:
    def fail(_: Mapping[str, object]) -> int:
        raise LookupError

    producer = Pairs(0.001)
    await producer.start(fail)
    await until(lambda: not producer.ready())
    await producer.stop()
    await producer.start(lambda _: 0)
    assert producer.ready()
    await producer.stop()


async def test_a_second_start_is_refused_by_name() -> None:
    producer = Pairs(3600)
    await producer.start(lambda _: 0)
    with pytest.raises(RuntimeError, match="the producer of pairs has been started already"):
        await producer.start(lambda _: 0)
    await producer.stop()


@pytest.mark.parametrize("make", [Pairs, lambda interval: SystemProducer(interval, lambda: 0)])
@pytest.mark.parametrize("interval", [0, -1])
def test_the_interval_is_positive(make: Callable[[float], PeriodicProducer], interval: float) -> None:
    with pytest.raises(ValueError, match="the interval is more than 0 seconds"):
        make(interval)
