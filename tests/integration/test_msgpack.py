"""The subprotocol valtronics.v1.msgpack: the same messages as MessagePack in binary frames."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from documented import ALERT, STATUS, SYSTEM, TELEMETRY
from harness import TIMEOUT, Message, Site, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME = "valtronics.v1.msgpack"


class Packed:
    """A client that speaks MessagePack."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: object) -> None:
        await self.connection.send(msgspec.msgpack.encode(message))

    async def receive(self) -> Message:
        async with asyncio.timeout(TIMEOUT):
            data = await self.connection.recv()
        assert isinstance(data, bytes)
        message: Message = msgspec.msgpack.decode(data)
        return message

    async def ask(self, **message: object) -> Message:
        await self.send(message)
        return await self.receive()


@asynccontextmanager
async def packed(site: Site, *offered: str, **options: Any) -> AsyncIterator[Packed]:
    """Connect with a token in the handshake."""
    names = [Subprotocol(name) for name in (*(offered or (NAME,)), f"bearer.{site.token(publish=True)}")]
    async with connect(site.url(), subprotocols=names, proxy=None, **options) as connection:
        yield Packed(connection)


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_every_kind_of_message(compression: str | None) -> None:
    async with running(server={"compression": True}) as site, packed(site, compression=compression) as client:
        assert client.connection.subprotocol == NAME
        for channel, message in (
            ("telemetry", TELEMETRY), ("alerts", ALERT), ("devices", STATUS), ("system", SYSTEM),
        ):  # fmt: skip
            answer = await client.ask(type="subscribe", id=channel, channel=channel)
            assert (answer["type"], answer["id"]) == ("subscribe_response", channel)
            site.server.publish(message)
            assert await client.receive() == message


async def test_commands_and_their_errors_are_those_of_json() -> None:
    async with running() as site, packed(site) as client:
        assert (await client.ask(type="ping", id=2**63 - 1))["id"] == 2**63 - 1
        for message, error in (
            ({"type": "nothing"}, "unknown_type"),
            ({"channel": "telemetry"}, "missing_type"),
            ({"type": "subscribe", "channel": "x"}, "unknown_channel"),
            ({"type": "subscribe", "channel": "alerts", "filters": {"x": 1}}, "invalid_filter"),
            ({"type": "ping", "x": "x" * 2000}, "message_too_large"),
            ({"type": "ping", "id": b"bytes"}, "invalid_message"),
            ({"type": "ping", "x": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}, "invalid_message"),
            ([1], "invalid_message"),
            ({"type": "subscribe", "channel": "telemetry", "filters": {1: 2}}, "invalid_message"),
            ({"type": "error_report", "error": b"bytes"}, "invalid_message"),
            ({"type": "ping", "timestamp": float("nan")}, "invalid_message"),
        ):
            await client.send(message)
            assert (await client.receive())["error"] == error, message
        await client.connection.send(b"\xc1")
        assert (await client.receive())["error"] == "invalid_json"
        batch = [{"type": "ping"}, {"type": "publish", "message": TELEMETRY}, {"type": "x", "y": "y" * 2000}]
        await client.send({"type": "batch", "id": 1, "messages": batch})
        assert (await client.receive())["type"] == "pong"
        assert (await client.receive())["error"] == "message_too_large"
        results = (await client.receive())["results"]
        assert [result["success"] for result in results] == [True, True, False]


async def test_authentication_in_band_and_commands_right_behind_it() -> None:
    async with running() as site, connect(site.url(), subprotocols=[Subprotocol(NAME)], proxy=None) as connection:
        client = Packed(connection)
        await client.send({"type": "auth", "token": site.token(), "batch": True})
        await client.send({"type": "subscribe", "channel": "telemetry", "id": 1})
        assert (await client.receive())["success"] is True
        assert (await client.receive())["id"] == 1
        site.server.publish(TELEMETRY)
        site.server.publish(TELEMETRY)
        assert await client.receive() == {"type": "batch", "messages": [TELEMETRY, TELEMETRY]}


async def test_text_frames_were_not_negotiated() -> None:
    async with running() as site, packed(site) as client:
        await client.connection.send('{"type":"ping"}')
        with pytest.raises(ConnectionClosed) as caught:
            await client.receive()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("valtronics.v1", NAME), "valtronics.v1"),
        ((NAME, "valtronics.v1"), NAME),
        (("unknown", NAME), NAME),
        (("unknown",), None),
    ],
)
async def test_the_first_known_subprotocol_is_taken(offered: tuple[str, ...], chosen: str | None) -> None:
    async with running() as site, packed(site, *offered) as client:
        assert client.connection.subprotocol == chosen
