"""The three ways in which a reader is too slow (protocol.md, section 6), each to the byte: it is closed with 4102."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from core.behind import FILLER, SMALL, Jam
from core.harness import Server, until
from core.test_outbox_tls import tls  # noqa: F401  the fixture
from valtronics_fast._core.encode import encode

if TYPE_CHECKING:
    from core.test_outbox_tls import Contexts
    from core.wire_client import Client

LIMIT = 100_000
OVERHEAD = len(encode(FILLER | {"alert_id": "x", "message": "", "timestamp": "T"}))


def alert(size: int) -> dict[str, object]:
    """Return an alert whose frame has so many bytes."""
    return FILLER | {"alert_id": "x", "timestamp": "T", "message": "x" * (size - OVERHEAD)}


async def blocked(jam: Jam) -> Client:
    """Return a client that has stopped reading and has something in its queue."""
    client = await jam.reader()
    while not client.session.queued_bytes:
        jam.hub.publish(alert(1000), 0)
        await asyncio.sleep(0)
    return client


async def fill(jam: Jam, client: Client, size: int) -> None:
    """Publish alerts until so many bytes wait for a client."""
    while (missing := size - client.session.queued_bytes) > 3000:
        jam.hub.publish(alert(1000), 0)
    jam.hub.publish(alert(missing), 0)
    assert client.session.queued_bytes == size


async def is_closed(jam: Jam, client: Client) -> bool:
    """Say whether a client is told 4102 now; if not, it gets everything and goes on."""
    await asyncio.sleep(0)
    if client.session.close_code:
        assert client.session.close_code == 4102
        assert client.session.queued_bytes == 0
        assert (await client.closing())[1:] == (4102, "slow_consumer")
        return True
    await jam.drained(client)
    jam.hub.publish(alert(1000), 0)
    assert len(await client.settled()) == 1
    return False


def test_the_size_of_an_alert() -> None:
    assert len(encode(alert(1000))) == 1000


@pytest.mark.parametrize("more", [0, 1])
async def test_more_events_than_the_queue_may_hold(more: int) -> None:
    async with Jam(queue_limit=LIMIT) as jam:
        client = await blocked(jam)
        await fill(jam, client, LIMIT - 1000)
        jam.hub.publish(alert(1000 + more), 0)
        assert await is_closed(jam, client) is bool(more)


@pytest.mark.parametrize("more", [0, 1])
async def test_more_than_may_wait_for_a_time(more: int) -> None:
    """The time is none here: the first look at a blocked connection, a second after it was blocked, decides."""
    async with Jam(queue_size=50_000, queue_time=0) as jam:
        client = await blocked(jam)
        await fill(jam, client, 50_000 + more)
        jam.hub.advance(time.monotonic() + 1.01)
        assert await is_closed(jam, client) is bool(more)


async def test_it_may_wait_for_that_time() -> None:
    async with Jam(queue_size=50_000, queue_time=0.3) as jam:
        client = await blocked(jam)
        await fill(jam, client, 60_000)
        begun = time.monotonic()
        await closed_in_time(jam, client)
        assert time.monotonic() - begun >= 0.3
        assert await is_closed(jam, client)


async def closed_in_time(jam: Jam, client: Client) -> None:
    """Let the server look at its clock, the real one, until it has closed a connection."""

    def closed() -> bool:
        jam.hub.advance(time.monotonic())
        return client.session.close_code != 0

    await until(closed)


async def test_the_time_begins_anew_when_it_has_been_less() -> None:
    async with Jam(queue_size=50_000, queue_time=0.8) as jam:
        client = await blocked(jam)
        await fill(jam, client, 60_000)
        jam.hub.advance(time.monotonic() + 1.01)
        while client.session.queued_bytes > 40_000:
            await client.receive()
        jam.hub.advance(time.monotonic() + 1.01)
        await fill(jam, client, 60_000)
        begun = time.monotonic()
        await closed_in_time(jam, client)
        assert time.monotonic() - begun >= 0.8
        assert await is_closed(jam, client)


@pytest.mark.parametrize("more", [0, 1])
async def test_all_blocked_connections_together(more: int) -> None:
    """The bound holds to the byte; beyond it the largest goes, and the others keep everything."""
    async with Jam(queue_mark=0) as jam:
        clients = [await blocked(jam) for _ in range(3)]
        jam.hub.publish(alert(1000), 0)
        largest = max(clients, key=lambda client: client.session.queued_bytes)
        await asyncio.sleep(0)
        jam.hub.max_backlog = jam.hub.turn.backlog + 3 * 1000
        jam.hub.publish(alert(1000), 0)
        assert jam.hub.sacrificed == 0
        jam.hub.max_backlog = jam.hub.turn.backlog + 3 * 1000 - more
        jam.hub.publish(alert(1000), 0)
        assert jam.hub.sacrificed == more
        for client in clients:
            await asyncio.sleep(0)
            assert bool(client.session.close_code) is (bool(more) and client is largest)
        jam.hub.max_backlog = 1 << 40
        assert await is_closed(jam, largest) is bool(more)


async def test_what_has_grown_without_a_publication_is_seen_by_the_timers() -> None:
    async with Jam(queue_mark=0) as jam:
        client = await blocked(jam)
        jam.hub.max_backlog = jam.hub.turn.backlog - 1
        assert jam.hub.sacrificed == 0
        jam.hub.advance(0)
        assert jam.hub.sacrificed == 1
        jam.hub.max_backlog = 1 << 40
        assert await is_closed(jam, client)


async def test_as_many_go_as_have_to_and_the_others_keep_everything() -> None:
    async with Jam(queue_mark=0) as jam:
        clients = []
        for number in range(6):
            clients.append(await blocked(jam))
            for _ in range(20 * number):
                jam.hub.publish(alert(1000), 0)
        waiting = [client.session.queued_bytes for client in clients]
        assert waiting == sorted(waiting, reverse=True)
        jam.hub.max_backlog = sum(waiting[2:]) + 50_000
        for client in clients:
            assert client.session.close_code == 0
        published = jam.hub.stats()["alerts"]["publications"]
        jam.hub.publish(alert(1000), 0)
        assert jam.hub.sacrificed == 2
        assert jam.hub.turn.backlog <= jam.hub.max_backlog
        assert published + 1 == jam.hub.stats()["alerts"]["publications"]
        await asyncio.sleep(0)
        assert [client.session.close_code for client in clients] == [4102, 4102, 0, 0, 0, 0]
        jam.hub.max_backlog = 1 << 40
        received = [len(await everything(client)) for client in clients[2:]]
        assert received == sorted(received, reverse=True)
        for client, count in zip(clients[2:], received, strict=True):
            assert count == client.session.messages_out - 2  # but for the answers


async def everything(client: Client) -> list[dict[str, object]]:
    messages = []
    while client.session.queued_bytes:
        messages += await client.settled()
    return messages + await client.settled()


async def test_answers_and_notes_count_for_all_together() -> None:
    """A reader that asks and does not read, and one that has much kept back, are part of the backlog."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        await jam.done(slow, type="ping", id=1)
        before = jam.hub.turn.backlog
        await jam.done(slow, type="ping", id=1)
        answered = jam.hub.turn.backlog
        assert before + 50 < answered < before + 200
        for device in range(100):
            jam.publish(device, t=1)
        await jam.done(slow, type="subscribe", channel="telemetry", device_id=list(range(100)), snapshot=True)
        assert jam.hub.turn.backlog > answered + 100 * 100
        await jam.drained(slow)
        assert jam.hub.turn.backlog == 0


