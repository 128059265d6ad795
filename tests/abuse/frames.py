"""Random and mutated frames. The same generator state makes the same bytes."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import msgspec
import orjson

from core.wire_client import BINARY, CLOSE, CONTINUATION, HANDSHAKE, PING, PONG, TEXT, frame, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

PLAIN = HANDSHAKE.format("/ws").encode()
DEFLATE = PLAIN[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n"
MSGPACK = PLAIN[:-2] + b"Sec-WebSocket-Protocol: valtronics.v1.msgpack\r\n\r\n"

WORDS = (
    *(b'{"type":"%b"' % name for name in (b"ping", b"publish", b'subscribe","channel":"telemetry', b"error_report")),
    *(b'{"type":"unsubscribe","channel":"alerts"', b'{"type":"batch","messages":[', b'{"type":"auth","token":"'),
    *(b',"device_id":', b',"filters":{', b',"metrics":', b',"frequency":"', b',"since":{"epoch":"', b',"id":'),
    *(b'"1s"', b"[1,2,3]", b"[[", b"]]", b"{", b"}", b"null", b"true", b"1", b"-1e400", b"18446744073709551616"),
    *(b'"\\ud800"', b"\xc3\xa9", b"\x00", b'"', b",", b":", b'"snapshot":true'),
)
SIZES = (0, 1, 2, 7, 60, 125, 126, 127, 300, 1023, 1024, 1025, 1500)
FATAL_SHARE = 0.03  # of the frames in the middle: else few connections would live to see the second one
MUTATIONS = (1, 1, 1, 2, 2, 4)
LONGEST_SLICE = 8


def random_frames(rng: Random, count: int) -> bytes:
    """Return so many frames: most are within RFC 6455 and hold nonsense, some are nonsense altogether."""
    return b"".join(_nonsense(rng) if rng.random() < FATAL_SHARE else _frame_with_nonsense(rng) for _ in range(count))


def _frame_with_nonsense(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return frame(rng.choice((PING, PONG)), rng.randbytes(rng.randrange(126)), mask=rng.randbytes(4))
    payload = b"".join(rng.choices(WORDS, k=rng.randrange(1, 12)))
    if kind < 0.2:
        half = rng.randrange(len(payload) + 1)
        first = frame(TEXT, payload[:half], fin=False, mask=rng.randbytes(4))
        return first + frame(CONTINUATION, payload[half:], mask=rng.randbytes(4))
    if kind < 0.3:
        payload = payload.ljust(rng.choice(SIZES), b"x")
    return frame(TEXT, payload, mask=rng.randbytes(4))


def _nonsense(rng: Random) -> bytes:
    """Return a frame whose header may say anything."""
    size = rng.choice(SIZES)
    payload = rng.randbytes(size)
    if rng.random() < 0.3:
        return rng.randbytes(2 + size)
    mask = rng.randbytes(4) if rng.random() < 0.9 else None
    return frame(rng.randrange(16), payload, fin=rng.random() < 0.8, reserved=rng.randrange(8), mask=mask)


def sessions(tokens: list[str]) -> list[tuple[bytes, list[bytes]]]:
    """Return valid sessions in each format: what opens the connection, and the frames."""
    made = []
    for token in tokens:
        commands = _commands(token)
        made.append((PLAIN, _framed(commands, TEXT, orjson.dumps, reserved=0)))
        made.append((DEFLATE, _framed(commands, TEXT, _deflated, reserved=4)))
        made.append((MSGPACK, _framed(commands, BINARY, msgspec.msgpack.encode, reserved=0)))
    return made


def _commands(token: str) -> list[dict[str, object]]:
    subscribe = {"type": "subscribe", "channel": "alerts", "severity": ["critical"], "id": 2}
    unsubscribe = {"type": "unsubscribe", "channel": "alerts"}
    return [
        {"type": "auth", "token": token, "notices": True, "batch": True, "id": 0},
        {"type": "subscribe", "channel": "telemetry", "filters": {"device_id": [1, "a"], "metrics": "n"}, "id": 1},
        {"type": "ping", "timestamp": "2026-01-01T12:00:00Z", "id": "p"},
        {"type": "batch", "messages": [subscribe, {"type": "ping"}, unsubscribe], "id": 3},
        {"type": "subscribe", "channel": "telemetry", "frequency": {"every": "1s", "deadband": "2%"}, "snapshot": True},
        {"type": "subscribe", "channel": "alerts", "since": {"epoch": "abcd", "offset": 1}, "recover": True, "id": 4},
        {"type": "publish", "message": {"type": "telemetry_update", "device_id": 1, "telemetry": {"n": -1}}, "id": 5},
        {"type": "error_report", "error": "what the client could not do"},
        {"type": "unsubscribe", "channel": "telemetry", "device_id": [1, "a"], "id": 6},
    ]


def _framed(commands: list[dict[str, object]], opcode: int, encode: object, *, reserved: int) -> list[bytes]:
    """Return the commands as frames, one of them in fragments with a ping in between, and a CLOSE behind them."""
    payloads = [encode(command) for command in commands]  # type: ignore[operator]
    split = payloads.pop(5)
    return [
        *(frame(opcode, payload, reserved=reserved) for payload in payloads),
        frame(opcode, split[:20], fin=False, reserved=reserved),
        frame(PING, b"between"),
        frame(CONTINUATION, split[20:]),
        frame(PONG),
        frame(CLOSE, b"\x03\xe8bye"),
    ]


def _deflated(message: object) -> bytes:
    return deflated(orjson.dumps(message))


def deflated(data: bytes) -> bytes:
    """Compress a message as RFC 7692 says (7.2.1)."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def mutated(rng: Random, data: bytes) -> bytes:
    """Return the bytes with some flipped, inserted, taken out or moved, and now and then cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice(MUTATIONS)):
        if not changed:
            break
        at, kind = rng.randrange(len(changed)), rng.random()
        if kind < 0.5:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            changed[at:at] = rng.randbytes(rng.randint(1, LONGEST_SLICE))
        elif kind < 0.9:
            del changed[at : at + rng.randint(1, LONGEST_SLICE)]
        elif kind < 0.95:
            changed[at:at] = changed[-at:][: rng.randint(1, 100)]
        else:
            del changed[at + 1 :]
    return bytes(changed)


def flood(frames: Iterator[bytes] | list[bytes], size: int = 1 << 20) -> tuple[bytes, int]:
    """Return about `size` bytes of the frames, over and over, and how many frames that are."""
    block = list(frames)
    times = max(1, size // sum(map(len, block)))
    return b"".join(block) * times, len(block) * times


def command(**message: object) -> bytes:
    """Return the frame of a command."""
    return text(message)
