"""A fan-out in which the kernel fails one connection: every other one gets everything, in order, and the books agree.

Each test runs in a process of its own, with faulty_kernel.c before the C library.
"""

from __future__ import annotations

from errno import ECONNRESET, EINTR, ENOBUFS, EPIPE, ETIMEDOUT
from typing import TYPE_CHECKING

import pytest

from core.faulty_kernel import Kernel, Way, under_a_faulty_kernel
from core.harness import Message, Server, numbers, subscriber, telemetry
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.encode import closing_frame, encode
from valtronics_fast._core.wire import CLOSE_REASONS

if TYPE_CHECKING:
    from core.wire_client import Client

CLIENTS = 6
# In this order: one frame, which is sent alone; several, which the connections share; more than one sendmsg() takes.
TURNS = ([0], [0, 0, 0, 0], [0] * 70, [0, 3000, 0])
LETHAL = [ECONNRESET, EPIPE, ETIMEDOUT, ENOBUFS]


def turn_of(sizes: list[int], first: int) -> list[Message]:
    return [telemetry(0, n=first + n, text="x" * size) for n, size in enumerate(sizes)]


def books(server: Server) -> list[int]:
    """Return what the hub and the turn have counted that the other connections of a fan-out must account for."""
    counters = server.hub.stats()["telemetry"]
    return [counters["publications"], counters["matched"], counters["deliveries"], counters["bytes"]]


async def hears_all(server: Server, clients: list[Client], turn: list[Message]) -> None:
    expected = [message["telemetry"]["n"]["value"] for message in turn]
    for messages in await server.settled(*clients):
        assert numbers(messages) == expected


async def lost(server: Server, client: Client) -> None:
    """Wait for the end of a connection of which nothing may be left."""
    await server.gone(client)
    assert client.session.close_code == 1006
    assert client.session.queued_bytes == 0
    assert client.session not in server.hub.connections()
    check_hub(server.hub)


@pytest.mark.parametrize("outcome", [0, -EINTR], ids=["EAGAIN", "EINTR"])
@under_a_faulty_kernel
async def test_each_connection_in_turn_is_refused(outcome: int) -> None:
    """It gets everything all the same."""
    kernel = Kernel()
    async with Server(queue_limit=0) as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        for sizes in TURNS:
            for refused in clients:
                for outcomes in ([outcome], [50, outcome], [outcome] * 3):
                    kernel.set(refused, Way.OUTBOX, outcomes)
                    turn = turn_of(sizes, 0)
                    before = books(server)
                    size = sum(len(encode(message)) for message in turn)
                    for message in turn:
                        assert server.hub.publish(message) == CLIENTS
                    await hears_all(server, clients, turn)
                    count = CLIENTS * len(turn)
                    grown = [now - then for now, then in zip(books(server), before, strict=True)]
                    assert grown == [len(turn), count, count, CLIENTS * size]
        assert server.hub.turn.refused >= len(TURNS) * CLIENTS


@pytest.mark.parametrize("error", LETHAL, ids=["ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOBUFS"])
@under_a_faulty_kernel
async def test_each_connection_in_turn_fails(error: int) -> None:
    """At its first write of the turn, or after a part of it."""
    kernel = Kernel()
    async with Server(queue_limit=0) as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        for sizes in TURNS:
            for at in range(CLIENTS):
                for outcomes in ([-error], [50, -error]):
                    failing = clients[at]
                    kernel.set(failing, Way.OUTBOX, outcomes)
                    turn = turn_of(sizes, at)
                    stream = b"".join(encode(message) for message in turn)
                    before = books(server)
                    for message in turn:
                        assert server.hub.publish(message) == CLIENTS
                    others = [client for client in clients if client is not failing]
                    await hears_all(server, others, turn)
                    count = CLIENTS * len(turn)
                    grown = [now - then for now, then in zip(books(server), before, strict=True)]
                    assert grown == [len(turn), count, count, CLIENTS * len(stream)]
                    if len(turn) > 1 or len(outcomes) == 1:
                        assert kernel.left(failing, Way.OUTBOX) == 0
                        assert stream.startswith(await failing.read_to_the_end())
                        await lost(server, failing)
                        clients[at] = await subscriber(server)
                    else:  # the transport has taken what was left of the only frame
                        kernel.set(failing, Way.OUTBOX)
                        await hears_all(server, [failing], turn)


