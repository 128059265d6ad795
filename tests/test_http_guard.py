"""Who may not use HTTP: what is counted and logged, and bans. (What a credential opens: test_http_api.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import make_mocked_request

from http_served import ADMIN_KEY, JSON, KEY, WITH_KEY, Serve, Served, bearer, serving, telemetry, verify
from valtronics_fast.addresses import TrustedProxies
from valtronics_fast.config import HttpConfig, SecurityConfig
from valtronics_fast.http_guard import HttpGuard, is_local
from valtronics_fast.statistics import Statistics
from valtronics_fast.suspects import Suspects, Suspicion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATS = "/api/v1/stats"
BANNING = SecurityConfig(ban_after=3, trusted_proxies=("127.0.0.0/8",))


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve(security=BANNING)


def behind(address: str, headers: dict[str, str]) -> dict[str, str]:
    return {"X-Forwarded-For": address, **headers}


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
def test_where_the_figures_are_open(host: str, is_open: bool) -> None:
    suspects = Suspects(SecurityConfig())
    for key, demo in (("", True), ("", False), (KEY, True)):
        config = HttpConfig(host=host, api_key=key, admin_key=ADMIN_KEY)
        guard = HttpGuard(config, verify, TrustedProxies(), suspects, Statistics(), demo=demo)
        assert guard._opens == (is_open and demo and not key)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8001"},  # its name means this machine now
        {"Host": "192.0.2.1"},
        {"Host": ""},
        {"X-Forwarded-For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
        {"Via": "1.1 proxy"},
    ],
)
async def test_a_demo_is_open_to_this_machine_alone(serve: Serve, headers: dict[str, str]) -> None:
    served = await serve(api_key="", demo=True)
    assert (await served.ask("GET", STATS))[0] == 200
    assert (await served.ask("GET", STATS, headers={"Host": "localhost"}))[0] == 200
    assert (await served.ask("GET", STATS, headers={"Host": "[::1]:1"}))[0] == 200
    assert (await served.ask("GET", STATS, headers=headers))[0] == 401


@pytest.mark.parametrize(("peer", "local"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("", False)])
def test_who_is_on_this_machine(peer: str, local: bool) -> None:
    request = make_mocked_request("GET", "/", {"Host": "localhost:8001"}).clone(remote=peer)
    assert is_local(request) == local


async def test_a_token_that_may_monitor_may_do_nothing_else(served: Served) -> None:
    assert (await served.ask("GET", STATS, headers=bearer("monitor-token")))[0] == 200
    assert (await served.publish(telemetry(), bearer("monitor-token") | JSON))[0] == 403
    assert (await served.ask("POST", "/api/v1/rebalance", headers=bearer("monitor-token")))[0] == 403


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        (("192.0.2.0/24",), "192.0.2.7", 200),
        (("2001:db8::/32", "192.0.2.7"), "192.0.2.7", 200),
        (("192.0.2.0/24",), "192.0.3.7", 401),
        (("192.0.2.0/24",), "unknown", 401),
        ((), "192.0.2.7", 401),
        (("127.0.0.0/8",), "192.0.2.7", 401),
    ],
)
async def test_scrapers_of_named_networks_need_no_credential(
    serve: Serve, networks: tuple[str, ...], address: str, status: int
) -> None:
    served = await serve(metrics_networks=networks, security=SecurityConfig(trusted_proxies=("127.0.0.1",)))
    headers = {"X-Forwarded-For": address}
    url = f"http://127.0.0.1:{served.api.port}"
    async with served.session.get(f"{url}/metrics", headers=headers) as response:
        assert response.status == status
    for path in ("/api/v1/stats", "/api/v1/explain"):  # the network opens nothing else
        assert (await served.ask("GET", path, headers=headers))[0] == 401


async def test_refused_credentials_are_counted_by_reason(served: Served) -> None:
    for headers in ({}, {"X-API-Key": "x"}, bearer("x"), bearer("expired-token"), bearer("x")):
        assert (await served.ask("GET", STATS, headers=headers))[0] == 401
    assert served.statistics.http_auth_failures == {
        "no_credential": 1, "bad_api_key": 1, "bad_signature": 2, "expired": 1,
    }  # fmt: skip
    assert served.suspects.counts[Suspicion.AUTHENTICATION] == 3


@pytest.mark.parametrize("headers", [{"X-API-Key": "x"}, bearer("forged")])
async def test_a_ban_covers_everything_and_this_address_alone(served: Served, headers: dict[str, str]) -> None:
    mallory, alice = "2001:db8::7", "192.0.2.7"
    for _ in range(3):
        assert (await served.ask("GET", STATS, headers=behind(mallory, headers)))[0] == 401
    for path in (STATS, "/health/live", "/nothing"):
        status, answer = await served.ask("GET", path, headers=behind("2001:db8::8", WITH_KEY))
        assert (status, answer) == (
            429, {"error": "rate_limited", "message": "this address is banned for a while"},
        )  # fmt: skip
    assert (await served.ask("GET", STATS, headers=behind(alice, WITH_KEY)))[0] == 200
    raw = f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {mallory}\r\n\r\n".encode()
    answer = await served.raw(raw)
    assert b"\r\nRetry-After: 600\r\n" in answer
    assert served.statistics.http_auth_failures.total() == 3


async def test_honest_failures_and_missing_credentials_do_not_ban(served: Served) -> None:
    for headers in ({}, bearer("expired-token")):
        for _ in range(10):
            assert (await served.ask("GET", STATS, headers=behind("192.0.2.7", headers)))[0] == 401
    assert served.suspects.bans == 0


async def test_the_trusted_proxy_itself_is_never_banned(served: Served) -> None:
    for _ in range(10):
        assert (await served.ask("GET", STATS, headers=bearer("forged")))[0] == 401
    assert served.suspects.bans == 0


async def test_one_line_a_connection(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    answer = await served.raw(b"GET /api/v1/stats HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
    assert answer.count(b"HTTP/1.1 401 ") == 1
    (record,) = caplog.records
    assert record.fields == {"address": "127.0.0.1", "reason": "no_credential"}  # type: ignore[attr-defined]


async def test_not_without_end(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        await served.ask("GET", STATS)
    assert 0 < len(caplog.records) <= 11
    assert served.statistics.http_auth_failures["no_credential"] == 50
