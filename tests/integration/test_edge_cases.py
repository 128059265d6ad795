"""What strangers may send once they are in: the edge cases 18 to 36, each through a real socket against a whole server.

Whatever one of them does, it is counted under its code, it costs the log the one line of its end, and another client is
served as before.
"""

from __future__ import annotations

import asyncio
import struct

import orjson
import pytest

from core.wire_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frame
from harness import alert, telemetry, until
from stranger import SILENT, Log, code, small, stranger, subscribed

COMMAND = b'{"type":"ping"}'
OPCODES = {"continuation": CONTINUATION, "text": TEXT, "binary": BINARY, "close": CLOSE, "ping": PING, "pong": PONG}


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("opcode", OPCODES.values(), ids=OPCODES)
async def test_row_18_a_reserved_bit(caplog: Log, opcode: int, bits: int) -> None:
    """Row 18: with any opcode."""
    async with stranger(caplog, 1002) as one:
        await one.peer.write(frame(opcode, code(1000) if opcode == CLOSE else COMMAND, reserved=bits))
        assert await one.ends(1002) == []
        await one.peer.send(CLOSE, code(1002))


async def test_row_19_text_that_is_split_within_a_character(caplog: Log) -> None:
    """Row 19: accepted where it is UTF-8 in the end."""
    text = '{"type":"ping","timestamp":"23 °C €"}'.encode()
    async with stranger(caplog, 0) as one:
        for cut in range(len(text) + 1):
            await one.peer.write(frame(TEXT, text[:cut], fin=False) + frame(CONTINUATION, text[cut:]))
            assert (await one.peer.hear())["client_timestamp"] == "23 °C €"


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90", b"\xe2\x82\xac\x80"])
async def test_row_19_text_that_is_not_utf8(caplog: Log, bad: bytes) -> None:
    """Row 19: at once, before the message is over."""
    async with stranger(caplog, 1007) as one:
        await one.peer.write(b"".join(frame(CONTINUATION if i else TEXT, bad[i : i + 1], fin=False)
                                      for i in range(len(bad))))  # fmt: skip
        assert await one.ends(1007) == []
        await one.peer.send(CLOSE, code(1007))


@pytest.mark.parametrize(
    "data",
    [
        frame(CONTINUATION, COMMAND),
        frame(CONTINUATION, b"", fin=False),
        frame(TEXT, b"{", fin=False) + frame(TEXT, COMMAND),
        frame(TEXT, b"{", fin=False) + frame(BINARY, COMMAND),
    ],
)
async def test_row_20_fragments_out_of_order(caplog: Log, data: bytes) -> None:
    """Row 20: a continuation of nothing, a message within another."""
    async with stranger(caplog, 1002) as one:
        await one.peer.write(data)
        assert await one.ends(1002) == []
        await one.peer.send(CLOSE, code(1002))


@pytest.mark.parametrize("payload", [b"", b" "])
async def test_row_21_too_many_fragments(caplog: Log, payload: bytes) -> None:
    """Row 21: the sixty-fifth, also of those that hold nothing."""
    async with stranger(caplog, 1009) as one:
        await one.peer.write(b"".join(frame(CONTINUATION if i else TEXT, payload, fin=False) for i in range(65)))
        assert await one.ends(1009) == []
        await one.peer.send(CLOSE, code(1009))


@pytest.mark.parametrize("size", [65_537, 4_000_000, (1 << 63) - 1])
async def test_row_22_a_frame_that_is_too_large(caplog: Log, size: int) -> None:
    """Row 22: seen by its header, and nothing of it is delivered, however much of it still comes."""
    async with stranger(caplog, 1009) as one:
        await one.peer.write(b"\x81\xff" + struct.pack("!Q", size) + bytes(4))
        try:
            for _ in range(20):
                await one.peer.write(b" " * 4096)
        except ConnectionError:
            pass
        assert await one.ends(1009) == []
    assert one.session.messages_in == 0


async def test_row_23_fragments_that_add_up(caplog: Log) -> None:
    """Row 23: the bound on a frame is one on a message."""
    async with stranger(caplog, 1009) as one:
        await one.peer.write(frame(TEXT, b" " * 65_000, fin=False) + frame(CONTINUATION, b" " * 537))
        assert await one.ends(1009) == []
        await one.peer.send(CLOSE, code(1009))


