"""What the bad clients do: each attack is a process of its own, which says at its end what came of it.

    python -m abuse.attacks NAME OPTIONS      OPTIONS: a JSON object with the attack's arguments

It prints a line `full` when as many connections are there as shall be, and at the end a JSON object. All that is random
follows from the option `seed`.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from random import Random

import jwt
import msgspec
import orjson

from abuse.frames import DEFLATE, MSGPACK, PLAIN, command, deflated, flood, mutated, random_frames, sessions
from abuse.swarm import End, Swarm, Visit
from abuse.target import API_KEY, SECRET, token
from core.wire_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

Visits = Iterator[Visit]
USERS = 50
FRAMES_A_CONNECTION = 20
NICENESS = 10  # what is measured is the server's and the good clients' share of the processors, not this one's

ATTACKS: dict[str, Callable[..., Visits]] = {}


def attack(function: Callable[..., Visits]) -> Callable[..., Visits]:
    ATTACKS[function.__name__] = function
    return function


def _tokens(prefix: str, count: int = USERS) -> list[str]:
    return [token(f"{prefix}-{number}") for number in range(count)]


def _entries(prefix: str) -> list[bytes]:
    """Return handshakes with an `auth` behind them, of several users: one may have 100 connections."""
    return [PLAIN + command(type="auth", token=each) for each in _tokens(prefix)]


@attack
def half_handshakes(count: int) -> Visits:
    """Sockets that never finish their request: silent, stuck in the middle, or a byte now and then."""
    for number in range(count):
        kind = number % 3
        data = (b"", PLAIN[:-2], PLAIN)[kind]
        yield Visit(data=data, drips=kind == 2, end=End.WAIT, judged_at_the_door=True)


@attack
def connection_flood(count: int, connections: int) -> Visits:
    """Too many from one address, of one user, and in all."""
    for _ in range(count):
        yield Visit(opening=PLAIN, source="127.99.0.1", judged_at_the_door=True, end=End.FINISH)
    same = command(type="auth", token=token("crowd"))
    for _ in range(min(150, count)):
        yield Visit(opening=PLAIN, data=same, end=End.WAIT, patience=4, judged_at_the_door=True)
    for number in range(connections + count):
        own = command(type="auth", token=token(f"flood-{number // 50}"))
        yield Visit(opening=PLAIN, data=own, end=End.WAIT, patience=4, judged_at_the_door=True)


@attack
def random_frame_streams(count: int, seed: int) -> Visits:
    """Frames that hold nonsense, or are."""
    rng, entries = Random(seed), _entries("random")
    for number in range(count // FRAMES_A_CONNECTION):
        data = random_frames(rng, FRAMES_A_CONNECTION)
        yield Visit(opening=entries[number % USERS], data=data, inputs=FRAMES_A_CONNECTION)


@attack
def mutated_sessions(count: int, seed: int) -> Visits:
    """Valid sessions with some bytes changed."""
    rng, valid = Random(seed), sessions(_tokens("mutated"))
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
    yield from _floods("fragments", blocks, connections, megabytes)


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
    yield from _floods("pings", blocks, connections, megabytes)


def _floods(prefix: str, blocks: list[tuple[bytes, tuple[bytes, int]]], connections: int, megabytes: int) -> Visits:
    entries = _entries(prefix)
    for number in range(connections):
        start, (data, inputs) = blocks[number % len(blocks)]
        opening = entries[number % USERS] + start
        yield Visit(opening=opening, data=data, times=megabytes, inputs=inputs)


@attack
def subscription_flood(connections: int, megabytes: int) -> Visits:
    """As many device ids as may be and more, kept; and subscribing and unsubscribing without a pause."""
    entries = _entries("subscriptions")
    for number in range(connections):
        base = number * 20_000 + 1_000_000
        data = b"".join(
            command(type="subscribe", channel="telemetry", device_id=list(range(at, at + 110)), id=at)
            for at in range(base, base + 11_000, 110)
        )
        yield Visit(opening=entries[number % USERS], data=data, inputs=100, end=End.WAIT, patience=6)
    both = [command(type=kind, channel="alerts", device_id=list(range(100))) for kind in ("subscribe", "unsubscribe")]
    yield from _floods("subscriptions", [(b"", flood(both))], max(1, connections // 10), megabytes)


@attack
def oversize(count: int) -> Visits:
    """Frames and messages over each limit, and headers that announce what never comes."""
    entries = _entries("oversize")
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
    """Nesting within the limits of size, and far beyond them; in MessagePack too."""
    entries, tokens = _entries("deep"), _tokens("deep-packed")
    objects = [b'{"a":' * depth + b"1" + b"}" * depth for depth in (15, 16, 150, 9_000)]
    cases = [
        *(frame(TEXT, b"[" * depth + b"]" * depth) for depth in (17, 500, 512, 30_000)),
        *(frame(TEXT, b'{"type":"ping","timestamp":' + value + b"}") for value in objects),
        frame(TEXT, b'{"type":"batch","messages":[' + b"[" * 25_000 + b"]" * 25_000 + b"]}"),
        frame(TEXT, b"[" * 60_000),
        frame(TEXT, b'{"a":' * 12_000),
    ]
    levels = (b"\x91", b"\x81\x01", b"\xdd\xff\xff\xff\xff")
    packed = [frame(BINARY, level * depth) for level in levels for depth in (40, 1_000, 12_000)]
    for number in range(count):
        if number % 3:
            yield Visit(opening=entries[number % USERS], data=cases[number % len(cases)])
        else:
            auth = frame(BINARY, msgspec.msgpack.encode({"type": "auth", "token": tokens[number % USERS]}))
            yield Visit(opening=MSGPACK + auth, data=packed[number // 3 % len(packed)])


@attack
def bad_utf8(count: int) -> Visits:
    """Text that is none, whole, split within a character, compressed, and in the reason of a CLOSE."""
    entries, tokens = _entries("utf8"), _tokens("utf8-deflated")
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
    entries = [DEFLATE + command(type="auth", token=each) for each in _tokens("bombs")]
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
def stopped_readers(count: int, patience: float) -> Visits:
    """Clients that subscribe to everything and read nothing."""
    tokens = _tokens("stopped")
    channels = ("telemetry", "alerts", "devices", "system")
    subscribe = b"".join(command(type="subscribe", channel=name) for name in channels)
    for number in range(count):
        opening = PLAIN + command(type="auth", token=tokens[number % USERS])
        yield Visit(opening=opening, data=subscribe, end=End.STOP, patience=patience)


@attack
def token_guessing(count: int, seed: int) -> Visits:
    """Forged tokens, three a connection, or one in the handshake."""
    rng = Random(seed)
    good = token("victim")
    head, payload, signature = good.split(".")
    unsigned = jwt.encode({"sub": "victim", "exp": 4_000_000_000}, None, algorithm="none")
    forged: list[object] = [
        *("x", "", None, 1, [good], "." * 100, "é" * 50, "A" * 4_000),
        *(f"{head}.{payload}.{signature[:-2]}AA", unsigned, unsigned + signature, good[:-1]),
        token("victim", lifetime=-3600),
        jwt.encode({"sub": "victim"}, SECRET, algorithm="HS256"),
        jwt.encode({"exp": 4_000_000_000}, SECRET, algorithm="HS256"),
        jwt.encode({"sub": "victim", "exp": 4_000_000_000}, SECRET[::-1], algorithm="HS256"),
    ]
    for number in range(count):
        guess = f"{head}.{payload}.{rng.randbytes(32).hex()[:43]}"
        if number % 4:
            tries = [guess, *rng.choices(forged, k=2)]
            yield Visit(opening=PLAIN, data=b"".join(command(type="auth", token=each) for each in tries), inputs=3)
        else:
            header = b"Authorization: Bearer " + guess.encode() + b"\r\n\r\n"
            yield Visit(opening=PLAIN[:-2] + header, judged_at_the_door=True)


@attack
def publish_without_right(count: int) -> Visits:
    """Data messages of clients that may only read, and of some that may publish elsewhere."""
    readers = _tokens("reader", 20)
    elsewhere = [token(f"elsewhere-{number}", publish=["alerts"], devices=["x"]) for number in range(20)]
    messages = [
        {"type": "telemetry_update", "device_id": 1, "telemetry": {"n": -1}},
        {"type": "alert", "device_id": 1, "alert_id": -1, "severity": "info", "title": "forged"},
        {"type": "alert", "alert_id": -1, "severity": "info", "title": "forged"},
        {"type": "telemetry_update", "device_id": "1", "telemetry": {"n": -1}},
        {"type": "system_status_update", "metrics": {"cpu_usage": -1}},
    ]
    for number in range(count):
        own = (readers, elsewhere)[number % 2][number // 2 % 20]
        data = b"".join(command(type="publish", message=message, id=1) for message in messages)
        yield Visit(opening=PLAIN + command(type="auth", token=own), data=data, inputs=len(messages))


@attack
def publish_over_http(count: int) -> Visits:
    """Requests to publish with a wrong key, a token that may not, and nothing at all."""
    body = b'{"type":"alert","device_id":1,"alert_id":-1,"severity":"info","title":"forged"}'
    may_read = token("reader")
    credentials = [
        *(f"X-API-Key: {API_KEY[:-1]}", "X-API-Key: x", "X: x"),
        *(f"Authorization: Bearer {may_read}", f"Authorization: Bearer {may_read}x"),
    ]
    for number in range(count):
        head = (
            f"POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{credentials[number % len(credentials)]}\r\n\r\n"
        )
        yield Visit(opening=head.encode() + body, end=End.WAIT, judged_at_the_door=True)


@attack
def resets(count: int) -> Visits:
    """Connections cut with an RST: in the handshake, a frame, a message, behind an answer, while data come."""
    entries = _entries("resets")
    subscribe, half = command(type="subscribe", channel="telemetry", id=1), frame(TEXT, b'{"type":', fin=False)
    for number in range(count):
        entry = entries[number % USERS]
        opening, after = (
            (PLAIN[: number % len(PLAIN)], b""),
            (entry, b""),
            (entry + subscribe, b"subscribe_response"),
            (entry + subscribe[:9], b"auth_response"),
            (entry + half, b"auth_response"),
            (entry + subscribe, b"telemetry_update"),
        )[number % 6]
        yield Visit(opening=opening, after=after, end=End.RESET, judged_at_the_door=True)


@attack
def entries(lifetimes: list[float]) -> Visits:
    """Clients whose tokens are valid for so many seconds by the machine's clock."""
    for number, lifetime in enumerate(lifetimes):
        auth = command(type="auth", token=token(f"entry-{number}", lifetime=lifetime))
        yield Visit(opening=PLAIN, data=auth + frame(CLOSE, b"\x03\xe8"), patience=5)


def main(name: str, options: str) -> None:
    arguments = orjson.loads(options)
    port, block, window = (arguments.pop(key) for key in ("port", "block", "window"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(NICENESS)
    swarm = Swarm(port, block, window, on_full=lambda: print("full", flush=True))
    swarm.run(ATTACKS[name](**arguments))
    print(orjson.dumps({"inputs": swarm.inputs, "outcomes": swarm.outcomes}).decode(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
