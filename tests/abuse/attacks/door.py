"""What the bad ones do at the door, before they are clients, and with tokens and keys."""

from __future__ import annotations

import ssl
import struct
from random import Random

import jwt

from abuse.attacks.registry import USERS, Visits, attack, ways_in
from abuse.frames import PLAIN, command
from abuse.swarm import End, Visit
from abuse.target import ADMIN_KEY, API_KEY, ORIGIN, SECRET, token
from core.wire_client import CLOSE, TEXT, frame


@attack
def half_handshakes(count: int) -> Visits:
    """Sockets that never finish their request: silent, stuck in the middle, or a byte now and then."""
    for number in range(count):
        kind = number % 3
        data = (b"", PLAIN[:-2], PLAIN)[kind]
        yield Visit(data=data, drips=kind == 2, end=End.WAIT, judged_at_the_door=True)


@attack
def connection_flood(count: int, connections: int, patience: float) -> Visits:
    """Too many from one address, of one user, and in all."""
    for _ in range(count):
        yield Visit(opening=PLAIN, source="127.99.0.1", judged_at_the_door=True, end=End.FINISH)
    same = command(type="auth", token=token("crowd"))
    for _ in range(min(150, count)):
        yield Visit(opening=PLAIN, data=same, end=End.WAIT, patience=patience, judged_at_the_door=True)
    for number in range(connections + count):
        own = command(type="auth", token=token(f"flood-{number // 50}"))
        yield Visit(opening=PLAIN, data=own, end=End.WAIT, patience=patience, judged_at_the_door=True)


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
    entries = ways_in("resets")
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


@attack
def tls_strangers(count: int, seed: int) -> Visits:
    """TLS handshakes that are silent, half, garbage, no TLS, or end behind the costly part."""
    rng, hello = Random(seed), _client_hello()
    for number in range(count):
        record = struct.pack("!BHH", 22, 0x0303, 2000)
        data, end = (
            (b"", End.WAIT),
            (hello[: 1 + number % (len(hello) - 1)], End.WAIT),
            (hello, End.WAIT),
            (hello, End.RESET),
            (hello + rng.randbytes(600), End.FINISH),
            (record + rng.randbytes(2000), End.FINISH),
            (record, End.WAIT),
            (rng.randbytes(300), End.FINISH),
            (PLAIN, End.FINISH),
            (hello * 20, End.FINISH),
        )[number % 10]
        yield Visit(data=data, end=end, patience=10, judged_at_the_door=True)


def _client_hello() -> bytes:
    """Return the first bytes of a TLS client: what costs a server a key exchange and a signature."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without an answer")


@attack
def proxy_garbage(count: int, seed: int) -> Visits:
    """PROXY headers that are broken, endless, half, missing, or of somebody who may not send any."""
    rng = Random(seed)
    magic = b"\r\n\r\n\0\r\nQUIT\n"
    good = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    cases = [
        *(PLAIN, good[:-1], b"PROXY " + b"x" * 200 + b"\r\n", b"PROXY UNKNOWN" + b" x" * 99, b"\x16\x03\x01" * 99),
        *(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 70000\r\n", b"PROXY TCP4 999.0.0.1 1.1.1.1 1 2\r\n"),
        *(b"PROXY TCP6 192.0.2.1 ::1 1 2\r\n", b"PROXY TCP4\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
        *(magic + b"\x21\x11\xff\xff", magic + b"\x21\x11\x00\x04abcd", magic + b"\x31\x11\x00\x0c" + bytes(12)),
        *(magic + b"\x21\x99\x00\x0c" + bytes(12), magic + b"\x21\x11\x0f\xff" + bytes(5000), magic[:7]),
        *(good + good + PLAIN, good + magic + PLAIN, good + b"\0" * 300, magic + b"\x20\x00\x00\x00" + b"GET"),
    ]
    for number in range(count):
        data = cases[number % len(cases)] if number % 3 else rng.randbytes(rng.randrange(1, 200))
        half = number % 50 == 7
        yield Visit(
            data=good[:20] if half else data,
            end=End.WAIT if half else End.FINISH,
            patience=8,
            judged_at_the_door=True,
            told=False,
            source="127.88.0.1" if number % 20 == 3 else None,
        )


@attack
def origin_flood(count: int) -> Visits:
    """Handshakes of web pages that may not connect, and of some that look as if they might."""
    host = ORIGIN.removeprefix("https://")
    origins = [
        *("https://evil.net", "null", f"http://{host}", f"https://{host}.evil.net", f"https://evil-{host}"),
        *(f"{ORIGIN}:8443", f"{ORIGIN}@evil.net", f"https://sub.{host}", "x" * 3_000, f"{ORIGIN}\xe9"),
        *("https://", "https://[::1", "*"),
    ]
    bearer = f"Authorization: Bearer {token('page')}\r\n"
    for number in range(count):
        origin = origins[number % len(origins)].encode("latin-1")
        head = PLAIN[:-2] + b"Origin: " + origin + b"\r\n" + bearer.encode() * (number % 2) + b"\r\n"
        yield Visit(opening=head, judged_at_the_door=True)


@attack
def banned_guests(count: int) -> Visits:
    """Ten connections of each address with bad tokens and broken frames: more than `security.ban_after` takes."""
    origin = PLAIN[:-2] + f"Origin: {ORIGIN}\r\n\r\n".encode()
    guesses = b"".join(command(type="auth", token=f"a.b.{number}") for number in range(3))
    cases = [
        (origin, guesses, 3),
        (origin, frame(TEXT, b"x", reserved=7), 1),
        (origin[:-2] + b"Authorization: Bearer x.y.z\r\n\r\n", b"", 1),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"", 1),
    ]
    for number in range(count):
        opening, data, inputs = cases[0] if number % 10 < 7 else cases[number % len(cases)]
        yield Visit(opening=opening, data=data, inputs=inputs, judged_at_the_door=True)


@attack
def explain_flood(count: int) -> Visits:
    """`GET /api/v1/explain` with what may not; and with the right key, for what is not there."""
    may_read = token("reader")
    credentials = [
        *(f"X-API-Key: {ADMIN_KEY[:-1]}x", f"X-API-Key: {API_KEY}", f"Authorization: Bearer {may_read}", "X: x"),
        *(f"Authorization: Bearer {may_read}x", f"X-API-Key: {ADMIN_KEY}"),
    ]
    queries = [
        *("connection=1&device=1", "connection=1", "connection=999999&device=x", f"connection={10**30}"),
        *("connection=-1", "", "device=1", "connection=x"),
        *("connection=1&device=" + "x" * 2_000, "connection=%00&device=%ff", "connection=1&connection=2&device=1"),
    ]
    for number in range(count):
        head = (
            f"GET /api/v1/explain?{queries[number % len(queries)]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"{credentials[number // len(queries) % len(credentials)]}\r\n\r\n"
        )
        yield Visit(opening=head.encode(), end=End.WAIT, judged_at_the_door=True)
