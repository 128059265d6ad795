"""The life of a server: starting, failing to, stopping; IPv6 and TLS; what it is put together from."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from documented import SYSTEM, TELEMETRY, assert_documented_fields
from harness import TIMEOUT, Site, configuration, http, needs_ipv6, running, telemetry, until
from services import free_port
from tokens import RSA_KEY, jwk, key_server
from valtronics_fast import Server
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.logging import limited

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Client


async def is_open(port: int) -> bool:
    """Say whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


# Starting and stopping


async def test_it_takes_the_ports_that_were_picked_and_lets_them_go() -> None:
    before = asyncio.all_tasks()
    server = Server(configuration(server={"port": free_port()}))
    assert server.http_port == 0
    await server.start()
    ports = [server.port, server.http_port]
    assert ports[0] == server.config.server.port
    assert [await is_open(port) for port in ports] == [True, True]
    await server.stop()
    assert [await is_open(port) for port in ports] == [False, False]
    assert asyncio.all_tasks() == before


async def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    server = Server(configuration())
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    with pytest.raises(RuntimeError, match="once"):
        await server.start()


async def test_it_is_started_once() -> None:
    async with running() as site:
        with pytest.raises(RuntimeError, match="once"):
            await site.server.start()
        async with site.client():
            pass
        ports = [site.server.port, site.server.http_port]
    assert [await is_open(port) for port in ports] == [False, False]


@pytest.mark.parametrize("section", ["server", "http"])
async def test_a_port_that_is_taken(section: str) -> None:
    async with running() as site:
        before = asyncio.all_tasks()
        taken = {"server": site.server.port, "http": site.server.http_port}[section]
        other = free_port()
        sections: dict[str, Any] = {"server": {"port": other}, "http": {"port": other}} | {section: {"port": taken}}
        server = Server(configuration(**sections))
        with pytest.raises(OSError, match=str(taken)):
            await server.start()
        await server.stop()
        assert not await is_open(other)
        assert asyncio.all_tasks() == before
        async with site.client():
            pass


async def test_a_start_that_fails_in_async_with_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with key_server(jwk(RSA_KEY)) as keys:
            auth = {"secret": "", "algorithms": ["RS256"], "jwks_url": keys.url}
            ports = {"server": {"port": taken.getsockname()[1]}, "http": {"port": free_port()}}
            server = Server(configuration(auth=auth, **ports))
            with pytest.raises(OSError, match="cannot listen"):
                async with server:
                    pass
            assert not await is_open(server.config.http.port)
    assert asyncio.all_tasks() == before


async def test_stopping_says_goodbye_to_everybody() -> None:
    async with running() as site, site.client() as client, site.connect() as stranger:
        _, half_open = await asyncio.open_connection("127.0.0.1", site.server.port)
        await client.subscribe("telemetry")
        assert site.server.publish(TELEMETRY) == 1
        await site.server.stop()
        assert await client.closed() == (CloseCode.CLOSE_GOING_AWAY, [TELEMETRY])
        assert await stranger.closed() == (CloseCode.CLOSE_GOING_AWAY, [])
        assert site.server.stats()["active_connections"] == 0
        half_open.close()


async def test_stopping_cuts_those_that_do_not_answer() -> None:
    async with running(server={"close_timeout": 0.1}) as site, site.client() as deaf, site.client() as behind:
        await behind.subscribe("telemetry")
        for client in (deaf, behind):
            client.connection.transport.pause_reading()
        for _ in range(100):
            site.server.publish(telemetry(text="x" * 60_000))
            await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT):
            await site.server.stop()
        assert site.server.stats()["active_connections"] == 0
        for client in (deaf, behind):
            client.connection.transport.abort()


async def test_a_second_stop_waits_for_the_first() -> None:
    async with running(server={"close_timeout": 0.2}) as site, site.client() as deaf:
        deaf.connection.transport.pause_reading()
        first = asyncio.create_task(site.server.stop())
        await until(lambda: not site.server._gate.open)
        await site.server.stop()
        assert first.done()
        await first
        deaf.connection.transport.abort()


async def test_while_it_stops_nobody_gets_in() -> None:
    async with running(server={"close_timeout": 0.2}) as site, site.client() as deaf:
        deaf.connection.transport.pause_reading()
        stopping = asyncio.create_task(site.server.stop())
        await until(lambda: not site.server._gate.open)
        refusal = await site.refusal()
        assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "5")
        assert site.server.health()["ready"] is False
        await stopping
        assert not await is_open(site.server.port)
        deaf.connection.transport.abort()


async def test_without_a_limit_a_pong_may_take_its_time() -> None:
    async with running(server={"ping_interval": 0.05, "ping_timeout": 0}) as site, site.client() as client:
        session = site.server._clients.sessions()[0]
        client.connection.transport.pause_reading()
        before = session.bytes_out
        await until(lambda: session.bytes_out > before)
        await asyncio.sleep(0.2)  # a limit of no time would be over long since
        client.connection.transport.resume_reading()
        await client.nothing_more()


# Addresses and TLS


@needs_ipv6
async def test_ipv6() -> None:
    async with Server(configuration(server={"host": "::1"}, http={"host": "::1"})) as server:
        site = Site(server, "[::1]")
        async with site.client("/ws/telemetry") as client:
            assert server.publish(TELEMETRY) == 1
            assert await client.receive() == TELEMETRY
        assert (await http("GET", site.http_url("/health/ready")))[0] == 200


