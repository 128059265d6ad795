"""Bans through a whole server: what leads to one in band, at the handshake and over HTTP, and what one means."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from websockets.frames import Frame, Opcode

from certificates import trusting, write_certificate
from harness import Client, Site, http, running, text, until

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"ban_after": 3, "ban_for": "1h", "trusted_proxies": ["127.0.0.1"]}
MALLORY, ALICE, PROXY = "192.0.2.66", "192.0.2.1", "127.0.0.1"


def behind(address: str) -> dict[str, str]:
    """Return the headers of a client that a trusted proxy speaks for."""
    return {"X-Forwarded-For": address}


async def status(site: Site, address: str) -> int:
    """Return what a handshake of an address is answered with."""
    found, _, _ = await http("GET", site.url("/health", scheme="http"), headers=behind(address))
    return found


async def forge(site: Site, address: str) -> None:
    """Fail once to authenticate at the handshake."""
    refused = await site.refusal(additional_headers={**behind(address), "Authorization": "Bearer a.b.c"})
    assert refused.status_code == 401


async def forge_in_band(site: Site, address: str) -> None:
    """Fail once to authenticate on a connection."""
    async with site.connect(additional_headers=behind(address)) as client:
        assert not (await client.ask(type="auth", token="a.b.c"))["success"]


async def forge_over_http(site: Site, address: str) -> None:
    """Fail once to authenticate over HTTP."""
    headers = {**behind(address), "X-API-Key": "wrong"}
    assert (await http("POST", site.http_url("/api/v1/publish"), json={}, headers=headers))[0] == 401


async def writing(site: Site, address: str, *frames: Frame | bytes) -> int:
    async with site.connect(additional_headers=behind(address)) as client:
        client.write(*frames)
        code, _ = await client.closed()
    await until(lambda: site.server.stats()["active_connections"] == 0)
    return code


async def violate(site: Site, address: str) -> None:
    """Break the WebSocket protocol once."""
    assert await writing(site, address, b"\xc1\x80\0\0\0\0") == 1002


async def send_no_utf8(site: Site, address: str) -> None:
    """Send a text that is none."""
    assert await writing(site, address, Frame(Opcode.TEXT, b"\xff")) == 1007


MISDEEDS = [forge, forge_in_band, forge_over_http, violate, send_no_utf8]


@pytest.mark.parametrize("misdeed", MISDEEDS)
async def test_three_of_them_ban_one_address_everywhere(misdeed: Any) -> None:
    async with running(security=SETTINGS) as site:
        for _ in range(2):
            await misdeed(site, MALLORY)
        assert await status(site, MALLORY) == 200
        await misdeed(site, MALLORY)
        refused = await site.refusal(additional_headers=behind(MALLORY))
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3600")
        assert (await http("GET", site.http_url("/health/live"), headers=behind(MALLORY)))[0] == 429
        assert [await status(site, address) for address in (ALICE, PROXY)] == [200, 200]
        suspicion: Any = site.server.stats()["suspicion"]
        assert (suspicion["bans"], suspicion["banned"]) == (1, 1)
        assert suspicion["worst"][0]["address"] == MALLORY
        assert suspicion["worst"][0]["banned_for"] > 3000


async def test_those_who_are_connected_stay() -> None:
    async with running(security=SETTINGS) as site, site.connect(additional_headers=behind(MALLORY)) as client:
        await client.authenticate(site.token())
        for _ in range(3):
            await forge(site, MALLORY)
        assert await status(site, MALLORY) == 429
        await client.nothing_more()


async def test_a_ban_ends() -> None:
    async with running(security={**SETTINGS, "ban_for": 0.2}) as site:
        for _ in range(3):
            await forge(site, MALLORY)
        assert site.server.stats()["suspicion"]["bans"] == 1  # type: ignore[index]
        async with asyncio.timeout(20):
            while await status(site, MALLORY) != 200:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("code", [1002, 1007, 1009])
async def test_a_code_that_the_client_closes_with_is_no_violation_of_its_own(code: int) -> None:
    async with running(security={**SETTINGS, "ban_after": 1}) as site:
        async with site.connect(additional_headers=behind(MALLORY)) as client:
            await client.connection.close(code)
        await until(lambda: site.server.stats()["close_codes"] == {str(code): 1})
        assert await status(site, MALLORY) == 200


async def test_expired_tokens_and_bad_json_do_not_ban() -> None:
    async with running(security={**SETTINGS, "ban_after": 1}) as site:
        async with site.connect(additional_headers=behind(MALLORY)) as client:
            await client.ask(type="auth", token=site.token(expires=60, now=1.0))
            for message in ("{", "[]", "\0", json.dumps({"type": "ping", "id": "x" * 5000})):
                client.write(text(message))
            await client.receive()
        assert await status(site, MALLORY) == 200
        assert site.server.stats()["auth_failures"] == {"expired": 1}


async def test_a_demo_does_not_ban_loopback() -> None:
    for demo, expected in ((True, 401), (False, 429)):
        async with running(demo=demo, security={"ban_after": 3}) as site:
            for _ in range(3):
                await site.refusal(additional_headers={"Authorization": "Bearer a.b.c"})
            refused = await site.refusal(additional_headers={"Authorization": "Bearer a.b.c"})
            assert refused.status_code == expected


async def test_with_tls_the_banned_are_cut_before_the_handshake(tmp_path: Path) -> None:
    authority = trustme.CA()
    async with running(security={"ban_after": 1}, tls=write_certificate(authority, tmp_path)) as site:
        options: dict[str, Any] = {"ssl": trusting(authority)}
        refused = await site.refusal(additional_headers={"Authorization": "Bearer a.b.c"}, **options)
        assert refused.status_code == 401
        with pytest.raises((OSError, EOFError)):
            async with site.connect(**options):
                pass
        assert site.server.stats()["refused"] == {"invalid_token": 1, "banned": 1}


async def test_a_failing_renewal_counts_too() -> None:
    async with running(security=SETTINGS) as site:
        client: Client
        async with site.connect(additional_headers=behind(MALLORY)) as client:
            await client.authenticate(site.token())
            for _ in range(2):
                assert not (await client.ask(type="auth", token="a.b.c"))["success"]
        await forge(site, MALLORY)
        assert await status(site, MALLORY) == 429
