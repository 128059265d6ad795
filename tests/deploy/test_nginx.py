"""deploy/nginx: the real nginx with these files before a server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from certificates import trusting, write_certificate
from deployed import DEPLOY, moved, started
from harness import SECRET, TIMEOUT, Client, configuration, http, telemetry
from process import Running, running
from services import free_port, program
from valtronics_fast import Config
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NGINX = DEPLOY / "nginx"
KEY = "a-key-of-the-backend"
SETTINGS = {
    "VFAST_AUTH__SECRET": SECRET,
    "VFAST_HTTP__API_KEY": KEY,
    "VFAST_SECURITY__TRUSTED_PROXIES": "127.0.0.1",
    "VFAST_SYSTEM__INTERVAL": "0",
    "VFAST_LOGGING__FORMAT": "json",
    "VFAST_SERVER__DRAIN_WINDOW": "100ms",
}
ELSEWHERE = "127.0.0.2"
"""An address that clients come from, which is not the proxy's."""

MAIN = """
pid {place}/nginx.pid;
error_log {place}/error.log notice;
daemon off;
{lines}
events {{ worker_connections 256; }}
"""
HTTP = """
http {{
    access_log {place}/access.log;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/valtronics-fast.conf;
    {rest}
}}
"""
PLATFORM = """
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "the platform's own\\n"; }}
        include {place}/valtronics-fast-locations.conf;
    }}
"""


