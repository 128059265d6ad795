"""permessage-deflate (RFC 7692) with a real client, when the operator turned it on."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from core.wire_client import BINARY, CONTINUATION, PING, TEXT, frame
from harness import running, telemetry

ON = {"compression": True}
RSV1, RSV2 = 4, 2
LONG = "warm and dry " * 1000
OFFERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "small windows": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "no takeover": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "any client window": {"client_max_window_bits": True},
}


def offering(**parameters: Any) -> dict[str, Any]:
    """Return the options of `Site.connect` for a client that offers compression."""
    return {"extensions": [ClientPerMessageDeflateFactory(**parameters)], "compression": None}


@pytest.mark.parametrize("offer", OFFERS)
async def test_messages_are_compressed_in_both_directions(offer: str) -> None:
    async with running(server=ON) as site, site.connect(**offering(**OFFERS[offer])) as client:
        assert [extension.name for extension in client.connection.protocol.extensions] == ["permessage-deflate"]
        await client.authenticate(site.token())
        await client.subscribe("telemetry")
        for number in range(3):  # each for itself: no context is kept
            site.server.publish(telemetry(n=number, text=LONG))
            received = await client.receive()
            assert received["telemetry"]["n"]["value"] == number
            assert received["telemetry"]["text"]["value"] == LONG
        answer = await client.ask(type="ping", id=1, timestamp="2026-01-01 " * 30)
        assert answer["client_timestamp"] == "2026-01-01 " * 30
        stats: Any = site.server.stats()
        assert stats["bytes_sent"] < len(LONG)


@pytest.mark.parametrize("settings", [{}, {"compression": False}])
async def test_it_is_off_unless_it_is_turned_on(settings: dict[str, object]) -> None:
    async with running(server=settings) as site, site.connect(**offering()) as client:
        assert client.connection.protocol.extensions == []
        await client.authenticate(site.token())


async def test_who_does_not_offer_it_gets_none() -> None:
    async with running(server=ON) as site, site.connect(compression=None) as client:
        await client.authenticate(site.token())
        await client.subscribe("telemetry")
        site.server.publish(telemetry(text=LONG))
        assert (await client.receive())["telemetry"]["text"]["value"] == LONG
        compressed = frame(TEXT, b"\x00", reserved=RSV1)
        client.write(compressed)
        assert (await client.closed())[0] == 1002


async def test_a_bomb_is_closed_with_1009_and_the_others_live() -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = stream.compress(b" " * 50_000_000) + stream.flush(zlib.Z_SYNC_FLUSH)[:-4]
    assert len(bomb) < 60_000  # within the largest frame
    async with running(server=ON) as site, site.connect(**offering()) as client, site.client() as other:
        await client.authenticate(site.token())
        client.write(frame(TEXT, bomb, reserved=RSV1))
        assert (await client.closed())[0] == 1009
        await other.nothing_more()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(TEXT, b"\xff\xff\xff", reserved=RSV1)], 1007),
        ([frame(TEXT, zlib.compress(b"\xff\xfe", wbits=-15), reserved=RSV1)], 1007),
        ([frame(BINARY, zlib.compress(b"{}", wbits=-15), reserved=RSV1)], 1003),
        ([frame(PING, b"", reserved=RSV1)], 1002),
        ([frame(TEXT, b"", reserved=RSV2)], 1002),
        ([frame(TEXT, b"", fin=False, reserved=RSV1), frame(CONTINUATION, b"", reserved=RSV1)], 1002),
    ],
)
async def test_violations(frames: list[bytes], code: int) -> None:
    async with running(server=ON) as site, site.connect(**offering()) as client:
        await client.authenticate(site.token())
        client.write(*frames)
        assert (await client.closed())[0] == code


async def test_a_compressed_message_in_fragments() -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = stream.compress(b'{"type":"ping","id":7}') + stream.flush(zlib.Z_SYNC_FLUSH)[:-4]
    async with running(server=ON) as site, site.connect(**offering()) as client:
        await client.authenticate(site.token())
        first, *others = [data[i : i + 5] for i in range(0, len(data), 5)]
        client.write(frame(TEXT, first, fin=False, reserved=RSV1))
        client.write(frame(PING, b"between"))
        for piece in others:
            client.write(frame(CONTINUATION, piece, fin=False))
        client.write(frame(CONTINUATION, b""))
        assert (await client.receive())["id"] == 7
