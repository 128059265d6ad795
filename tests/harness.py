"""A server on free ports and clients of it: what the tests share that speak to a whole server.

The server runs in the test's own event loop. Nothing here sleeps: that something does not come is shown by
asking for something else, which is answered in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from valtronics_fast import Config, Server
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from websockets.http11 import Response

Message = dict[str, Any]

SECRET = "Zk3q-9vX2mLr7TbWc5Yh8NdGf4JpSs6KuAe1RxQi0Ov_PzBn"
"""48 bytes, with which the tokens of the tests are signed."""

TIMEOUT = float(os.environ.get("TEST_TIMEOUT", "30"))
"""Seconds after which a test fails that waits for something; far more than anything takes (not in tests/guards)."""

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The headers of a WebSocket handshake."""


def has_ipv6() -> bool:
    """Say whether this host has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


def configuration(*, demo: bool = False, **sections: Mapping[str, object]) -> Config:
    """Return settings for a test: free ports, the secret, no figures of the host, no limit on connection rates.

    Args:
        demo: the flag of that name.
        sections: settings that replace these or the defaults, by section.
    """
    merged: dict[str, dict[str, object]] = {
        "server": {"port": 0},
        "http": {"port": 0},
        "auth": {"secret": SECRET},
        "limits": {"connection_rate": 0},
        "system": {"interval": 0},
    }
    for name, settings in sections.items():
        merged[name] = {**merged.get(name, {}), **settings}
    return Config.load(merged, flags={"demo": demo or None}, environ={})


@asynccontextmanager
async def running(*, demo: bool = False, **sections: Mapping[str, object]) -> AsyncIterator[Site]:
    """Run a server with the settings of `configuration`."""
    async with Server(configuration(demo=demo, **sections)) as server:
        yield Site(server)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.002)


async def http(method: str, url: str, **more: Any) -> tuple[int, Message, Mapping[str, str]]:
    """Return status, JSON body ({} when it is none) and headers of an HTTP answer."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(method, url, **more) as answer,
    ):
        body = await answer.json() if answer.content_type == "application/json" else {}
        return answer.status, body, answer.headers


class Site:
    """A running server, seen from its clients.

    Attributes:
        server: the server itself.
        host: the address that clients connect to, as it stands in a URL.
    """

    def __init__(self, server: Server, host: str = "127.0.0.1") -> None:
        self.server = server
        self.host = host

    def url(self, path: str = "/ws", *, scheme: str = "ws") -> str:
        """Return a URL of the WebSocket port."""
        return f"{scheme}://{self.host}:{self.server.port}{path}"

    def http_url(self, path: str) -> str:
        """Return a URL of the HTTP port."""
        return f"http://{self.host}:{self.server.http_port}{path}"

    def token(self, user: str = "alice", **claims: Any) -> str:
        """Return a good token; the arguments are those of `tokens.mint`."""
        return mint(self.server.config.auth, user, **claims)

    async def figures(self) -> tuple[int, Message]:
        """Ask for the server's figures over HTTP; return the status and what was answered."""
        headers = {"Authorization": f"Bearer {self.token('monitor', monitor=True)}"}
        status, figures, _ = await http("GET", self.http_url("/api/v1/stats"), headers=headers)
        return status, figures

    @asynccontextmanager
    async def connect(self, path: str = "/ws", **options: Any) -> AsyncIterator[Client]:
        """Connect without authenticating; `options` are those of `websockets.connect`."""
        url = self.url(path, scheme="wss" if "ssl" in options else "ws")
        settings: dict[str, Any] = {"proxy": None, "ping_interval": None, "max_queue": None} | options
        async with connect(url, open_timeout=TIMEOUT, close_timeout=TIMEOUT, **settings) as connection:
            yield Client(connection)

    @asynccontextmanager
    async def client(self, path: str = "/ws", user: str = "alice", **claims: Any) -> AsyncIterator[Client]:
        """Connect and authenticate with a token of these claims."""
        async with self.connect(path) as client:
            await client.authenticate(self.token(user, **claims))
            yield client

    async def refusal(self, path: str = "/ws", **options: Any) -> Response:
        """Try to connect and return the HTTP answer that refuses it."""
        with pytest.raises(InvalidStatus) as caught:
            async with self.connect(path, **options):
                pass
        return caught.value.response


