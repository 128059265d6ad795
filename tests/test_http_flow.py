"""How much publishers may do: turns, rates, a backplane that is full; through real sockets where that shows it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from http_served import HALF_A_STREAM, JSON, NDJSON, WITH_KEY, Hub, Serve, bearer, serving, telemetry
from valtronics_fast._core.scope import Grant
from valtronics_fast.http_flow import MAX_USERS, Flow, Rates, Turns
from valtronics_fast.http_publish import Intake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

TIMEOUT = 30.0
LINE = orjson.dumps(telemetry()) + b"\n"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


class TestTurns:
    async def test_who_waits_longest_is_next(self) -> None:
        turns = Turns()
        worked: list[str] = []

        async def work(name: str) -> None:
            for _ in range(5):
                until = await turns.next()
                worked.append(name)
                spin(until - time.monotonic())

        await asyncio.gather(*[work(name) for name in "abc"])
        # The first one did not have to wait, and was back before the others came.
        assert "".join(worked) == "a" + "abc" * 4 + "bc"

    async def test_others_run_between_two_slices(self) -> None:
        turns = Turns()
        ran = 0

        async def run() -> None:
            nonlocal ran
            while True:
                ran += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(run())
        for _ in range(5):
            before = ran
            spin(await turns.next() - time.monotonic())
            await turns.next()
            assert ran > before
        other.cancel()

    async def test_what_is_left_of_a_slice_is_for_who_comes(self) -> None:
        turns = Turns()
        task = asyncio.current_task()
        until = await turns.next()
        for _ in range(3):
            assert await turns.next() == until  # without giving way: else it were another turn
        assert task is asyncio.current_task()

    async def test_who_is_cancelled_leaves_its_turn_to_the_next(self) -> None:
        turns = Turns()
        turns._until = 0.0  # this turn is used up
        first, second, third = (asyncio.create_task(turns.next()) for _ in range(3))
        await asyncio.sleep(0)
        assert len(turns._waiting) == 3
        first.cancel()  # before its turn has come
        turns._end()
        second.cancel()  # and when it has
        await asyncio.wait_for(third, TIMEOUT)
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.wait_for(turns.next(), TIMEOUT)


class TestRates:
    def test_a_second_at_once_and_then_as_it_fills(self) -> None:
        rates = Rates(10)
        assert rates.level("a", 0.0) == 10
        rates.spend("a", 10, 0.0)
        assert rates.level("a", 0.0) == 0
        assert rates.level("b", 0.0) == 10
        assert rates.wait("a", 0.0) == pytest.approx(0.1)
        assert rates.wait("a", 0.05) == pytest.approx(0.05)
        assert rates.level("a", 0.5) == pytest.approx(5)
        assert rates.wait("a", 0.5) == 0
        assert rates.level("a", 100.0) == 10

    def test_no_limit(self) -> None:
        rates = Rates(0)
        rates.spend("a", 1 << 40, 0.0)
        assert rates.level("a", 0.0) > 1 << 40
        assert rates.wait("a", 0.0) == 0

    def test_the_rate_may_change(self) -> None:
        rates = Rates(10)
        rates.spend("a", 10, 0.0)
        rates.rate = 0
        assert rates.wait("a", 0.0) == 0
        rates.rate = 2
        assert rates.wait("a", 0.0) == pytest.approx(0.5)

    def test_users_are_bounded(self) -> None:
        rates = Rates(1)
        for number in range(MAX_USERS + 1):
            rates.spend(str(number), 1, 0.0)
        assert rates.level("0", 0.0) == 1
        assert rates.level("1", 0.0) == 0


class TestRate:
    async def test_a_body_that_is_too_much_is_taken_up_to_the_rate(self, serve: Serve) -> None:
        served = await serve(rate=50)
        body = orjson.dumps({"messages": [telemetry(number) for number in range(500)]})
        headers = JSON | WITH_KEY
        url = f"http://127.0.0.1:{served.api.port}/api/v1/publish"
        async with served.session.post(url, data=body, headers=headers) as response:
            answer = orjson.loads(await response.read())
            assert (response.status, answer["error"]) == (429, "rate_limited")
            assert int(response.headers["Retry-After"]) >= 1
        accepted = answer["accepted"]
        assert 50 <= accepted < 500
        assert (answer["matched"], answer["rejected_total"]) == (2 * accepted, 0)
        assert [message["device_id"] for message in served.hub.messages] == list(range(accepted))

    async def test_who_has_used_up_its_rate_is_refused_before_the_body_is_read(self, serve: Serve) -> None:
        served = await serve(rate=1)
        assert (await served.publish(telemetry()))[0] == 200
        reader, writer = await served.connect()
        writer.write(HALF_A_STREAM.partition(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 1\r\n" in head
        writer.close()
        assert (await served.publish(telemetry(), bearer("writer-token")))[0] == 200  # another one's rate

    async def test_a_stream_is_paused(self, serve: Serve) -> None:
        """Its answer comes when all of it could be published, which takes longer than the rate has at once."""
        served = await serve(rate=100)
        began = time.monotonic()
        status, answer = await served.publish(LINE * 150, WITH_KEY | NDJSON)
        assert (status, answer["accepted"]) == (200, 150)
        assert time.monotonic() - began >= 0.4

    async def test_a_stream_that_is_paused_ends_with_the_server(self, serve: Serve) -> None:
        served = await serve(rate=10)
        asking = asyncio.create_task(served.publish(LINE * 1000, WITH_KEY | NDJSON))
        async with asyncio.timeout(TIMEOUT):
            await served.hub.arrived.wait()
            await served.api.end_publishing()
            status, answer = await asking
        assert (status, answer["error"]) == (503, "shutting_down")
        assert answer["accepted"] == len(served.hub.messages) < 1000

    async def test_what_is_refused_counts(self, serve: Serve) -> None:
        served = await serve(rate=5)
        status, answer = await served.publish({"messages": [1] * 100})
        assert (status, answer["accepted"]) == (429, 0)
        assert 5 <= answer["rejected_total"] < 100


class TestBackplane:
    async def test_a_full_backplane_refuses_new_requests(self, serve: Serve) -> None:
        served = await serve()
        served.hub.full = True
        for headers in (JSON, NDJSON):
            status, answer = await served.publish(telemetry(), WITH_KEY | headers)
            assert (status, answer["error"]) == (429, "rate_limited")
        assert served.hub.messages == []
        served.hub.full = False
        assert (await served.publish(telemetry()))[0] == 200

    async def test_it_fills_on_the_way(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        """A JSON body is cut off between two pieces; a stream waits, and goes on."""
        served = await serve(body_size=1 << 24)
        publish = served.hub.publish

        def fill(message: Mapping[str, object]) -> int:
            served.hub.full = True
            return publish(message)

        monkeypatch.setattr(served.hub, "publish", fill)
        messages = [telemetry(number, note="x" * 1000) for number in range(500)]
        status, answer = await served.publish({"messages": messages})
        assert (status, answer["error"]) == (429, "rate_limited")
        accepted = answer["accepted"]
        assert served.hub.messages == messages[:accepted]
        assert 0 < accepted < 500

        served.hub.full = False
        served.hub.messages.clear()
        body = b"".join(orjson.dumps(message) + b"\n" for message in messages)
        asking = asyncio.create_task(served.publish(body, WITH_KEY | NDJSON))
        async with asyncio.timeout(TIMEOUT):
            while not asking.done():
                served.hub.full = False
                await asyncio.sleep(0.001)
        assert (await asking)[1]["accepted"] == 500
        assert served.hub.messages == messages

    async def test_the_answer_waits_until_it_is_carried_on(self, serve: Serve) -> None:
        served = await serve()
        served.hub.settling.clear()
        for body, headers in ((orjson.dumps(telemetry()), JSON), (LINE, NDJSON)):
            served.hub.arrived.clear()
            asking = asyncio.create_task(served.publish(body, WITH_KEY | headers))
            await asyncio.wait_for(served.hub.arrived.wait(), TIMEOUT)
            assert (await served.ask("GET", "/health/live"))[0] == 200
            assert not asking.done()
            served.hub.settling.set()
            assert (await asking)[0] == 200
            served.hub.settling.clear()

    async def test_a_publisher_is_read_no_faster_than_it_is_published(self, serve: Serve) -> None:
        """What it has sent waits in the sockets, and not in this process."""
        served = await serve()
        _, writer = await served.connect()
        writer.write(HALF_A_STREAM.replace(b"Content-Length: 1000", b"Content-Length: 1000000000"))
        await asyncio.wait_for(served.hub.arrived.wait(), TIMEOUT)
        served.hub.full = True
        block, sent = LINE * 10_000, 0
        while writer.transport.get_write_buffer_size() < 2 * len(block):
            writer.write(block)
            sent += len(block)
            await asyncio.sleep(0.05)
            assert sent < 1 << 26, "it takes everything"
        (connection,) = served.api._listener.connections
        request = connection._current_request
        assert request is not None
        assert request.content.total_bytes < 1 << 20
        writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_two_publishers_share_the_time() -> None:
    hub = Hub()
    order: list[int] = []

    class Slow(Hub):
        def publish(self, message: Mapping[str, object]) -> int:
            order.append(int(str(message["device_id"])))
            spin(0.001)
            return hub.publish(message)

    slow = Slow()
    flow = Flow(slow, 0)

    async def publish(number: int) -> None:
        intake = Intake(slow.publish, Grant(str(number), 2e9, publish=15), lines=True)
        intake.put([orjson.dumps(telemetry(number))] * 100)
        await flow.publish(intake, patient=True)

    await asyncio.gather(publish(1), publish(2))
    changes = sum(one != other for one, other in itertools.pairwise(order))
    assert len(order) == 200
    assert changes > 10  # 100 ms of work each, of which no more than 6 at a time
