from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from harness import until
from valtronics_fast.workers import frames, questions
from workers.machine import Machine, machine

if TYPE_CHECKING:
    import pytest

    from valtronics_fast.workers.link import Link


async def asked(link: Link, question: bytes = b"1") -> dict[str, object]:
    found: dict[str, object] = orjson.loads(await link.ask(frames.ASK, question))
    return found


async def crowd(one: Machine, count: int) -> list[Link]:
    links = [await one.connect() for _ in range(count)]

    def answering(index: int) -> None:
        async def answer(question: bytes) -> bytes:
            return orjson.dumps([index, orjson.loads(question)])

        links[index].on_asked = answer

    for index in range(count):
        answering(index)
    return links


async def test_all_others_are_asked_and_their_answers_collected() -> None:
    async with machine() as one:
        links = await crowd(one, 3)
        found = await asked(links[1], b'"what"')
        assert (found["answers"], found["silent"]) == ({"0": [0, "what"], "2": [2, "what"]}, [])
        supervisor = found["supervisor"]
        assert isinstance(supervisor, dict)
        assert supervisor.keys() == {"pid", "cpu_seconds", "starts"}


async def test_those_who_do_not_answer_in_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.05)
    async with machine() as one:
        links = await crowd(one, 3)
        late = asyncio.Event()

        async def answer(_: bytes) -> bytes:
            await late.wait()
            return b"9"

        links[2].on_asked = answer
        found = await asked(links[0])
        assert (found["answers"], found["silent"]) == ({"1": [1, 1]}, ["2"])
        late.set()
        await until(lambda: not one.questions._owed[one.ports[2]])
        assert (await asked(links[0]))["silent"] == []


async def test_those_who_end_are_not_waited_for() -> None:
    async with machine() as one:
        links = await crowd(one, 2)
        links[1].on_asked = None
        asking = asyncio.ensure_future(asked(links[0]))
        await until(lambda: one.questions._owed.get(one.ports[1]))
        one.ports[1].transport.abort()
        found = await asking
        assert (found["answers"], found["silent"]) == ({}, ["1"])


async def test_a_worker_that_hangs_gets_a_bounded_number_of_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.01)
    async with machine() as one:
        links = await crowd(one, 2)
        links[1].transport.pause_reading()
        for _ in range(questions.MAX_UNANSWERED + 3):
            assert (await asked(links[0]))["silent"] == ["1"]
        assert one.questions._owed[one.ports[1]] == questions.MAX_UNANSWERED
        links[1].transport.resume_reading()
        await until(lambda: not one.questions._owed[one.ports[1]])
        assert (await asked(links[0]))["silent"] == []


async def test_a_worker_that_does_not_run_is_silent_and_alone_one_has_nobody_to_wait_for() -> None:
    async with machine() as one:
        (link,) = await crowd(one, 1)
        port = one.ports[0]
        asking = asyncio.ensure_future(link.ask(frames.ASK, b"1"))
        assert orjson.loads(await asking)["silent"] == []
        one.questions.ask(port, frames.NUMBER.pack(5) + b"1", {3: None})
        assert not one.questions._open
