from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from harness import until
from valtronics_fast.workers import frames
from valtronics_fast.workers import link as module
from valtronics_fast.workers.frames import NUMBER, frame
from valtronics_fast.workers.link import Link, LinkError
from workers.machine import machine

if TYPE_CHECKING:
    from valtronics_fast.workers.port import WorkerPort


async def test_orders_and_settings() -> None:
    async with machine() as one:
        link = await one.connect()
        port = one.ports[0]
        orders: list[str] = []
        link.on_stop = lambda: orders.append("stop")
        link.on_drain = lambda: orders.append("drain")
        link.on_reload = lambda body: orders.append(f"reload {body.decode()}")
        told = [(frames.SETTINGS, b"one"), (frames.SETTINGS, b"two"), (frames.RELOAD, b"three")]
        told += [(frames.DRAIN, b""), (frames.STOP, b"")]
        for kind, body in told:
            port.put(frame(kind, body))
        await until(lambda: len(orders) == 3)
        assert orders == ["reload three", "drain", "stop"]
        assert await link.settings == b"one"


async def test_what_is_asked_is_answered_or_refused() -> None:
    async with machine() as one:
        link = await one.connect()
        with pytest.raises(LinkError, match="not open"):
            await link.ask(frames.READ, frames.READING.pack(0, 0))
        link.ask(frames.OPEN, b"0" * 16).cancel()  # its answer comes to nobody
        assert await link.ask(frames.APPEND) == b""


async def test_the_end_of_the_supervisor_is_told_to_all_who_wait() -> None:
    async with machine() as one:
        link = await one.connect()
        stops: list[None] = []
        link.on_stop = lambda: stops.append(None)
        one.bus.take = lambda *_: None  # type: ignore[method-assign]
        asked = link.ask(frames.APPEND)
        one.ports[0].transport.abort()
        for waiting in (asked, link.settings, link.ask(frames.APPEND)):
            with pytest.raises(LinkError, match="the supervisor is gone"):
                await waiting
        await link.ended.wait()
        assert len(stops) == 1
        with pytest.raises(LinkError):
            await link.ask(frames.APPEND)


async def test_nothing_more_is_asked_of_a_supervisor_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNREAD", 1 << 20)
    async with machine() as one:
        link = await one.connect()
        one.ports[0].transport.pause_reading()
        asked = []
        while len(asked) < 100 and not (asked and asked[-1].done()):
            asked.append(link.ask(frames.APPEND, bytes(1 << 18)))
            await asyncio.sleep(0)
        with pytest.raises(LinkError, match="does not read"):
            await asyncio.wait_for(asked.pop(), 1)
        for answer in asked:
            answer.cancel()


async def test_a_supervisor_that_is_out_of_step_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async with machine() as one:
        link = await one.connect()
        link.transport.get_extra_info("socket")
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        one.ports[0].put(frame(99))
        await link.ended.wait()


async def test_questions_of_other_workers() -> None:
    async with machine() as one:
        links: list[Link] = [await one.connect() for _ in range(2)]

        async def answer(question: bytes) -> bytes:
            return b'{"got":%s}' % question

        links[1].on_asked = answer
        told = await links[0].ask(frames.ASK, b"7")
        assert told.startswith(b'{"answers":{"1":{"got":7}},"silent":[]')


async def test_an_answer_to_nobody_is_left_out() -> None:
    async with machine() as one:
        link = await one.connect()
        port: WorkerPort = one.ports[0]
        port.put(frame(frames.ANSWER, NUMBER.pack(77), b"\0"))
        port.put(frame(frames.ENTRY, frames.ENTRY_HEAD.pack(1, 1), b"nobody listens"))
        port.put(frame(frames.SETTINGS, b"x"))
        assert await link.settings == b"x"
