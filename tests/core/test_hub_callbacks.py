"""Connections that come, go and change while something is on its way to them: by their peers, and by callbacks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from core.harness import Server, numbers, subscriber, telemetry, until
from core.wire_client import CLOSE, PING, GoneError, frame, text
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.wire_client import Client

CLIENTS = 5
EVERYTHING = Grant("alice", time.time() + 3600, publish=15)


def slot_of(server: Server, client: Client) -> int:
    """Return the place of a connection among those that are attached, which are listed by slot."""
    return server.hub.connections().index(client.session)


async def newcomer(server: Server) -> Client:
    """Return a client that is subscribed to telemetry from its first moment, without an answer."""
    return await server.connect(grant=EVERYTHING, endpoint=Channel.TELEMETRY)


async def what_came(client: Client) -> list[int]:
    """Return the numbers of the messages up to the end of a connection, which may cut one."""
    heard = []
    try:
        while True:
            received = await client.receive()
            if received.opcode != CLOSE:
                heard += numbers([client.decode(received)])
    except GoneError:
        return heard


def by_peer(client: Client) -> None:
    client.close()


def by_reset(client: Client) -> None:
    client.reset()


def by_abort(client: Client) -> None:
    client.session.abort()


def by_disconnect(client: Client) -> None:
    client.session.disconnect(1012)
    client.close()


WAYS_OUT = [by_peer, by_reset, by_abort, by_disconnect]


@pytest.mark.parametrize("leave", WAYS_OUT)
@pytest.mark.parametrize("at", range(CLIENTS))
async def test_a_connection_ends_between_publishing_and_writing(at: int, leave: Callable[[Client], None]) -> None:
    """What it had to get is forgotten; before and behind it in the turn everybody gets everything."""
    async with Server() as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        with server.held():
            for n in range(3):
                assert server.hub.publish(telemetry(1, n=n)) == CLIENTS
            leave(clients[at])
            await server.gone(clients[at])
            assert clients[at].session.queued_bytes == 0
            check_hub(server.hub)
            others = [client for i, client in enumerate(clients) if i != at]
            assert server.hub.publish(telemetry(1, n=3)) == len(others)
        for messages in await server.settled(*others):
            assert numbers(messages) == [0, 1, 2, 3]


@pytest.mark.parametrize("leave", WAYS_OUT)
async def test_the_next_owner_of_a_slot_gets_nothing_of_the_last_one(leave: Callable[[Client], None]) -> None:
    """Within one turn a slot has four owners, each of which something is queued for; only the last one is there."""
    async with Server() as server:
        steady = [await subscriber(server) for _ in range(CLIENTS)]
        first = await newcomer(server)
        slot = slot_of(server, first)
        owners = [first]
        with server.held():
            for n in range(4):
                assert slot_of(server, owners[-1]) == slot
                assert server.hub.publish(telemetry(1, n=n)) == CLIENTS + 1
                if n < 3:
                    leave(owners[-1])
                    await server.gone(owners[-1])
                    owners.append(await newcomer(server))
            check_hub(server.hub)
        server.hub.publish(telemetry(1, n=4))
        assert numbers(await owners[-1].settled()) == [3, 4]
        for messages in await server.settled(*steady):
            assert numbers(messages) == [0, 1, 2, 3, 4]


async def test_the_next_owner_of_a_slot_gets_nothing_of_a_backlog() -> None:
    """The last owner's frames wait in its queue and in its transport when it goes."""
    async with Server(send_buffer=4096, queue_limit=0) as server:
        for leave in WAYS_OUT:
            slow = await subscriber(server, receive_buffer=4096)
            while slow.session.queued_bytes < 100_000:
                server.hub.publish(telemetry(1, n=-1, text="x" * 1000))
                await asyncio.sleep(0)
            slot = slot_of(server, slow)
            leave(slow)
            await server.gone(slow)
            fresh = await newcomer(server)
            assert slot_of(server, fresh) == slot
            assert fresh.session.queued_bytes == 0
            server.hub.publish(telemetry(1, n=1))
            assert numbers(await fresh.settled()) == [1]
            fresh.close()
            await server.gone(fresh)


@pytest.mark.parametrize("first", ["publish", "abort"])
async def test_aborting_all_but_one_in_the_turn_of_a_publication(first: str) -> None:
    async with Server() as server:
        for stays in range(CLIENTS):
            clients = [await subscriber(server) for _ in range(CLIENTS)]
            if first == "publish":
                server.hub.publish(telemetry(1, n=1))
            for i, client in enumerate(clients):
                if i != stays:
                    client.session.abort()
                    client.session.abort()
            server.hub.publish(telemetry(1, n=2))
            assert numbers(await clients[stays].settled()) == ([1, 2] if first == "publish" else [2])
            for client in clients:
                client.close()
                await server.gone(client)


async def publisher_and_others(server: Server, count: int) -> tuple[Client, list[Client]]:
    """Return a client that may publish and has subscribed, and others that have."""
    client = await server.login(server.token(publish=15))
    await client.ask(type="subscribe", id=1, channel="telemetry")
    return client, [await subscriber(server) for _ in range(count)]