class Client:
    """A WebSocket client that speaks JSON.

    Attributes:
        connection: the library's connection, for what has no method here.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._ids = 0

    async def send(self, **message: object) -> None:
        """Send one message."""
        await self.connection.send(json.dumps(message))

    async def receive(self) -> Message:
        """Return the next message."""
        async with asyncio.timeout(TIMEOUT):
            message = json.loads(await self.connection.recv(decode=True))
        assert isinstance(message, dict)
        return message

    async def ask(self, **message: object) -> Message:
        """Send one message and return the next one that comes."""
        await self.send(**message)
        return await self.receive()

    async def authenticate(self, token: object, **more: object) -> Message:
        """Authenticate in band, with success, and return the answer."""
        answer = await self.ask(type="auth", token=token, **more)
        assert answer["type"] == "auth_response"
        assert answer["success"] is True, answer
        return answer

    async def subscribe(self, channel: str, **filters: object) -> Message:
        """Subscribe with success; return the answer."""
        self._ids += 1
        answer = await self.ask(type="subscribe", id=self._ids, channel=channel, filters=filters)
        assert answer["type"] == "subscribe_response", answer
        assert (answer["id"], answer["success"], answer["channel"]) == (self._ids, True, channel)
        return answer

    async def fails(self, error: str, **message: object) -> Message:
        """Send a message that is answered with this error, and return the answer."""
        answer = await self.ask(**message)
        assert (answer["type"], answer["error"]) == ("error", error), answer
        assert isinstance(answer["message"], str)
        assert answer["message"]
        return answer

    async def nothing_more(self) -> None:
        """Assert that whatever was sent so far is handled, and that nothing is left to be received."""
        self._ids += 1
        answer = await self.ask(type="ping", id=self._ids)
        assert (answer["type"], answer.get("id")) == ("pong", self._ids), answer

    async def served_again(self) -> None:
        """Ask until there is an answer to it: what is asked over a limit gets none."""

        async def hear() -> None:
            while (await self.receive()).get("id") != "again":
                pass

        hearing = asyncio.create_task(hear())
        while not hearing.done():
            await self.send(type="ping", id="again")
            await asyncio.wait([hearing], timeout=0.2)
        await hearing

    def write(self, *frames: Frame | bytes) -> None:
        """Write frames, or bytes that are none, in one piece and as they are."""
        data = [each if isinstance(each, bytes) else each.serialize(mask=True) for each in frames]
        self.connection.transport.write(b"".join(data))

    async def closed(self) -> tuple[int, list[Message]]:
        """Read on to the end; return the server's close code (1006: none came) and the messages before."""
        messages = []
        try:
            while True:
                messages.append(await self.receive())
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else 1006, messages


def text(data: str | bytes, *, fin: bool = True) -> Frame:
    """Return the (first) frame of a text message."""
    return Frame(Opcode.TEXT, data.encode() if isinstance(data, str) else data, fin=fin)


def more(data: bytes = b"", *, fin: bool = False) -> Frame:
    """Return a continuation frame."""
    return Frame(Opcode.CONT, data, fin=fin)


def padded(size: int, **message: object) -> str:
    """Return the JSON of a message with a key `pad` that makes it this many bytes long."""
    bare = json.dumps({**message, "pad": ""})
    assert len(bare) <= size
    return json.dumps({**message, "pad": "x" * (size - len(bare))})


def telemetry(device: object = 1, **metrics: object) -> Message:
    """Return a telemetry message with bare values."""
    return {"type": "telemetry_update", "device_id": device, "telemetry": metrics or {"temperature": 23.5}}


def alert(severity: str = "critical", **more: object) -> Message:
    """Return an alert."""
    return {"type": "alert", "device_id": 1, "severity": severity, "title": "Hot", **more}


def status(new: str = "offline", **more: object) -> Message:
    """Return a status change."""
    return {"type": "device_status_update", "device_id": 1, "old_status": "online", "new_status": new, **more}


def system(**metrics: object) -> Message:
    """Return figures of a host."""
    return {"type": "system_status_update", "metrics": metrics or {"cpu_usage": 45.2}}
