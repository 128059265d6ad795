"""The server as a process of its own: what it prints, that what it prints works, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import ssl
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from websockets.asyncio.client import connect

from certificates import trusting, write_certificate
from services import free_port
from valtronics_fast import runner
from valtronics_fast.config import Config
from valtronics_fast.runner import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
PROGRAM = (sys.executable, "-m", "valtronics_fast")
TIMEOUT = 30.0


def environment(**variables: str) -> dict[str, str]:
    """Return the environment without the settings of whoever runs the tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VFAST_")}
    return {**clean, **variables}


async def finished(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run the program to its end; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**variables),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Running:
    """A server that has printed its banner."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.banner = ""
        self.log = ""

    async def read_banner(self) -> None:
        """Read up to the empty line at its end; it may come in several pieces."""
        assert self.process.stdout is not None
        while not self.banner.endswith("\n\n"):
            piece = await asyncio.wait_for(self.process.stdout.read(65536), TIMEOUT)
            if not piece:
                _, err = await self.process.communicate()
                pytest.fail(f"the server ended: {err.decode()}")
            self.banner += piece.decode()

    def found(self, pattern: str) -> str:
        """Return the group of a pattern in the banner."""
        match = re.search(pattern, self.banner)
        assert match, self.banner
        return match[1]

    @property
    def url(self) -> str:
        return self.found(r"WebSocket +(wss?://\S+)")

    @property
    def http(self) -> str:
        return self.found(r"HTTP +(http://\S+?)/health/ready")

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        out, err = await asyncio.wait_for(self.process.communicate(), TIMEOUT)
        self.banner += out.decode()
        self.log += err.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def running(*arguments: str, **variables: str) -> AsyncIterator[Running]:
    """Run a server; on ports of its own unless the arguments name them."""
    if "--port" not in arguments:
        arguments = (*arguments, "--port", str(free_port()), "--http-port", str(free_port()))
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**variables),
    )
    server = Running(process)
    try:
        await server.read_banner()
        yield server
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def first_message(url: str, token: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, open_timeout=TIMEOUT) as client:
        message = json.loads(await asyncio.wait_for(client.recv(), TIMEOUT))
    assert isinstance(message, dict)
    return message


async def listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def pasted(banner: str, program: str) -> tuple[str, str]:
    """Return the URL and the token of the line for a program."""
    (line,) = (line for line in banner.splitlines() if line.strip().startswith(f"{program} "))
    words = shlex.split(line)
    (url,) = (word for word in words if "://" in word)
    (header,) = (word for word in words if word.startswith("Authorization: Bearer "))
    return url, header.removeprefix("Authorization: Bearer ")


async def test_a_demo_shows_live_telemetry_with_the_line_that_it_prints() -> None:
    async with running("--demo") as server:
        for program in ("wscat", "websocat"):
            url, token = pasted(server.banner, program)
            assert url == f"{server.url}/telemetry"
            message = await first_message(url, token)
            assert message["type"] == "telemetry_update"
        assert await server.end() == 0
        assert token not in server.log
        assert "Traceback" not in server.log


async def test_without_any_configuration_the_figures_of_this_host_flow() -> None:
    async with running("serve", VFAST_SYSTEM__INTERVAL="100ms") as server:
        assert "random secret was made up" in server.banner
        url, token = pasted(server.banner, "websocat")
        assert url == f"{server.url}/system"
        message = await first_message(url, token)
        assert message["type"] == "system_status_update"
        async with aiohttp.ClientSession() as client, client.get(f"{server.http}/health/ready") as answer:
            assert answer.status == 200
        assert await server.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_end_it_cleanly(number: int) -> None:
    async with running(VFAST_LOGGING__FORMAT="json") as server:
        url, token = pasted(server.banner, "wscat")
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            assert await server.end(number) == 0
            await asyncio.wait_for(client.wait_closed(), TIMEOUT)
            assert client.close_code == 1001
        lines = [json.loads(line) for line in server.log.splitlines()]
        assert [line["message"] for line in (lines[0], lines[-1])] == ["started", "stopped"]
        assert all(line["level"] in {"info", "debug"} for line in lines)


async def hello(url: str, authority: trustme.CA) -> bool:
    """Say whether the server shows a certificate of an authority."""
    try:
        async with connect(url, ssl=trusting(authority), open_timeout=TIMEOUT):
            return True
    except ssl.SSLCertVerificationError:
        return False


async def test_sighup_takes_new_certificates_and_drops_nobody(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    files = write_certificate(old, tmp_path)
    settings = {f"VFAST_TLS__{name.upper()}": path for name, path in files.items()}
    async with running(VFAST_LOGGING__FORMAT="json", VFAST_SYSTEM__INTERVAL="100ms", **settings) as server:
        url, token = pasted(server.banner, "wscat")
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(url, additional_headers=headers, ssl=trusting(old), open_timeout=TIMEOUT) as client:
            (tmp_path / "key.pem").write_text("half a k")
            server.process.send_signal(signal.SIGHUP)
            await asyncio.wait_for(client.recv(), TIMEOUT)
            assert await hello(url, old)
            write_certificate(new, tmp_path)
            server.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(TIMEOUT):
                while not await hello(url, new):
                    await asyncio.sleep(0.02)
            await asyncio.wait_for(client.recv(), TIMEOUT)
        assert await server.end() == 0
        told = [(line["level"], line["message"].split(",")[0]) for line in map(json.loads, server.log.splitlines())]
        assert [line for line in told if "reload" in line[1]] == [("error", "reloading failed"), ("info", "reloaded")]


async def test_sighup_without_tls_ends_nothing() -> None:
    async with running() as server:
        server.process.send_signal(signal.SIGHUP)
        async with aiohttp.ClientSession() as client, client.get(f"{server.http}/health/live") as answer:
            assert answer.status == 200
        assert await server.end() == 0
        assert "nothing to reload" in server.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_ends_it_at_once(number: int) -> None:
    async with running(VFAST_SERVER__CLOSE_TIMEOUT="1h") as server:
        url, token = pasted(server.banner, "wscat")
        host, port = url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /ws/system HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
        )
        assert b"101" in await asyncio.wait_for(reader.readline(), TIMEOUT)
        server.process.send_signal(number)
        # Once nothing listens, the server is stopping, and our connection, which never closes, holds it up.
        async with asyncio.timeout(TIMEOUT):
            while await listens(host, int(port)):
                await asyncio.sleep(0.05)
        assert await server.end(number) == -number
        writer.close()


async def test_each_run_makes_up_its_own_secret() -> None:
    async with running() as one, running() as other:
        _, token = pasted(one.banner, "wscat")
        _, other_token = pasted(other.banner, "wscat")
        assert token != other_token
        async with aiohttp.ClientSession() as client:
            for server, status in ((one, 200), (other, 401)):
                message = {"type": "system_status_update", "metrics": {"x": 1}}
                headers = {"Authorization": f"Bearer {token}"}
                url = f"{server.http}/api/v1/publish"
                async with client.post(url, json=message, headers=headers) as answer:
                    assert answer.status == status


async def test_with_a_secret_tokens_come_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(f'[auth]\nsecret = "{SECRET}"\n[system]\ninterval = "100ms"\n')
    async with running("--config", str(path)) as server:
        assert "Bearer" not in server.banner
        assert "made up" not in server.banner
        code, out, err = await finished("token", "--sub", "alice", "--config", str(path))
        assert (code, err) == (0, "")
        message = await first_message(f"{server.url}/system", out.strip())
        assert message["type"] == "system_status_update"
        assert await server.end() == 0
        assert SECRET not in server.banner + server.log


async def test_port_0_is_a_free_port_that_the_banner_names() -> None:
    async with running("--port", "0", "--http-port", "0") as server:
        assert not server.url.endswith(":0/ws")
        async with aiohttp.ClientSession() as client, client.get(f"{server.http}/health/live") as answer:
            assert answer.status == 200
        assert await server.end() == 0


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_port_in_use_is_named_with_the_settings_that_change_it(taken: int) -> None:
    code, out, err = await finished("--port", str(taken), "--http-port", str(free_port()))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"valtronics-fast: cannot listen on 127.0.0.1:{taken}: Address already in use; "
        "change --port (VFAST_SERVER__PORT, [server] port)"
    )
    assert "Traceback" not in err


async def test_an_http_port_in_use_is_named(taken: int) -> None:
    code, out, err = await finished("--port", str(free_port()), "--http-port", str(taken))
    assert (code, out) == (1, "")
    assert f"127.0.0.1:{taken}" in err
    assert "change --http-port (VFAST_HTTP__PORT, [http] port)" in err
    assert "Traceback" not in err


async def test_an_address_of_another_machine_is_named() -> None:
    code, _, err = await finished("--host", "192.0.2.1", "--port", str(free_port()), "--http-port", "0")
    assert code == 1
    assert "cannot listen on 192.0.2.1:" in err
    assert "--host (VFAST_SERVER__HOST, [server] host)" in err
    assert "Traceback" not in err


async def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("no certificate")
    files = {"VFAST_TLS__CERTFILE": str(path), "VFAST_TLS__KEYFILE": str(path)}
    code, out, err = await finished("--port", str(free_port()), "--http-port", "0", **files)
    assert (code, out) == (2, "")
    assert "tls.certfile must hold a certificate in PEM" in err.splitlines()[-1]
    assert "Traceback" not in err


async def test_faults_of_the_configuration_end_it_with_2(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[server]\nprot = 1\n")
    code, out, err = await finished("--config", str(path), "--port", "x", VFAST_AUTH__SECRET="changeme")
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        f"{path} [server] prot",
        "variable VFAST_AUTH__SECRET",
        "flag --port",
    ]
    assert "changeme" not in err


async def test_keys_that_cannot_be_used_end_it_with_2(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("no key")
    keys = {"VFAST_AUTH__PUBLIC_KEY_FILE": str(path), "VFAST_AUTH__ALGORITHMS": "RS256"}
    code, out, err = await finished("--port", str(free_port()), "--http-port", "0", **keys)
    assert (code, out) == (2, "")
    assert "auth.public_key_file" in err
    assert "Traceback" not in err



def test_a_start_error_has_a_line_for_each_problem() -> None:
    error = StartError(["a", "b"])
    assert (error.problems, str(error)) == (("a", "b"), "a\nb")


def test_addresses_that_can_be_listened_on_are_no_fault(taken: int) -> None:
    flags: dict[str, object] = {"server.port": taken, "http.port": 0}
    (fault,) = runner._find_listen_faults(Config.load(flags=flags, environ={}))
    assert fault.startswith(f"cannot listen on 127.0.0.1:{taken}: ")
    flags = {"server.port": free_port(), "http.port": taken, "http.host": "::1"}
    assert runner._find_listen_faults(Config.load(flags=flags, environ={})) == []