async def test_a_backlog_over_tls(tls: Contexts) -> None:  # noqa: F811
    """Behind, caught up, and closed where events are too many."""
    async with Jam(tls=tls, queue_limit=LIMIT) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        for turn in range(3):
            await jam.jam(slow)
            for number in range(100):
                jam.publish(number % 5, t=number, turn=turn)
            expected = [(device, {"t": 95 + device, "turn": turn}) for device in range(5)]
            assert await jam.caught_up(slow) == expected
        while not slow.session.close_code:
            jam.hub.publish(alert(1000), 0)
            await asyncio.sleep(0)
        assert (await slow.closing())[1] == 4102
        assert slow.session.conflated == 3 * 95


async def test_who_never_reads_again_is_cut_whatever_it_is_owed() -> None:
    async with Server(send_buffer=SMALL, queue_mark=10_000, queue_limit=50_000, close_timeout=0.2) as server:
        client = await server.login(receive_buffer=SMALL)
        for channel in ("alerts", "telemetry"):
            await client.ask(type="subscribe", id=1, channel=channel)
        while not client.session.close_code:
            server.hub.publish({"type": "alert", "severity": "filler", "message": "x" * 1000})
            await asyncio.sleep(0)
        await until(lambda: client.session in server.host.closed_sessions)
        assert client.session.close_code == 4102
