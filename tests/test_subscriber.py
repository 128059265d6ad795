from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from harness import TIMEOUT, Message, Site, alert, running, status, system, telemetry, until
from services import free_port
from valtronics_fast import subscriber
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.subscriber import FIRST_PAUSE, SubscriberError, messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    Subscriptions = Mapping[str, Mapping[str, Sequence[str]]]

EVERYTHING: Subscriptions = {"telemetry": {}, "alerts": {}, "devices": {}, "system": {}}


class Watch:
    """A subscriber that runs.

    Attributes:
        told: what it says to people.
        task: ends only with an error.
    """

    def __init__(self, url: str, token: str, subscriptions: Subscriptions) -> None:
        self.told: list[str] = []
        self.task = asyncio.create_task(self._run(url, token, subscriptions))
        self._received: asyncio.Queue[Message] = asyncio.Queue()

    async def _run(self, url: str, token: str, subscriptions: Subscriptions) -> None:
        async with aclosing(messages(url, token, subscriptions, self.told.append)) as found:
            async for message in found:
                self._received.put_nowait(message)

    async def next(self) -> Message:
        """Return the next message."""
        async with asyncio.timeout(TIMEOUT):
            return await self._received.get()

    async def next_of(self, site: Site, message: Message) -> Message:
        """Publish a message until it matches a subscription, and return what comes of it."""
        await until(lambda: site.server.publish(message))
        return await self.next()

    async def error(self) -> str:
        """Wait until it gives up, and return why."""
        with pytest.raises(SubscriberError) as caught:
            await asyncio.wait_for(self.task, TIMEOUT)
        return str(caught.value)

    async def hears(self, pattern: str) -> re.Match[str]:
        """Wait until it says something that matches."""

        def found() -> re.Match[str] | None:
            return next((match for text in self.told if (match := re.fullmatch(pattern, text))), None)

        await until(lambda: found() or self.task.done())
        match = found()
        assert match, self.told
        return match


@asynccontextmanager
async def watching(url: str, token: str, subscriptions: Subscriptions = EVERYTHING) -> AsyncIterator[Watch]:
    watch = Watch(url, token, subscriptions)
    try:
        yield watch
    finally:
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)


@asynccontextmanager
async def peer(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Run an HTTP server that is none of ours, and give its URL."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("channel", "message"),
    [("telemetry", telemetry()), ("alerts", alert()), ("devices", status()), ("system", system())],
)
async def test_messages_of_each_channel_come(channel: str, message: Message) -> None:
    async with running() as site, watching(site.url(), site.token(), {channel: {}}) as watch:
        received = await watch.next_of(site, message)
        assert (received["type"], received["channel"]) == (message["type"], channel)
        assert watch.told == [f"connected to {site.url()} as alice"]


async def test_filters_narrow() -> None:
    wanted = {"telemetry": {"device_id": ["2", "pump-3"], "metrics": ["a"]}, "alerts": {"severity": ["critical"]}}
    async with running() as site, watching(site.url(), site.token(), wanted) as watch:
        await watch.next_of(site, alert("critical"))
        for device in (1, 2, "pump-3"):
            site.server.publish(telemetry(device, a=1, b=2))
        site.server.publish(alert("info"))
        site.server.publish(alert("critical"))
        received = [await watch.next() for _ in range(3)]
        assert [each.get("device_id") for each in received[:2]] == [2, "pump-3"]
        assert [set(each["telemetry"]) for each in received[:2]] == [{"a"}, {"a"}]
        assert received[2]["severity"] == "critical"


async def test_it_comes_back_when_the_server_was_restarted() -> None:
    settings = {"port": free_port()}
    async with running(server=settings) as site:
        token = site.token()
        async with watching(site.url(), token) as watch:
            assert (await watch.next_of(site, telemetry(1)))["device_id"] == 1
            await site.server.stop()
            await watch.hears(r"the server closed the connection: 1001 going_away; trying again in 0\.\d s")
            await watch.hears(r"cannot connect to .*: Connection refused; trying again in \d\.\d s")
            async with running(server=settings) as restarted:
                assert (await watch.next_of(restarted, telemetry(2)))["device_id"] == 2
            assert watch.told.count(f"connected to {site.url()} as alice") == 2


async def test_without_a_server_it_gives_up_at_once() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    async with watching(url, "token") as watch:
        assert await watch.error() == f"cannot connect to {url}: Connection refused"


@pytest.mark.parametrize("url", ["ws://a..b/ws", "ws://a:b/ws"])
async def test_a_url_that_is_none(url: str) -> None:
    async with watching(url, "token") as watch:
        assert await watch.error() == "the URL is not valid"


async def test_a_certificate_that_is_not_trusted() -> None:
    async with running() as site, watching(site.url(scheme="wss"), site.token()) as watch:
        assert (await watch.error()).endswith(": TLS failed")


async def test_a_token_that_is_refused() -> None:
    async with running() as site:
        token = site.token()[:-6] + "secret"
        async with watching(site.url(), token) as watch:
            assert await watch.error() == "not authenticated: invalid_token (the token is not valid)"
            assert watch.told == []


async def test_too_many_connections_of_the_user() -> None:
    limits = {"connections_per_user": 1}
    async with running(limits=limits) as site, site.client(), watching(site.url(), site.token()) as watch:
        assert (await watch.error()).startswith("not authenticated: too_many_connections (")


async def test_a_token_that_expires() -> None:
    async with running(auth={"grace": 0}) as site:
        token = site.token(expires=60, now=time.time() - 89)  # of the leeway of 30 s, one is left
        async with watching(site.url(), token) as watch:
            assert await watch.error() == "the server closed the connection: 4010 token_expired"
            assert watch.told == [f"connected to {site.url()} as alice"]