@pytest.mark.parametrize("error", [ECONNRESET, ETIMEDOUT], ids=["ECONNRESET", "ETIMEDOUT"])
@under_a_faulty_kernel
async def test_each_transport_in_turn_fails_on_what_the_kernel_has_refused(error: int) -> None:
    """Nothing may come behind the gap."""
    kernel = Kernel()
    async with Server(queue_limit=0) as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        for sizes in TURNS:
            for at in range(CLIENTS):
                for outcomes in ([-error], [20, -error], [0, 0, 30, 0, -error]):
                    failing = clients[at]
                    kernel.set(failing, Way.OUTBOX, [50])
                    kernel.set(failing, Way.TRANSPORT, outcomes)
                    turn = turn_of(sizes, at)
                    for message in turn:
                        server.hub.publish(message)
                    await hears_all(server, [client for client in clients if client is not failing], turn)
                    assert b"".join(encode(message) for message in turn).startswith(await failing.read_to_the_end())
                    await lost(server, failing)
                    clients[at] = await subscriber(server)


@under_a_faulty_kernel
async def test_a_connection_fails_while_its_queue_overflows() -> None:
    """A queue over its bound is written in the middle of a publication; the others are not held up by that."""
    kernel = Kernel()
    async with Server(queue_limit=5000) as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        for outcomes in ([-ECONNRESET], [50, -EPIPE], [4000, 0, -ECONNRESET]):
            for at in range(CLIENTS):
                failing = clients[at]
                kernel.set(failing, Way.OUTBOX, outcomes)
                turn = turn_of([900] * 12, 0)
                for message in turn:
                    assert server.hub.publish(message) == CLIENTS
                await hears_all(server, [client for client in clients if client is not failing], turn)
                assert b"".join(encode(message) for message in turn).startswith(await failing.read_to_the_end())
                await lost(server, failing)
                clients[at] = await subscriber(server)


@under_a_faulty_kernel
async def test_every_other_connection_fails_at_once() -> None:
    """The first, the last, and those between connections that share the turn."""
    kernel = Kernel()
    async with Server(queue_limit=0) as server:
        for first in (0, 1):
            for sizes in TURNS:
                clients = [await subscriber(server) for _ in range(CLIENTS)]
                failing, others = clients[first::2], clients[1 - first :: 2]
                for client in failing:
                    kernel.set(client, Way.OUTBOX, [-ECONNRESET])
                turn = turn_of(sizes, 0)
                for message in turn:
                    server.hub.publish(message)
                await hears_all(server, others, turn)
                for client in failing:
                    assert await client.read_to_the_end() == b""
                    await lost(server, client)
                for client in others:
                    client.close()
                    await server.gone(client)


@pytest.mark.parametrize("outcome", [0, -EINTR, -ECONNRESET], ids=["EAGAIN", "EINTR", "ECONNRESET"])
@under_a_faulty_kernel
async def test_the_close_is_refused_or_fails(outcome: int) -> None:
    """Behind a part of the turn's data, at every byte of both."""
    kernel = Kernel()
    stream = encode(telemetry(0, n=0)) + closing_frame(1012, CLOSE_REASONS[1012])
    async with Server(queue_limit=0) as server:
        for taken in range(len(stream)):
            client = await subscriber(server)
            kernel.set(client, Way.OUTBOX, [taken, outcome])
            server.hub.publish(telemetry(0, n=0))
            client.session.disconnect(1012)
            if outcome == -ECONNRESET and taken < len(stream) - len(closing_frame(1012, CLOSE_REASONS[1012])):
                assert stream.startswith(await client.read_to_the_end())
            else:  # the transport takes the rest of what was cut
                assert await client.read_exactly(len(stream)) == stream
            client.close()
            await server.gone(client)
            assert client.session.close_code == 1012