@contextlib.contextmanager
def nginx(place: Path, port: int, text: str) -> Iterator[None]:
    """Run nginx with a configuration; it may not complain about it."""
    lines = ["user root;"] if os.geteuid() == 0 else []  # or workers are users who can't enter a test's directory
    if "stream {" in text:
        lines.append("load_module /usr/lib/nginx/modules/ngx_stream_module.so;")
    (place / "nginx.conf").write_text(MAIN.format(place=place, lines="\n".join(lines)) + text)
    command = [program("nginx", "nginx"), "-e", f"{place}/error.log", "-c", f"{place}/nginx.conf", "-p", str(place)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    with started(command, port, place / "log"):
        yield


def installed(place: Path, server: Running) -> None:
    """Copy the files for http to a place, with the ports of a server."""
    websocket, http_port = (url.rpartition(":")[2].removesuffix("/ws") for url in (server.url, server.http))
    ports = {":8000": f":{websocket}", ":8001": f":{http_port}"}
    upstreams = moved((NGINX / "valtronics-fast.conf").read_text(), ports)
    (place / "valtronics-fast.conf").write_text(upstreams)
    locations = (NGINX / "valtronics-fast-locations.conf").read_text()
    (place / "valtronics-fast-locations.conf").write_text(locations)


@contextlib.asynccontextmanager
async def behind_a_platform(place: Path) -> AsyncIterator[tuple[Running, int]]:
    """Run a server behind the site of a platform; return it, and the site's port."""
    port = free_port()
    async with running(**SETTINGS) as server:
        installed(place, server)
        text = HTTP.format(place=place, rest=PLATFORM.format(place=place, port=port))
        with nginx(place, port, text):
            yield server, port


@contextlib.asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[Client]:
    options = {"local_addr": (ELSEWHERE, 0), "proxy": None, "open_timeout": TIMEOUT, "ping_interval": None} | options
    async with connect(url, **options) as connection:
        client = Client(connection)
        await client.authenticate(mint(configuration().auth, "alice"))
        yield client


async def test_a_client_is_served_and_known_by_its_own_address(tmp_path: Path) -> None:
    async with behind_a_platform(tmp_path) as (server, port):
        headers = {"Forwarded": "for=192.0.2.1", "X-Forwarded-For": "192.0.2.2"}  # what it says itself is not believed
        async with client_of(f"ws://127.0.0.1:{port}/ws", additional_headers=headers) as client:
            assert (await server.logs("connected"))["address"] == ELSEWHERE
            await client.subscribe("telemetry")
            url = f"http://127.0.0.1:{port}/api/v1/publish"
            status, answer, _ = await http("POST", url, json=telemetry(7, rpm=1), headers={"X-API-Key": KEY})
            assert (status, answer["matched"]) == (200, 1)
            assert (await client.receive())["device_id"] == 7


async def test_endpoints_of_a_channel_pass_and_everything_else_stays_the_platforms(tmp_path: Path) -> None:
    async with behind_a_platform(tmp_path) as (_, port):
        for path in ("/ws/", "/ws/telemetry", "/ws/alerts/"):
            async with client_of(f"ws://127.0.0.1:{port}{path}"):
                pass
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/wsx", "/api/v1/stats", "/api/v1/publish/x", "/health/ready", "/metrics"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    assert (answer.status, await answer.text()) == (200, "the platform's own\n"), path
            async with session.get(f"http://127.0.0.1:{port}/ws") as answer:
                assert answer.status == 426


async def test_the_drain_reaches_clients_and_handshakes_are_refused_then(tmp_path: Path) -> None:
    async with behind_a_platform(tmp_path) as (server, port):
        async with client_of(f"ws://127.0.0.1:{port}/ws") as client:
            server.tell(signal.SIGTERM)
            code, _ = await client.closed()
            assert code == CloseCode.CLOSE_RESTART
        assert await server.ended() == 0
        with pytest.raises(InvalidStatus) as caught:
            async with client_of(f"ws://127.0.0.1:{port}/ws"):
                pass
        assert caught.value.response.status_code == 502


async def test_refusals_come_through_as_the_server_says_them(tmp_path: Path) -> None:
    async with behind_a_platform(tmp_path) as (_, port):
        with pytest.raises(InvalidStatus) as caught:
            async with client_of(f"ws://127.0.0.1:{port}/ws", additional_headers={"Authorization": "Bearer no.good"}):
                pass
        assert caught.value.response.status_code == 401
        url = f"http://127.0.0.1:{port}/api/v1/publish"
        assert (await http("POST", url, json=telemetry(7, rpm=1)))[0] == 401


async def test_a_stream_is_published_line_by_line(tmp_path: Path) -> None:
    async with behind_a_platform(tmp_path) as (_, port), client_of(f"ws://127.0.0.1:{port}/ws") as client:
        await client.subscribe("telemetry")
        received = asyncio.Event()

        async def lines() -> AsyncIterator[bytes]:
            yield json.dumps(telemetry(1, rpm=1)).encode() + b"\n"
            await received.wait()
            yield json.dumps(telemetry(2, rpm=2)).encode() + b"\n"

        url = f"http://127.0.0.1:{port}/api/v1/publish"
        headers = {"X-API-Key": KEY, "Content-Type": "application/x-ndjson"}
        posting = asyncio.create_task(http("POST", url, data=lines(), headers=headers))
        assert (await client.receive())["device_id"] == 1
        received.set()
        assert (await posting)[1]["accepted"] == 2


async def test_a_site_of_its_own_has_tls(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    tls = write_certificate(authority, tmp_path, "ws.example.org", "127.0.0.1")
    async with running(**SETTINGS) as server:
        installed(tmp_path, server)
        places = {
            "listen 443": f"listen 127.0.0.1:{port}", "snippets/": f"{tmp_path}/",
            r"/etc/valtronics-fast/fullchain.pem": tls["certfile"], r"/etc/valtronics-fast/privkey.pem": tls["keyfile"],
        }  # fmt: skip
        site = moved((NGINX / "valtronics-fast-site.conf").read_text(), places)
        with nginx(tmp_path, port, HTTP.format(place=tmp_path, rest=site)):
            async with client_of(f"wss://127.0.0.1:{port}/ws", ssl=trusting(authority)):
                assert (await server.logs("connected"))["address"] == ELSEWHERE


async def test_behind_a_balancer_the_address_is_that_of_its_header(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    tls = write_certificate(authority, tmp_path, "127.0.0.1")
    async with running(**SETTINGS) as server:
        installed(tmp_path, server)
        text = (NGINX / "valtronics-fast-site.conf").read_text()
        variant = ("listen 443 ssl proxy_protocol;", "set_real_ip_from 10.0.0.0/8;", "real_ip_header proxy_protocol;")
        for line in variant:
            assert f"#   {line}" in text
            text = text.replace(f"#   {line}", line)
        text = text.replace("    listen 443 ssl;\n", "")
        places = {
            "listen 443": f"listen 127.0.0.1:{port}", "snippets/": f"{tmp_path}/", r"10.0.0.0/8": "127.0.0.1",
            r"/etc/valtronics-fast/fullchain.pem": tls["certfile"], r"/etc/valtronics-fast/privkey.pem": tls["keyfile"],
        }  # fmt: skip
        with nginx(tmp_path, port, HTTP.format(place=tmp_path, rest=moved(text, places))):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(b"PROXY TCP4 203.0.113.9 203.0.113.1 4711 443\r\n")
            async with client_of(f"wss://127.0.0.1:{port}/ws", sock=sock, local_addr=None, ssl=trusting(authority)):
                assert (await server.logs("connected"))["address"] == "203.0.113.9"


async def test_as_a_tcp_proxy_it_says_whose_connection_it_is(tmp_path: Path) -> None:
    port = free_port()
    async with running(**SETTINGS, VFAST_SERVER__PROXY_PROTOCOL="true") as server:
        websocket = server.url.rpartition(":")[2].removesuffix("/ws")
        places = {"listen 8443": f"listen 127.0.0.1:{port}", "127.0.0.1:8000": f"127.0.0.1:{websocket}"}
        text = moved((NGINX / "valtronics-fast-stream.conf").read_text(), places)
        with nginx(tmp_path, port, text):
            async with client_of(f"ws://127.0.0.1:{port}/ws") as client:
                assert (await server.logs("connected"))["address"] == ELSEWHERE
                server.tell(signal.SIGTERM)
                with contextlib.suppress(ConnectionClosed):
                    await client.connection.recv()
                assert client.connection.close_code == CloseCode.CLOSE_RESTART


def test_silence_is_the_servers_to_judge() -> None:
    server = Config().server
    text = (NGINX / "valtronics-fast-locations.conf").read_text() + (NGINX / "valtronics-fast-stream.conf").read_text()
    found = re.findall(r"^ *proxy_(?!connect)\w*timeout +(\d+)s;$", text, re.MULTILINE)
    timeouts = [int(seconds) for seconds in found]
    assert len(timeouts) == 4
    assert min(timeouts) > 2 * (server.ping_interval + server.ping_timeout)
