"""The page behind a reverse proxy that has both ports on one origin, below a path (docs/dashboard.md)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from dashboard.browser import browsing
from dashboard.visitor import OPEN, report, sign_in
from harness import running
from services import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness import Site

BELOW = "/telemetry"


@contextlib.asynccontextmanager
async def proxy(site: Site, port: int) -> AsyncIterator[str]:
    """Pass on what is asked for below a path, as a reverse proxy does; yield the address of the page."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        path = request.path_qs.removeprefix(BELOW)
        headers = {name: value for name, value in request.headers.items() if name.lower() in {"host", *KEPT}}
        headers["X-Forwarded-For"] = str(request.remote)
        if path == "/ws":
            return await join(request, headers)
        async with session.request(request.method, site.http_url(path), headers=headers) as answer:
            told = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, body=await answer.read(), headers=told)

    async def join(request: web.Request, headers: dict[str, str]) -> web.WebSocketResponse:
        front = web.WebSocketResponse()
        async with session.ws_connect(site.url("/ws"), headers=headers) as back:
            await front.prepare(request)

            async def down() -> None:
                async for message in back:
                    await front.send_str(message.data)
                await front.close()

            passing = asyncio.create_task(down())
            async for message in front:
                await back.send_str(message.data)
            await back.close()
            await passing
        return front

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app, shutdown_timeout=1)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://localhost:{port}{BELOW}/"
        finally:
            await runner.cleanup()


KEPT = {"origin", "accept", "accept-encoding", "authorization", "if-none-match"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


async def test_behind_a_proxy_both_ports_are_one_origin() -> None:
    port = free_port()
    settings = {
        "http": {"websocket_url": f"{BELOW}/ws"},
        "security": {"origins": [f"http://localhost:{port}"], "trusted_proxies": ["127.0.0.1"]},
    }
    async with running(**settings) as site, proxy(site, port) as url, browsing() as browser, browser.page() as page:
        await page.go(url)
        await sign_in(page, site.token("alice", monitor=True))
        await page.until(OPEN)
        report(site.server, 1, temperature=20)
        await page.until("document.querySelector('.tile-value').textContent === '1'")
        await page.until("[...document.querySelectorAll('.tile-value')][1].textContent === '1'")
        assert f"ws://localhost:{port}{BELOW}/ws" in page.requests
        assert not [each for each in page.requests if f"//localhost:{port}{BELOW}/" not in each]
        assert page.complaints == []


async def test_a_demo_gives_nothing_to_visitors_of_a_proxy() -> None:
    port = free_port()
    settings = {"http": {"websocket_url": f"{BELOW}/ws"}}
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(running(demo=True, **settings))
        url = await stack.enter_async_context(proxy(site, port))
        browser = await stack.enter_async_context(browsing())
        page = await stack.enter_async_context(browser.page())
        await page.go(url)
        await page.until("document.activeElement.id === 'token'")
        answer = "fetch('dashboard/demo-token', { method: 'POST' }).then(answer => answer.status)"
        assert await page.eval(answer) == 403
        assert await page.eval("fetch('api/v1/stats').then(answer => answer.status)") == 401