VIOLATIONS = {
    "not masked": frame(TEXT, COMMAND, mask=None),
    **{f"opcode {number}": frame(number, b"") for number in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"a {name} of 126 bytes": frame(OPCODES[name], b"x" * 126) for name in ("ping", "pong", "close")},
    **{f"a {name} in fragments": frame(OPCODES[name], b"", fin=False) for name in ("ping", "pong", "close")},
    "125 in 16 bits": b"\x81\xfe\x00\x7d",
    "65535 in 64 bits": b"\x81\xff" + struct.pack("!Q", 65_535),
    "the highest bit": b"\x81\xff" + struct.pack("!Q", 1 << 63),
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
async def test_row_24_no_websocket(caplog: Log, data: bytes) -> None:
    """Row 24: what no client may send, before and behind authentication."""
    async with stranger(caplog, 1002) as one:
        if len(data) % 2:
            await one.authenticate()
        await one.peer.write(data)
        assert await one.ends(1002) == []


async def test_row_25_an_empty_close(caplog: Log) -> None:
    """Row 25: answered 1000, counted 1005."""
    async with stranger(caplog, 1005) as one:
        await one.peer.send(CLOSE)
        assert await one.peer.rest() == [Frame(CLOSE, code(1000))]


@pytest.mark.parametrize("number", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535])
async def test_row_26_codes_that_nobody_may_send(caplog: Log, number: int) -> None:
    """Row 26."""
    async with stranger(caplog, 1002) as one:
        await one.peer.send(CLOSE, code(number))
        assert await one.ends(1002) == []


async def test_row_27_two_closes_in_one_segment(caplog: Log) -> None:
    """Row 27: the first one counts."""
    async with stranger(caplog, 1000) as one:
        await one.peer.write(frame(CLOSE, code(1000)) + frame(CLOSE, code(1000)))
        assert await one.peer.rest() == [Frame(CLOSE, code(1000))]


async def test_row_28_data_behind_a_close(caplog: Log) -> None:
    """Row 28: none of it is handled."""
    async with stranger(caplog, 1000) as one:
        await one.peer.write(frame(CLOSE, code(1000)) + frame(TEXT, COMMAND) * 2000)
        assert await one.peer.rest() == [Frame(CLOSE, code(1000))]
        assert one.session.messages_in == 0


async def test_row_28_data_behind_an_abort(caplog: Log) -> None:
    """Row 28: nor what had come before the server cut the connection, and was not read yet."""
    async with stranger(caplog, 1006) as one:
        await one.peer.write(frame(TEXT, COMMAND) * 2000)
        one.session.abort()
        assert await one.peer.read_to_the_end() == b""
        assert one.session.messages_in == 0


async def test_row_29_binary(caplog: Log) -> None:
    """Row 29: nobody has negotiated it."""
    async with stranger(caplog, 1003) as one:
        await one.authenticate()
        await one.peer.write(frame(BINARY, COMMAND))
        assert await one.ends(1003) == []
        await one.peer.send(CLOSE, code(1003))


async def test_row_30_a_flood_of_pings(caplog: Log) -> None:
    """Row 30: they count as messages."""
    async with stranger(caplog, 4101) as one:
        await one.peer.write(frame(PING, b"x") * 3000)
        pongs = [each for each in await one.ends(4101) if each.opcode == PONG]
        assert 100 <= len(pongs) < 2000
        await one.peer.send(CLOSE, code(4101))


async def test_row_30_pings_of_one_who_does_not_read(caplog: Log) -> None:
    """Row 30: pongs do not pile up, whatever rate is allowed."""
    limits = {"messages_per_second": 0}
    async with stranger(
        caplog, 4102, receive_buffer=4096, limits=limits, server={**SILENT, "close_timeout": 0.2}
    ) as one:
        pings = frame(PING, b"x" * 125) * 100
        held = 0
        while not one.session.close_code:
            await one.peer.write(pings)
            await asyncio.sleep(0)
            held = max(held, one.session.queued_bytes)
        assert held < 1 << 20


async def test_row_31_garbage_behind_an_error(caplog: Log) -> None:
    """Row 31: one line, however much of it."""
    async with stranger(caplog, 1002) as one:
        await one.peer.write(b"\x83\x80\0\0\0\0")
        try:
            for _ in range(300):
                await one.peer.write(b"\x83\x80\0\0\0\0" * 20)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        await one.peer.read_to_the_end()  # a reset may take the CLOSE along


async def test_row_32_values_are_conflated_for_one_who_does_not_read(caplog: Log) -> None:
    """Row 32: and flow again when it reads on, the newest of them last."""
    async with stranger(caplog, 0, receive_buffer=4096, server=SILENT) as one:
        await subscribed(one, "telemetry")
        published = 0
        while not one.site.server.stats()["slow_readers"]["behind"]:  # type: ignore[index]
            one.site.server.publish(telemetry(number=published, text="x" * 30_000))
            published += 1
            await asyncio.sleep(0)
        assert one.session.queued_bytes < 1 << 20
        for _ in range(200):
            one.site.server.publish(telemetry(number=published, text="y" * 30_000))
            published += 1
        await asyncio.sleep(0)
        assert one.session.queued_bytes < 1 << 20
        last = 0
        while last < published - 1:
            message = await one.peer.hear()
            assert message["telemetry"]["number"]["value"] >= last
            last = message["telemetry"]["number"]["value"]


