"""Messages that are nonsense, too large, too deep, too many, or not what they say they are."""

from __future__ import annotations

import struct
from random import Random

import msgspec

from abuse.attacks.registry import USERS, Visits, attack, floods, tokens_of, ways_in
from abuse.frames import DEFLATE, MSGPACK, command, deflated, flood, mutated, random_frames, sessions
from abuse.swarm import Visit
from core.wire_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

FRAMES_A_CONNECTION = 20


@attack
def random_frame_streams(count: int, seed: int) -> Visits:
    """Frames that hold nonsense, or are."""
    rng, entries = Random(seed), ways_in("random")
    for number in range(count // FRAMES_A_CONNECTION):
        data = random_frames(rng, FRAMES_A_CONNECTION)
        yield Visit(opening=entries[number % USERS], data=data, inputs=FRAMES_A_CONNECTION)


@attack
def mutated_sessions(count: int, seed: int) -> Visits:
    """Valid sessions with some bytes changed."""
    rng, valid = Random(seed), sessions(tokens_of("mutated"))
    while count > 0:
        opening, frames = rng.choice(valid)
        count -= len(frames)
        yield Visit(opening=opening, data=mutated(rng, b"".join(frames)), inputs=len(frames))


@attack
def fragment_flood(connections: int, megabytes: int) -> Visits:
    """Messages without an end, of fragments with a byte or none, and messages of as many fragments as may be."""
    start, rest = frame(TEXT, b'"', fin=False), frame(CONTINUATION, b"x", fin=False)
    blocks = [
        (start, flood([rest])),
        (start, flood([frame(CONTINUATION, b"", fin=False)])),
        (b"", flood([start, *[rest] * 62, frame(CONTINUATION, b'"')])),
        (start, flood([frame(CONTINUATION, b"", fin=False), frame(PING, b"x")])),
    ]
    yield from floods("fragments", blocks, connections, megabytes)


@attack
def ping_flood(connections: int, megabytes: int) -> Visits:
    """WebSocket pings and pongs, `ping` commands, and batches of them."""
    pings = command(type="batch", messages=[{"type": "ping"}] * 50)
    blocks = [
        (b"", flood([frame(PING, b"x" * 125)])),
        (b"", flood([frame(PING)])),
        (b"", flood([frame(PONG)])),
        (b"", flood([command(type="ping", timestamp="x")])),
        (b"", flood([pings])),
    ]
    yield from floods("pings", blocks, connections, megabytes)


@attack
def oversize(count: int) -> Visits:
    """Frames and messages over each limit, and headers that announce what never comes."""
    entries = ways_in("oversize")
    sizes = (1 << 17, 1 << 40, 2**63 - 1, 2**64 - 1)
    announced = [bytes((0x81, 0xFF)) + struct.pack("!Q", size) + b"mask" for size in sizes]
    cases = [
        frame(TEXT, b'"' + b"x" * 70_000 + b'"'),
        frame(TEXT, b"x" * 40_000, fin=False) + frame(CONTINUATION, b"x" * 40_000),
        frame(TEXT, b'{"type":"ping","timestamp":"' + b"x" * 1_000 + b'"}'),
        frame(TEXT, b'"' + b"x" * 60_000 + b'"'),
        command(type="auth", token="x" * 9_000),
        command(type="batch", messages=[{"type": "ping"}] * 51),
        command(type="batch", messages=[{"type": "ping", "timestamp": "x" * 1_100}]),
        frame(PING, b"x" * 126),
        *(header + b"x" * 1_000 for header in announced),
    ]
    for number in range(count):
        yield Visit(opening=entries[number % USERS], data=cases[number % len(cases)])


@attack
def deep_json(count: int) -> Visits:
    """Nesting within the limits of size, and far beyond them."""
    entries = ways_in("deep")
    objects = [b'{"a":' * depth + b"1" + b"}" * depth for depth in (15, 16, 150, 9_000)]
    cases = [
        *(frame(TEXT, b"[" * depth + b"]" * depth) for depth in (17, 500, 512, 30_000)),
        *(frame(TEXT, b'{"type":"ping","timestamp":' + value + b"}") for value in objects),
        frame(TEXT, b'{"type":"batch","messages":[' + b"[" * 25_000 + b"]" * 25_000 + b"]}"),
        frame(TEXT, b"[" * 60_000),
        frame(TEXT, b'{"a":' * 12_000),
    ]
    for number in range(count):
        yield Visit(opening=entries[number % USERS], data=cases[number % len(cases)])


@attack
def bad_utf8(count: int) -> Visits:
    """Text that is none, whole, split within a character, compressed, and in the reason of a CLOSE."""
    entries, tokens = ways_in("utf8"), tokens_of("utf8-deflated")
    wrong = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf8\x88\x80\x80\x80"]
    for number in range(count):
        bytes_ = b'{"type":"ping","timestamp":"' + wrong[number % len(wrong)] + b'"}'
        opening = entries[number % USERS]
        match number // len(wrong) % 4:
            case 0:
                data = frame(TEXT, bytes_)
            case 1:
                data = frame(TEXT, bytes_[:29], fin=False) + frame(CONTINUATION, bytes_[29:])
            case 2:
                data = frame(CLOSE, b"\x03\xe8" + wrong[number % len(wrong)])
            case _:
                opening = DEFLATE + command(type="auth", token=tokens[number % USERS])
                data = frame(TEXT, deflated(bytes_), reserved=4)
        yield Visit(opening=opening, data=data)


@attack
def deflate_bombs(count: int) -> Visits:
    """Messages that are small on the wire and large behind it, in one frame and in fragments; and broken ones."""
    entries = [DEFLATE + command(type="auth", token=each) for each in tokens_of("bombs")]
    bomb = deflated(b" " * 60_000_000)  # 58 KB: within the limit of a frame
    text_bomb = deflated(b'{"type":"ping","timestamp":"' + b"x" * 2_000_000 + b'"}')
    half = len(bomb) // 2
    cases = [
        frame(TEXT, bomb, reserved=4),
        frame(TEXT, text_bomb, reserved=4),
        frame(TEXT, bomb[:half], fin=False, reserved=4) + frame(CONTINUATION, bomb[half:]),
        frame(TEXT, bomb[:-7], reserved=4),
        frame(TEXT, b"\x07" + bomb[:100], reserved=4),
        frame(TEXT, b"", reserved=4),
        frame(PING, b"x", reserved=4),
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", reserved=4),
        frame(TEXT, deflated(b'{"type":"nothing"}'), reserved=4) * 20,
        b"".join(frame(TEXT, deflated(b" " * size), reserved=4) for size in (65_535, 65_536, 65_537)),
    ]
    for number in range(count):
        yield Visit(opening=entries[number % USERS], data=cases[number % len(cases)])


@attack
def messagepack(count: int, seed: int) -> Visits:
    """MessagePack that is deep, oversize, broken, what JSON could not hold, or not even binary."""
    rng, pack = Random(seed), msgspec.msgpack.encode
    ways = [MSGPACK + frame(BINARY, pack({"type": "auth", "token": each})) for each in tokens_of("packed")]
    report = b"\x82\xa4type\xace" + b"rror_report\xa5error"
    subscribe = b"\x83\xa4type\xa9subscribe\xa7channel\xa9telemetry\xa7filters"
    strange = [
        *(b"\x81\x01\x01", b"\x81\xc0\x01", b"\x81\xc4\x01a\x01", b"\xc4\x01a", b"\xd6\xff\0\0\0\0", b"\xd4\x05a"),
        *(b"\xca\x7f\xc0\0\0", b"\xcb\xff\xf0" + bytes(6), b"\x81\x90\x01", b"\xa1\xff", b"\xc1"),
    ]
    cases = [
        *(start + value for start in (report, subscribe) for value in strange),
        *(head + b"\xff\xff\xff\xff" for head in (b"\xdf", b"\xdd", b"\xdb", b"\xc6", b"\xc9")),
        *(level * depth for level in (b"\x91", b"\x81\x01", b"\x81\xa1a") for depth in (17, 900, 20_000)),
        *(b"\xdd\0\x10\0\0" + b"\xc0" * 60_000, b"\xde\xff\xff" + b"\xa0\xc0" * 30_000, b"", b"\x80", b"\x80\x80"),
        *(pack({"type": "ping", "timestamp": "x" * size}) for size in (900, 2_000, 60_000, 66_000)),
        *(pack({"type": "batch", "messages": [{"type": "ping"}] * size}) for size in (50, 51, 2_000)),
        *(pack({"type": "batch", "messages": [{"type": "ping", "timestamp": "x" * 1_100}]}), pack([1]), pack("ping")),
        *(pack({"type": "ping", "id": value}) for value in (2**64 - 1, -(2**63), 1.5, None, [], "x" * 65)),
    ]
    for number in range(count):
        opening = ways[number % USERS]
        match number % 4:
            case 0:
                data = frame(BINARY, rng.randbytes(rng.randrange(300)))
            case 1 if number % 8 == 1:
                data = frame(TEXT, b'{"type":"ping"}')
            case _:
                data = frame(BINARY, cases[number % len(cases)])
        yield Visit(opening=opening, data=data)