async def test_a_name_stands_for_all_of_its_addresses() -> None:
    found = {str(info[4][0]) for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    async with Server(configuration(server={"host": "localhost"})) as server:
        for address in found:
            host = f"[{address}]" if ":" in address else address
            async with Site(server, host).client() as client:
                await client.nothing_more()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Return the section `tls`."""
    issued = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(chain, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    return {"certfile": str(chain), "keyfile": str(key)}


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return the settings of a client that trusts the certificate."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def converse(site: Site, client: Client) -> None:
    """Authenticate, subscribe, and receive both little and much, in one turn and in several."""
    await client.authenticate(site.token())
    await client.subscribe("telemetry")
    sizes = [10, 100, 20_000, 60_000, 5]
    for size in sizes:
        assert site.server.publish(telemetry(text="x" * size)) == 1
    for size in sizes:
        assert len((await client.receive())["telemetry"]["text"]["value"]) == size
    await client.nothing_more()


async def test_tls(certificate: dict[str, str], trusting: ssl.SSLContext) -> None:
    async with running(tls=certificate) as site:
        async with site.connect(ssl=trusting) as client:
            await converse(site, client)
            assert client.connection.transport.get_extra_info("ssl_object").version() in {"TLSv1.2", "TLSv1.3"}
        status, health, _ = await http("GET", site.url("/health", scheme="https"), ssl=trusting)
        assert (status, health) == (200, {"status": "ok"})
        await until(lambda: site.server.stats()["close_codes"] == {"1000": 1})


async def test_tls_closes_with_a_code_too(certificate: dict[str, str], trusting: ssl.SSLContext) -> None:
    async with running(tls=certificate) as site, site.connect(ssl=trusting) as client:
        await client.nothing_more()
        await site.server.stop()
        assert await client.closed() == (CloseCode.CLOSE_GOING_AWAY, [])


@pytest.mark.parametrize("secure", [False, True])
async def test_the_timers_of_a_connection_can_be_turned_off(
    certificate: dict[str, str], trusting: ssl.SSLContext, secure: bool
) -> None:
    off = {"handshake_timeout": 0, "ping_interval": 0, "ping_timeout": 0, "close_timeout": 0}
    options: dict[str, Any] = {"ssl": trusting} if secure else {}
    tls = certificate if secure else {}
    async with running(server=off, auth={"timeout": 0}, tls=tls) as site, site.connect(**options) as client:
        await converse(site, client)
        await site.server.stop()
        assert site.server.stats()["active_connections"] == 0


async def test_who_speaks_no_tls_is_not_served(certificate: dict[str, str]) -> None:
    async with running(tls=certificate) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            assert b"HTTP/1.1" not in await reader.read()
        writer.close()
        assert site.server.stats()["total_connections"] == 0


# What it is put together from


async def test_the_figures_of_this_host_come_by_themselves() -> None:
    async with running(system={"interval": 0.05}) as site, site.client("/ws/system") as client:
        message = await client.receive()
        assert_documented_fields(message)
        assert SYSTEM["metrics"].keys() <= message["metrics"].keys()
        assert message["metrics"]["active_connections"] in {0, 1}
        assert (await client.receive())["metrics"]["messages_per_second"] > 0
        producers: Any = site.server.stats()["producers"]
        assert producers.keys() == {"system"}
        assert site.server.health() == {"ready": True, "checks": {"system": "ok", "backplane": "ok"}}


async def test_a_demo_has_devices() -> None:
    async with running(demo=True) as site, site.client("/ws/telemetry") as client:
        message = await client.receive()
        assert_documented_fields(message)
        assert "temperature" in message["telemetry"]
        assert set(site.server.health()["checks"]) == {"simulated", "backplane"}  # type: ignore[call-overload]


async def test_without_its_broker_it_serves_and_says_what_is_missing() -> None:
    async with running(mqtt={"url": f"mqtt://127.0.0.1:{free_port()}"}) as site:
        status, answer, _ = await http("GET", site.http_url("/health/ready"))
        assert (status, answer["status"]) == (200, "degraded")
        assert answer["checks"] == {"mqtt": "degraded", "backplane": "ok"}
        async with site.client("/ws/telemetry") as client:
            assert site.server.publish(TELEMETRY) == 1
            assert await client.receive() == TELEMETRY


async def test_data_is_gathered_for_the_flush_interval() -> None:
    async with (
        running(server={"flush_interval": 1}) as site,
        site.client("/ws/telemetry") as client,
    ):
        turn = site.server._hub.turn
        before = turn.writes
        for value in range(5):
            site.server.publish(telemetry(1, temperature=value))
            await asyncio.sleep(0)  # a turn of its own
        received = [(await client.receive())["telemetry"]["temperature"]["value"] for _ in range(5)]
        assert received == [0, 1, 2, 3, 4]
        assert turn.writes - before == 1


async def test_lines_that_were_left_out_are_told_without_a_later_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("valtronics_fast.upkeep.PERIOD", 0.05)
    logger = limited("limited.while-it-runs", lines=1, period=0.1)
    async with running():
        for _ in range(3):
            logger.warning("a")
        await until(lambda: "lines suppressed" in [one.message for one in caplog.records if one.name == logger.name])