async def test_a_publish_callback_that_changes_everything() -> None:
    """It publishes, ends connections, takes subscriptions away and gives some; each counts from there on."""
    async with Server() as server:
        publisher, (cut, told, revoked, steady) = await publisher_and_others(server, 4)
        waiting = await server.connect(endpoint=Channel.TELEMETRY)
        for client, name in ((revoked, "narrow"), (waiting, "wide")):
            server.host.pending[name] = asyncio.get_running_loop().create_future()
            await client.say(type="auth", id=name, token=name)
        await revoked.send(PING, b"x")
        await revoked.receive()  # the server has seen the auth command before it
        await waiting.send(PING, b"x")
        await waiting.receive()

        def change(_: Mapping[str, object]) -> int:
            publish = server.hub.publish
            assert publish(telemetry(1, n=1)) == 5
            cut.session.abort()
            assert publish(telemetry(1, n=2)) == 5  # the peer is not gone before the event loop says so
            revoked.session.verified(Grant("alice", time.time() + 60, channels=2))
            assert publish(telemetry(1, n=3)) == 4
            told.session.disconnect(1012)
            assert publish(telemetry(1, n=4)) == 4
            waiting.session.verified(EVERYTHING)
            assert publish(telemetry(1, n=5)) == 5
            check_hub(server.hub)
            return 5

        server.host.publisher = change
        answer = await publisher.ask(type="publish", id=7, message=telemetry(1, n=0))
        heard = [answer, *await publisher.settled()]
        assert numbers([message for message in heard if message["type"] == "telemetry_update"]) == [1, 2, 3, 4, 5]
        assert heard[-1] == {"type": "publish_response", "id": 7, "success": True}
        assert numbers(await steady.settled()) == [1, 2, 3, 4, 5]
        one, two, response, lost = await revoked.settled()
        assert (numbers([one, two]), response["id"], lost["type"]) == ([1, 2], "narrow", "unsubscribed")
        messages, code, _ = await told.closing()
        assert (numbers(messages), code) == ([1, 2, 3], 1012)
        response, five = await waiting.settled()
        assert (response["id"], numbers([five])) == ("wide", [5])
        await server.gone(cut)


@pytest.mark.parametrize("end", ["abort", "disconnect", "both"])
async def test_a_publish_callback_that_ends_its_own_connection(end: str) -> None:
    """In the middle of a batch, with more commands behind it in the same segment."""
    async with Server() as server:
        publisher, others = await publisher_and_others(server, 2)

        def leave(message: Mapping[str, object]) -> int:
            matched = server.hub.publish(message)
            if end != "abort":
                publisher.session.disconnect(1012)
            if end != "disconnect":
                publisher.session.abort()
            return matched + server.hub.publish(message)

        server.host.publisher = leave
        items = [{"type": "publish", "id": n, "message": telemetry(1, n=n)} for n in range(3)]
        await publisher.write(text({"type": "batch", "id": 9, "messages": items}) + text(items[0]) + frame(PING, b"x"))
        if end != "disconnect":
            await server.gone(publisher)
        published = [0, 0] if end != "abort" else [0, 0, 1, 1, 2, 2, 0, 0]
        for messages in await server.settled(*others):
            assert numbers(messages) == published
        if end == "disconnect":
            messages, code, _ = await publisher.closing()
            assert (numbers(messages), code) == ([0], 1012)


async def test_the_host_publishes_when_a_connection_ends() -> None:
    """To everybody but the one that is told of; and again when that ends others."""
    async with Server() as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        closed = server.host.closed

        def tell(session: object) -> None:
            closed(session)  # type: ignore[arg-type]
            left = len(server.hub.connections()) - 1
            assert server.hub.publish(telemetry(1, n=left)) == left
            if left == 3:
                clients[1].session.abort()

        server.host.closed = tell  # type: ignore[method-assign]
        try:
            clients[0].session.abort()
            await until(lambda: len(server.hub.connections()) == 4)
            clients[4].reset()
            await until(lambda: len(server.hub.connections()) == 2)
            for messages in await server.settled(clients[2], clients[3]):
                assert numbers(messages) == [4, 3, 2]
        finally:
            server.host.closed = closed  # type: ignore[method-assign]


async def test_the_host_publishes_when_a_connection_opens_or_joins() -> None:
    async with Server() as server:
        steady = await subscriber(server)
        opened, join = server.host.opened, server.host.join

        def tell_opened(session: object) -> None:
            opened(session)  # type: ignore[arg-type]
            server.hub.publish(telemetry(1, n=1))

        def tell_join(session: object, user: str) -> bool:
            server.hub.publish(telemetry(1, n=2))
            return join(session, user)  # type: ignore[arg-type]

        server.host.opened = tell_opened  # type: ignore[method-assign]
        server.host.join = tell_join  # type: ignore[method-assign]
        fresh = await newcomer(server)
        server.hub.publish(telemetry(1, n=3))
        assert numbers(await fresh.settled()) == [3]
        assert numbers(await steady.settled()) == [1, 2, 3]


async def test_a_schedule_that_calls_back_at_once() -> None:
    """Each connection is then written as soon as something is queued for it, in the middle of the publication."""
    async with Server() as server:
        clients = [await subscriber(server) for _ in range(CLIENTS)]
        server.schedule = lambda flush: flush()
        for n in range(CLIENTS - 1):
            assert server.hub.publish(telemetry(1, n=n)) == CLIENTS
            assert all(client.session.queued_bytes == 0 for client in clients)
            clients[n].session.abort()
        assert numbers(await clients[-1].settled()) == list(range(CLIENTS - 1))
        for n, client in enumerate(clients[:-1]):
            heard = await what_came(client)
            assert heard == list(range(len(heard)))
            assert len(heard) > n
            await server.gone(client)