async def test_40xx_does_not_come_back() -> None:
    async with running() as site, watching(site.url(), site.token()) as watch:
        await watch.next_of(site, telemetry())
        assert site.server.disconnect(CloseCode.CLOSE_FORBIDDEN) == 1
        assert await watch.error() == "the server closed the connection: 4003 forbidden"


async def test_41xx_comes_back_with_growing_pauses() -> None:
    async with running() as site, watching(site.url(), site.token()) as watch:
        for longest in (FIRST_PAUSE, 2 * FIRST_PAUSE):
            await watch.next_of(site, telemetry())
            assert site.server.disconnect(CloseCode.CLOSE_RATE_LIMITED) == 1
            match = await watch.hears(r"the server closed the connection: 4101 rate_limited; trying again in (.+) s")
            assert longest / 2 - 0.05 <= float(match[1]) <= longest + 0.05
            watch.told.clear()
        await watch.next_of(site, telemetry())


async def test_42xx_comes_back_at_once_but_not_again_and_again() -> None:
    async with running() as site, watching(site.url(), site.token()) as watch:
        for end in ("at once", r"in \d\.\d s"):
            await watch.next_of(site, telemetry())
            assert site.server.disconnect(CloseCode.CLOSE_REBALANCE) == 1
            await watch.hears(f"the server closed the connection: 4200 rebalance; trying again {end}")
        await watch.next_of(site, telemetry())


async def test_a_connection_that_lasted_starts_the_pauses_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber, "STABLE", 0.0)
    async with running() as site, watching(site.url(), site.token()) as watch:
        for _ in range(3):
            await watch.next_of(site, telemetry())
            assert site.server.disconnect(CloseCode.CLOSE_REBALANCE) == 1
            await watch.hears(".* at once")
            watch.told.clear()


async def test_a_refused_handshake_is_final_unless_it_is_a_matter_of_time() -> None:
    async with running(limits={"connection_rate": "1/min"}) as site:
        async with watching(site.url("/nothing"), "token") as watch:
            url = site.url("/nothing")
            assert await watch.error() == f"{url} answers 404 Not Found; the path of the API is /ws"
        async with site.connect(), watching(site.url(), site.token()) as watch:
            match = await watch.hears(r".* answers 429 Too Many Requests; trying again in (.+) s")
            assert 1 <= float(match[1]) <= 61


async def test_a_retry_after_has_a_bound() -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "9" * 400})

    async with peer(refuse) as url, watching(url, "token") as watch:
        match = await watch.hears(r".* answers 503 Service Unavailable; trying again in (.+) s")
        assert float(match[1]) == pytest.approx(subscriber.MAX_RETRY_AFTER, abs=1)


async def test_what_the_token_does_not_permit_is_told() -> None:
    async with running() as site:
        token = site.token(channels=["telemetry", "alerts"], devices=[1])
        wanted = {"telemetry": {"device_id": ["1", "2"]}, "alerts": {"device_id": ["2"]}, "devices": {}}
        async with watching(site.url(), token, wanted) as watch:
            await watch.hears("telemetry: the token does not permit device 2")
            await watch.hears(r"alerts: forbidden \(.+\)")
            await watch.hears(r"devices: forbidden \(.+\)")
            assert (await watch.next_of(site, telemetry(1)))["device_id"] == 1


async def test_when_nothing_is_permitted_it_gives_up() -> None:
    async with running() as site:
        async with watching(site.url(), site.token(channels=["system"]), {"alerts": {}, "devices": {}}) as watch:
            assert re.fullmatch(r"alerts: forbidden \(.+\); devices: forbidden \(.+\)", await watch.error())
        many = {"alerts": {"device_id": [str(number) for number in range(1000)]}}
        async with watching(site.url(), site.token(), many) as watch:
            assert (await watch.error()).startswith("alerts: message_too_large (")


async def test_a_server_that_repeats_everything_is_not_one_of_this_api() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            await socket.send_str(frame.data)
        return socket

    async with peer(echo) as url, watching(url, "the-token") as watch:
        error = await watch.error()
        assert error == "this is no server of this API: it does not answer an authentication"


@pytest.mark.parametrize("answer", ["no JSON", "5"])
async def test_what_is_no_message_ends_it(answer: str) -> None:
    async def babble(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_str(answer)
        await socket.receive()
        return socket

    async with peer(babble) as url, watching(url, "token") as watch:
        assert await watch.error() == "this is no server of this API: a message is not a JSON object"


@pytest.mark.parametrize("secret", ["user:hunter2@{}/ws", "{}/ws?x=hunter2", "{}/ws#hunter2"])
async def test_no_text_holds_what_may_be_secret_in_a_url(secret: str) -> None:
    async with running() as site:
        address = f"127.0.0.1:{site.server.port}"
        async with watching(f"ws://{secret.format(address)}", site.token()) as watch:
            await watch.hears(f"connected to ws://{address}/ws as alice")
        url = f"ws://{secret.format(address).replace('/ws', '/nothing')}"
        async with watching(url, site.token()) as watch:
            assert (await watch.error()).startswith(f"ws://{address}/nothing answers 404")
    async with watching(url, "token") as watch:
        assert await watch.error() == f"cannot connect to ws://{address}/nothing: Connection refused"


async def test_closing_says_goodbye() -> None:
    async with running() as site:
        async with watching(site.url(), site.token()) as watch:
            await watch.next_of(site, telemetry())
        await until(lambda: not site.server.stats()["active_connections"])
        assert site.server.stats()["close_codes"] == {"1000": 1}
