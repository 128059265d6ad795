"""The way into the log, with a log of the test's own that takes what it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.backplanes.appending import Appender
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.outgoing import Outgoing

if TYPE_CHECKING:
    from valtronics_fast.backplanes.log import Batch
    from valtronics_fast.backplanes.outgoing import Sealed

TIMEOUT = 30.0


class Log:
    """Takes what is appended while `takes` is set; loses the connection while `broken`."""

    def __init__(self) -> None:
        self.appended: list[list[int]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.broken = False

    async def append(self, batches: list[Batch]) -> None:
        await self.takes.wait()
        if self.broken:
            raise LogError("gone")
        self.appended.append([batch.lane for batch in batches])


class Site:
    """An appender and what it is made of."""

    def __init__(self, patience: float = TIMEOUT) -> None:
        self.log = Log()
        self.outgoing = Outgoing(1, 1 << 20)
        self.taken: list[int] = []
        self.lost: list[LogError] = []
        self.appender = Appender(self.log, self.outgoing, patience, self._take, self.lost.append)  # type: ignore[arg-type]

    def _take(self, sealed: Sealed) -> None:
        self.taken.append(sealed.lane)

    def publish(self, *lanes: int) -> None:
        for lane in lanes:
            self.outgoing.add(lane, b"x", apart=False)
            self.appender.wake()


async def test_the_messages_of_a_turn_go_together_and_later_ones_follow() -> None:
    site = Site()
    site.appender.open()
    site.log.takes.clear()
    site.publish(1, 2)
    await asyncio.sleep(0.01)
    site.publish(3, 4)
    site.log.takes.set()
    await asyncio.wait_for(site.appender.settled(), TIMEOUT)
    assert site.log.appended == [[1, 2], [3, 4]]
    assert site.taken == [1, 2, 3, 4]
    assert site.lost == []


async def test_what_waits_goes_when_the_log_is_there() -> None:
    site = Site()
    site.appender.lose()
    site.publish(1)
    await asyncio.sleep(0.01)
    assert site.log.appended == []
    site.appender.open()
    await asyncio.wait_for(site.appender.flush(), TIMEOUT)
    assert site.log.appended == [[1]]


async def test_a_log_that_breaks_is_told_of_and_keeps_nothing() -> None:
    site = Site()
    site.appender.open()
    site.log.broken = True
    site.publish(1)
    await site.appender.ended()
    assert [str(error) for error in site.lost] == ["gone"]
    assert (site.taken, [sealed.lane for sealed in site.outgoing.waiting()]) == ([], [1])


async def test_after_a_loss_nothing_is_being_appended() -> None:
    site = Site()
    site.appender.open()
    site.log.takes.clear()
    site.publish(1)
    await asyncio.sleep(0.01)
    site.appender.lose()
    await asyncio.wait_for(site.appender.ended(), TIMEOUT)
    site.log.takes.set()
    assert (site.log.appended, site.taken, site.lost) == ([], [], [])


async def test_patience_counts_from_the_loss() -> None:
    site = Site(patience=0.2)
    loop = asyncio.get_running_loop()
    site.publish(1)
    site.appender.open()
    site.log.takes.clear()
    site.publish(2)
    await site.appender.settled()  # it is there, and does not take it in time
    with pytest.raises(LogError, match="does not take"):
        await site.appender.flush()
    site.appender.lose()
    lost_at = loop.time()
    site.appender.lose()  # is no new loss
    await site.appender.settled()
    assert loop.time() >= lost_at + 0.2
    settling = asyncio.ensure_future(site.appender.settled())
    for _ in range(5):
        await asyncio.sleep(0)
    settled_at_once = settling.done()
    await settling
    assert settled_at_once
    assert site.taken == []
