"""The server as a process of its own: what it prints, that what it prints works, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
from websockets.asyncio.client import connect

from process import SECRET, TIMEOUT, finished, first_message, pasted, running
from services import free_port
from valtronics_fast import runner
from valtronics_fast.config import Config
from valtronics_fast.runner import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("0.0.0.0", 403)])
async def test_the_token_of_a_demo_administers_on_loopback(host: str, status: int) -> None:
    async with running("--demo", VFAST_HTTP__HOST=host) as server:
        _, token = pasted(server.banner, "wscat")
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{server.http}/api/v1/connections"
        async with aiohttp.ClientSession() as client:
            async with client.get(url, headers=headers) as answer:
                assert answer.status == status
            async with client.get(url) as answer:
                assert answer.status == (401 if status == 200 else 403)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_order_to_drain_ends_the_process(workers: str) -> None:
    key = "4f1e8b07c2d95a63-of-the-operators"
    variables = {"VFAST_HTTP__ADMIN_KEY": key, "VFAST_SERVER__DRAIN_WINDOW": "0", "VFAST_SERVER__WORKERS": workers}
    async with running(**variables) as server:
        url, token = pasted(server.banner, "wscat")
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            async with aiohttp.ClientSession() as session:
                order = session.post(f"{server.http}/api/v1/drain", headers={"X-API-Key": key})
                async with order as answer:
                    assert answer.status == 202
            await asyncio.wait_for(client.wait_closed(), TIMEOUT)
            assert client.close_code == 1012
        assert await server.ended() == 0
        assert key not in server.log


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
            assert client.close_code == 1012
        lines = server.lines()
        assert [line["message"] for line in (lines[0], lines[-1])] == ["started", "stopped"]
        assert all(line["level"] in {"info", "debug"} for line in lines)


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
    assert err.splitlines()[-1].startswith(
        "valtronics-fast: variable VFAST_TLS__CERTFILE: tls.certfile must hold a certificate in PEM"
    )
    assert "Traceback" not in err


async def test_faults_of_the_configuration_end_it_with_2(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[server]\nprot = 1\n")
    code, out, err = await finished("--config", str(path), "--port", "x", VFAST_AUTH__SECRET="changeme")
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        f"{path}:2 [server] prot",
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