async def test_row_32_events_close_one_who_does_not_read(caplog: Log) -> None:
    """Row 32: they can't be conflated; its socket is cut when the time to say goodbye is up."""
    async with stranger(caplog, 4102, receive_buffer=4096, server={**SILENT, "close_timeout": 0.2}) as one:
        await subscribed(one, "alerts")
        while not one.session.close_code:
            one.site.server.publish(alert(message="x" * 30_000))
            await asyncio.sleep(0)
            assert one.session.queued_bytes <= 5 << 20


async def test_row_32_the_largest_queue_goes_first(caplog: Log) -> None:
    """Row 32: of two who do not read, the one with more to wait for."""
    limits = {"all_queues": 1 << 20, "queue_mark": 0}
    async with stranger(
        caplog, 4102, receive_buffer=4096, limits=limits, server={**SILENT, "close_timeout": 0.2}
    ) as one:
        await subscribed(one, "alerts")
        less = await small(one.site, 4096)
        one.peers.append(less)
        assert (await less.ask(type="auth", token=one.site.token("carol")))["success"] is True
        await less.ask(type="subscribe", id=1, channel="alerts", severity="info")
        caplog.clear()
        turn = 0
        while not one.session.close_code:
            one.site.server.publish(alert("info" if turn % 4 == 0 else "critical", message="x" * 30_000))
            turn += 1
            await asyncio.sleep(0)
        assert (await less.hear())["severity"] == "info"
        assert one.site.server.stats()["slow_readers"]["closed_for_others"] == 1  # type: ignore[index]


async def test_row_33_the_end_of_one_who_does_not_read(caplog: Log) -> None:
    """Row 33: its socket goes with `close_timeout`, whatever waits for it."""
    async with stranger(caplog, 4200, receive_buffer=4096, server={**SILENT, "close_timeout": 0.2}) as one:
        await subscribed(one, "alerts")
        while one.session.queued_bytes < 1 << 20:
            one.site.server.publish(alert(message="x" * 30_000))
            await asyncio.sleep(0)
        assert one.session in one.site.server._clients.sessions()
        one.session.disconnect(4200)
        await until(lambda: one.session not in one.site.server._clients.sessions())


@pytest.mark.parametrize("data", [frame(TEXT, b""), frame(TEXT, b"1"), frame(PONG), frame(PING)])
async def test_row_34_a_flood_of_tiny_frames(caplog: Log, data: bytes) -> None:
    """Row 34: told, then closed; how long others wait is measured in bench/fairness.py."""
    async with stranger(caplog, 4101) as one:
        try:
            for _ in range(50):
                await one.peer.write(data * 200)
                await one.other.nothing_more()
        except ConnectionError:
            pass
        told = [orjson.loads(each.payload) for each in await one.ends(4101) if each.opcode == TEXT]
        assert "rate_limited" in {message["error"] for message in told}
        assert one.session.dropped == 1000


async def test_row_35_more_than_may_be(caplog: Log) -> None:
    """Row 35: dropped, and told of at most once a second; 1,000 within ten seconds are the end."""
    async with stranger(caplog, 4101) as one:
        await one.peer.write(frame(TEXT, COMMAND) * 600)
        await until(lambda: one.session.dropped >= 300)
        assert one.session.close_code == 0
        await one.peer.write(frame(TEXT, COMMAND) * 3000)
        messages = [orjson.loads(each.payload) for each in await one.ends(4101)]
        told = [message for message in messages if message.get("error") == "rate_limited"]
        assert 1 <= len(told) <= 1 + one.session.age
        await one.peer.send(CLOSE, code(4101))


async def test_row_36_a_connection_that_is_half_open(caplog: Log) -> None:
    """Row 36: a peer that is gone without a word is pinged, closed and cut."""
    server = {"ping_interval": 0.1, "ping_timeout": 0.2, "close_timeout": 0.2}
    async with stranger(caplog, 4103, server=server) as one:
        await until(lambda: one.session not in one.site.server._clients.sessions())
        frames = await one.peer.rest()
        assert {each.opcode for each in frames[:-1]} == {PING}
        assert frames[-1] == Frame(CLOSE, code(4103, b"ping_timeout"))
