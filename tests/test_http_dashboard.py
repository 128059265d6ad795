from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from harness import Site, http, running
from valtronics_fast._core.scope import Grant
from valtronics_fast.http_dashboard import DEMO_TOKEN_LIFETIME, load_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGE = load_files()["index.html"]


@pytest.fixture
async def demo() -> AsyncIterator[Site]:
    async with running(demo=True) as site:
        yield site


async def fetch(url: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    """Return status, body as it came, and headers."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": "identity"} | headers) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


def own(site: Site, host: str = "127.0.0.1") -> dict[str, str]:
    """Return the headers of a request of the page itself."""
    authority = f"{host}:{site.server.http_port}"
    return {"Host": authority, "Origin": f"http://{authority}"}


async def settings_of(site: Site, **headers: str) -> dict[str, Any]:
    status, answer, _ = await http("GET", site.http_url("/dashboard/config.json"), headers=headers)
    assert status == 200
    return answer


def policy_of(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))


async def test_browsers_get_the_page_and_programs_the_routes(demo: Site) -> None:
    status, body, headers = await fetch(demo.http_url("/"), **HTML)
    assert (status, body, headers["Content-Type"]) == (200, PAGE.body, "text/html; charset=utf-8")
    for accept in ("application/json", "*/*"):
        status, answer, headers = await http("GET", demo.http_url("/"), headers={"Accept": accept})
        assert (status, "GET /health/live" in answer["routes"]) == (200, True)
        assert headers["Vary"] == "Accept"


async def test_it_can_be_turned_off() -> None:
    async with running(demo=True, http={"dashboard": False}) as site:
        assert (await http("GET", site.http_url("/"), headers=HTML))[1]["name"] == "valtronics-fast"
        for path in ("/dashboard/app.js", "/dashboard/config.json"):
            assert (await http("GET", site.http_url(path)))[0] == 404
        assert (await http("POST", site.http_url("/dashboard/demo-token"), headers=own(site)))[0] == 404


async def test_every_file_that_the_page_needs_is_there(demo: Site) -> None:
    wanted = set(re.findall(rb'(?:href|src)="(dashboard/[^"]+)"', PAGE.body))
    assert len(wanted) >= 5
    for path in wanted:
        status, body, headers = await fetch(demo.http_url("/" + path.decode()))
        assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert body


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard",
        "/dashboard/index.html",
        "/dashboard/none.js",
        "/dashboard/../http_dashboard.py",
        "/dashboard/%2e%2e/config.py",
        "/dashboard/vendor/",
        "/dashboard/app.js%00",
    ],
)
async def test_nothing_else_is_served(demo: Site, path: str) -> None:
    url = demo.http_url("/").rstrip("/")
    async with aiohttp.ClientSession() as session:
        from yarl import URL  # noqa: PLC0415

        async with session.get(URL(url + path, encoded=True)) as answer:
            assert answer.status == 404


async def test_what_the_browser_has_is_not_sent_again(demo: Site) -> None:
    url = demo.http_url("/dashboard/app.js")
    _, body, headers = await fetch(url)
    assert headers["Cache-Control"] == "no-cache"
    for known in (headers["ETag"], f'"other", {headers["ETag"]}', "*"):
        status, nothing, again = await fetch(url, **{"If-None-Match": known})
        assert (status, nothing, again["ETag"]) == (304, b"", headers["ETag"])
    assert (await fetch(url, **{"If-None-Match": '"other"'}))[:2] == (200, body)


async def test_files_are_compressed_for_those_who_take_it(demo: Site) -> None:
    url = demo.http_url("/dashboard/app.js")
    _, body, plain = await fetch(url)
    _, packed, headers = await fetch(url, **{"Accept-Encoding": "br, gzip"})
    assert (headers["Content-Encoding"], gzip.decompress(packed)) == ("gzip", body)
    assert "Content-Encoding" not in plain
    assert headers["ETag"] != plain["ETag"]
    assert "Accept-Encoding" in headers["Vary"]


async def test_nothing_from_elsewhere_and_nothing_inline(demo: Site) -> None:
    _, _, headers = await fetch(demo.http_url("/"), **HTML)
    policy = policy_of(headers)
    for part in ("default-src", "frame-ancestors", "base-uri", "form-action", "trusted-types"):
        assert policy[part] == "'none'"
    assert (policy["script-src"], policy["style-src"]) == ("'self'", "'self'")
    assert policy["connect-src"] == f"'self' ws://127.0.0.1:{demo.server.port}"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not re.search(rb"<style|style=|<script>| on[a-z]+=\"", PAGE.body)


@pytest.mark.parametrize(
    ("sections", "host", "url", "source"),
    [
        ({}, "localhost:1", "ws://localhost:{port}/ws", "ws://localhost:{port}"),
        ({}, "[::1]:1", "ws://[::1]:{port}/ws", "ws://[::1]:{port}"),
        ({}, "evil; script-src *", "ws://127.0.0.1:{port}/ws", "ws://127.0.0.1:{port}"),
        ({"server": {"host": "0.0.0.0"}}, "box.example:80", "ws://box.example:{port}/ws", "ws://box.example:{port}"),
        ({"server": {"host": "127.0.0.2"}}, "localhost", "ws://localhost:{port}/ws", "ws://localhost:{port}"),
        ({"http": {"host": "0.0.0.0"}}, "box.example", "ws://127.0.0.1:{port}/ws", "ws://127.0.0.1:{port}"),
        ({"http": {"websocket_url": "wss://a.example/x/ws"}}, "h", "wss://a.example/x/ws", "wss://a.example"),
        ({"http": {"websocket_url": "/live/ws"}}, "h.example", "/live/ws", "ws://h.example wss://h.example"),
        ({"http": {"websocket_url": "/live/ws"}}, "h; x", "/live/ws", ""),
    ],
)
async def test_where_the_websocket_is(sections: dict[str, Any], host: str, url: str, source: str) -> None:
    async with running(**sections) as site:
        port = site.server.port
        assert (await settings_of(site, Host=host))["websocket"] == url.format(port=port)
        _, _, headers = await fetch(site.http_url("/"), Host=host, **HTML)
        assert policy_of(headers)["connect-src"] == f"'self' {source}".format(port=port).strip()


async def test_a_demo_hands_out_a_token_that_may_see_and_do_nothing(demo: Site) -> None:
    assert (await settings_of(demo, **own(demo)))["demo"] is True
    for host in ("127.0.0.1", "localhost"):
        status, answer, _ = await http("POST", demo.http_url("/dashboard/demo-token"), headers=own(demo, host))
        assert (status, answer["expires_in"]) == (200, DEMO_TOKEN_LIFETIME)
    grant = demo.server._authenticator.verify(answer["token"])
    assert isinstance(grant, Grant)
    assert (grant.publish, grant.channels, grant.devices, grant.monitor) == (0, 15, None, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:80", "Origin": "http://evil.example:80"},  # DNS rebinding
        {"Host": "127.0.0.1:80", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1:80", "Origin": "null"},
        {"Host": "127.0.0.1:80", "Origin": "http://127.0.0.1:81"},
        {"Host": "127.0.0.1:80"},
        {"Host": "127.0.0.1:80", "Origin": "http://127.0.0.1:80", "X-Forwarded-For": "192.0.2.1"},
    ],
)
async def test_nobody_else_gets_one(demo: Site, headers: dict[str, str]) -> None:
    status, answer, _ = await http("POST", demo.http_url("/dashboard/demo-token"), headers=headers)
    assert (status, answer["error"]) == (403, "forbidden")


async def test_without_a_demo_there_is_none() -> None:
    async with running() as site:
        assert (await settings_of(site))["demo"] is False
        assert (await http("POST", site.http_url("/dashboard/demo-token"), headers=own(site)))[0] == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_demo_token_is_not_given_to_a_link(demo: Site, method: str) -> None:
    assert (await http(method, demo.http_url("/dashboard/demo-token"), headers=own(demo)))[0] == 405


async def test_its_own_pages_may_connect_where_origins_are_listed() -> None:
    async with running(security={"origins": ["https://app.example.org"]}) as site:
        port = site.server.http_port
        for host, good in (("127.0.0.1", True), ("localhost", True), ("evil.example", False)):
            origin = f"http://{host}:{port}"
            if good:
                async with site.connect(origin=origin):
                    pass
            else:
                assert (await site.refusal(origin=origin)).status_code == 403
        assert (await site.refusal(origin=f"http://localhost:{port + 1}")).status_code == 403


@pytest.mark.parametrize("http_settings", [{"host": "0.0.0.0"}, {"dashboard": False}])
async def test_where_anybody_may_be_that_host_they_have_to_be_listed(http_settings: dict[str, object]) -> None:
    async with running(http=http_settings, security={"origins": ["https://app.example.org"]}) as site:
        origin = f"http://127.0.0.1:{site.server.http_port}"
        assert (await site.refusal(origin=origin)).status_code == 403
