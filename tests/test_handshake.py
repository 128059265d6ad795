from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from front_server import KEY, request
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import Channel
from valtronics_fast.handshake import (
    ENDPOINTS,
    MAX_HEAD,
    MAX_HEADERS,
    Policy,
    Request,
    Upgrade,
    check_request,
    check_scope,
    negotiate,
    parse_request,
)
from valtronics_fast.origins import Origins
from valtronics_fast.refusals import Reason, Refusal

OPEN = Policy(Origins())
QUERY = Policy(Origins(), query_token=True)
LISTED = Policy(Origins(["https://app.example.org"]))


def judge(message: bytes, policy: Policy = OPEN) -> Upgrade:
    parsed = parse_request(message.removesuffix(b"\r\n\r\n"))
    check_request(parsed)
    return negotiate(parsed, policy)


def reason(message: bytes, policy: Policy = OPEN) -> Reason:
    with pytest.raises(Refusal) as caught:
        judge(message, policy)
    return caught.value.reason


def test_a_good_request() -> None:
    upgrade = judge(request("/ws?a=b", "X-Twice: 1", "x-twice:\t2 "))
    assert upgrade.request.method == "GET"
    assert (upgrade.request.path, upgrade.request.query) == ("/ws", "a=b")
    assert upgrade.request.headers["x-twice"] == ["1", "2"]
    assert (upgrade.channel, upgrade.key, upgrade.subprotocol, upgrade.token) == (None, KEY, None, None)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", Reason.MALFORMED),
        (b"GET /ws", Reason.MALFORMED),
        (b"GET  /ws HTTP/1.1", Reason.MALFORMED),
        (b"GET /ws  HTTP/1.1", Reason.MALFORMED),
        (b"GET\t/ws\tHTTP/1.1", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1 ", Reason.MALFORMED),
        (b" GET /ws HTTP/1.1", Reason.MALFORMED),
        (b"\r\nGET /ws HTTP/1.1\r\nHost: x", Reason.MALFORMED),
        (b"G(T /ws HTTP/1.1", Reason.MALFORMED),
        (b"GET /ws http/1.1", Reason.MALFORMED),
        (b"GET /ws HTTP/1.10", Reason.MALFORMED),
        (b"GET /ws\rHost: x HTTP/1.1", Reason.MALFORMED),
        (b"GET /ws HTTP/1.0\r\nHost: x", Reason.HTTP_VERSION),
        (b"GET /ws HTTP/2.0\r\nHost: x", Reason.HTTP_VERSION),
        (b"PRI * HTTP/2.0", Reason.HTTP_VERSION),
        (b"GET /ws\n HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET /ws\x1b[31m HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET /ws\x00 HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET /ws\x7f HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET /w\xc3\xa9 HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET /ws#x HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET ws HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET * HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET http://x/ws HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x", Reason.BAD_TARGET),
        (b"GET /ws HTTP/1.1\r\nHost : x", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\n: x\r\nHost: x", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n folded: y", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\tfolded", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nno colon", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nA: b\nC: d", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nA: b\rC: d", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nA: b\x00", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nA: \x1b[31m", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: -1", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2", Reason.MALFORMED),
        (b"GET /ws HTTP/1.1", Reason.BAD_HOST),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nhost: x", Reason.BAD_HOST),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nOrigin: a\r\norigin: a", Reason.TWO_ORIGINS),
    ],
)
def test_syntax(message: bytes, expected: Reason) -> None:
    with pytest.raises(Refusal) as caught:
        parse_request(message)
    assert caught.value.reason is expected


def test_size_limits_are_exact() -> None:
    good = b"GET /ws HTTP/1.1\r\nHost: x\r\nA: "
    assert parse_request(good + b"b" * (MAX_HEAD - len(good))).path == "/ws"
    with pytest.raises(Refusal) as caught:
        parse_request(good + b"b" * (MAX_HEAD - len(good) + 1))
    assert caught.value.reason is Reason.HEAD_TOO_LARGE
    host = b"GET /ws HTTP/1.1\r\nHost: x"
    assert parse_request(host + b"\r\nA: b" * (MAX_HEADERS - 1)).path == "/ws"
    with pytest.raises(Refusal) as caught:
        parse_request(host + b"\r\nA: b" * MAX_HEADERS)
    assert caught.value.reason is Reason.HEAD_TOO_LARGE


def test_values_are_latin_1_and_never_surrogates() -> None:
    parsed = parse_request(b"GET /ws HTTP/1.1\r\nHost: x\r\nA: \xff\x80")
    assert parsed.headers["a"] == ["\xff\x80"]


@pytest.mark.parametrize("path", [*ENDPOINTS, *(f"{path}/" for path in ENDPOINTS)])
def test_endpoints(path: str) -> None:
    names = {"/ws": None} | {f"/ws/{channel.name.lower()}": channel for channel in Channel}
    assert judge(request(path)).channel is names[path.removesuffix("/")]


@pytest.mark.parametrize(
    "path",
    ["/", "//ws", "/ws//", "/ws/telemetry//", "/ws/../ws", "/ws/.", "/%77s", "/ws%2F", "/ws%00", "/WS",
     "/ws/nope", "/wss", "/health/", "/health/ws"],
)  # fmt: skip
def test_other_paths_are_not_found(path: str) -> None:
    assert reason(request(path)) is Reason.NOT_FOUND
    assert reason(request(path, method="POST")) is Reason.NOT_FOUND


def test_health_needs_no_upgrade_but_get_without_a_body() -> None:
    check_request(parse_request(b"GET /health?x HTTP/1.1\r\nHost: x"))
    for message, expected in [
        (b"POST /health HTTP/1.1\r\nHost: x", Reason.METHOD),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1", Reason.BODY),
    ]:
        with pytest.raises(Refusal) as caught:
            check_request(parse_request(message))
        assert caught.value.reason is expected


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get", "X"])
def test_method(method: str) -> None:
    assert reason(request(method=method)) is Reason.METHOD


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("Content-Length: 1", True),
        ("Content-Length: 00020", True),
        (f"Content-Length: {'9' * 5000}", True),
        ("Transfer-Encoding: chunked", True),
        ("Transfer-Encoding:", True),
        ("Content-Length: 0", False),
        ("Content-Length: 000", False),
    ],
)
def test_body(line: str, refused: bool) -> None:
    if refused:
        assert reason(request("/ws", line)) is Reason.BODY
    else:
        assert judge(request("/ws", line)).token is None


@pytest.mark.parametrize(
    ("upgrade", "connection", "good"),
    [
        ("websocket", "Upgrade", True),
        ("WebSocket", "upgrade", True),
        ("websocket", "keep-alive, Upgrade", True),  # Firefox
        ("websocket", "keep-alive ,\tUPGRADE,", True),
        ("h2c, websocket", "Upgrade", True),
        (None, "Upgrade", False),
        ("websocket", None, False),
        ("websocket", "keep-alive", False),
        ("websocket", "xUpgrade", False),
        ("websocket", "keep-alive Upgrade", False),
        ("websockets", "Upgrade", False),
        ("websocket/13", "Upgrade", False),
        ("", "", False),
    ],
)
def test_upgrade(upgrade: str | None, connection: str | None, good: bool) -> None:
    message = request(Upgrade=upgrade, Connection=connection)
    if good:
        assert judge(message).key == KEY
    else:
        assert reason(message) is Reason.NOT_UPGRADE


def test_connection_may_stand_on_two_lines() -> None:
    assert judge(request("/ws", "Connection: keep-alive")).key == KEY
    assert judge(request("/ws", "Connection: upgrade", Connection="close")).key == KEY


@pytest.mark.parametrize("version", ["12", "8", "7", "0", "", "013", "13, 8", "13.0", None])
def test_version(version: str | None) -> None:
    assert reason(request(Sec_WebSocket_Version=version)) is Reason.WEBSOCKET_VERSION


def test_two_versions() -> None:
    assert reason(request("/ws", "Sec-WebSocket-Version: 13")) is Reason.WEBSOCKET_VERSION


@pytest.mark.parametrize(
    "key",
    [None, "", "short==", KEY[:-1], KEY + "=", KEY + " " + KEY, "dGhlIHNhbXBsZSBub25jZ-==", "d" * 24, "=" * 24,
     "\xe9" * 24],
)  # fmt: skip
def test_key(key: str | None) -> None:
    assert reason(request(Sec_WebSocket_Key=key)) is Reason.BAD_KEY


def test_two_keys() -> None:
    assert reason(request("/ws", f"Sec-WebSocket-Key: {KEY}")) is Reason.BAD_KEY


@pytest.mark.parametrize(
    ("origin", "good"),
    [("https://app.example.org", True), (None, True), ("https://evil.net", False), ("", False), ("null", False),
     ("https://app.example.org\xe9", False)],
)  # fmt: skip
def test_origin(origin: str | None, good: bool) -> None:
    message = request(Origin=origin)
    if good:
        assert judge(message, LISTED).key == KEY
    else:
        assert reason(message, LISTED) is Reason.ORIGIN


@pytest.mark.parametrize("origins", [[], ["*"], ["https://app.example.org"]])
def test_an_origin_may_be_required(origins: list[str]) -> None:
    policy = Policy(Origins(origins), require_origin=True)
    assert reason(request(Origin=None), policy) is Reason.NO_ORIGIN
    assert judge(request(Origin="https://app.example.org"), policy).key == KEY


def test_the_first_fault_in_the_order_is_the_answer() -> None:
    """Each step mends the fault that was told."""
    message = (
        b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: short\r\nOrigin: https://evil.net\r\n"
        b"Sec-WebSocket-Protocol: bearer.a, bearer.b"
    )
    for expected, fault, mended in [
        (Reason.NOT_FOUND, b"/nope", b"/ws"),
        (Reason.METHOD, b"POST", b"GET"),
        (Reason.BODY, b"Content-Length: 1", b"Content-Length: 0"),
        (Reason.NOT_UPGRADE, b"h2c", b"websocket"),
        (Reason.WEBSOCKET_VERSION, b"Version: 8", b"Version: 13"),
        (Reason.BAD_KEY, b"short", KEY.encode()),
        (Reason.ORIGIN, b"https://evil.net", b"https://app.example.org"),
        (Reason.TOKEN_CONFLICT, b"bearer.b", b"bearer.a"),
    ]:
        assert reason(message, LISTED) is expected
        message = message.replace(fault, mended)
    assert judge(message, LISTED).token == "a"


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        (["valtronics.v1"], "valtronics.v1"),
        (["valtronics.v1, bearer.T"], "valtronics.v1"),
        (["bearer.T", "graphql-ws,valtronics.v1"], "valtronics.v1"),
        (["graphql-ws"], None),
        (["bearer.T"], None),
        (["Valtronics.v1, \xe9, , valtronics.v12"], None),
        ([], None),
    ],
)
def test_subprotocol(offered: list[str], answered: str | None) -> None:
    upgrade = judge(request("/ws", *(f"Sec-WebSocket-Protocol: {line}" for line in offered)))
    assert upgrade.subprotocol == answered


@pytest.mark.parametrize(
    ("path", "lines", "token"),
    [
        ("/ws", [], None),
        ("/ws", ["Authorization: Bearer T"], "T"),
        ("/ws", ["authorization:  bearer   T "], "T"),
        ("/ws", ["Authorization: Bearer"], ""),
        ("/ws", ["Authorization: Basic dTpw"], None),
        ("/ws", ["Authorization: Basic dTpw", "Authorization: Bearer T"], "T"),
        ("/ws", ["Authorization: Bearer \xe9"], "\xe9"),
        ("/ws", ["Sec-WebSocket-Protocol: valtronics.v1, bearer.a.b.c"], "a.b.c"),
        ("/ws", ["Sec-WebSocket-Protocol: bearer."], ""),
        ("/ws", ["Authorization: Bearer T", "Sec-WebSocket-Protocol: bearer.T"], "T"),
        ("/ws?token=a.b%2Dc&x=1", [], "a.b-c"),
        ("/ws?token=", [], ""),
        ("/ws?token=T", ["Authorization: Bearer T"], "T"),
        ("/ws?tokens=T&%74oken", [], ""),
        ("/ws?Token=T;token=U", [], None),
    ],
)
def test_token(path: str, lines: list[str], token: str | None) -> None:
    assert judge(request(path, *lines), QUERY).token == token


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("/ws", ["Authorization: Bearer A", "Authorization: Bearer B"]),
        ("/ws", ["Authorization: Bearer A", "Sec-WebSocket-Protocol: bearer.B"]),
        ("/ws", ["Sec-WebSocket-Protocol: bearer.A, bearer.B"]),
        ("/ws?token=A", ["Authorization: Bearer B"]),
        ("/ws?token=A&token=B", []),
    ],
)
def test_two_tokens(path: str, lines: list[str]) -> None:
    assert reason(request(path, *lines), QUERY) is Reason.TOKEN_CONFLICT


@pytest.mark.parametrize("query", ["token=T", "x=1&token=T", "token=", "%74%6Fken=T"])
def test_a_token_in_the_query_must_be_allowed(query: str) -> None:
    assert reason(request(f"/ws?{query}")) is Reason.TOKEN_IN_QUERY
    assert judge(request(f"/ws?{query}"), QUERY).token is not None


@pytest.mark.parametrize(
    ("query", "subscribe"),
    [("", True), ("?subscribe=none", False), ("?x=1&subscribe=none&%", False), ("?subscribe=all", True),
     ("?subscribe", True), ("?Subscribe=none", True)],
)  # fmt: skip
def test_subscribe(query: str, subscribe: bool) -> None:
    assert judge(request(f"/ws/alerts{query}")).subscribe is subscribe


def test_extensions_are_not_looked_at() -> None:
    assert judge(request("/ws", "Sec-WebSocket-Extensions: permessage-deflate; x, \xe9")).key == KEY


def test_nothing_secret_is_shown() -> None:
    message = request("/ws?token=SECRET", "Authorization: Bearer SECRET", "Cookie: SECRET")
    upgrade = judge(message, QUERY)
    assert upgrade.token == "SECRET"
    assert "SECRET" not in repr(upgrade) + str(upgrade)


@pytest.mark.parametrize("channel", list(Channel))
def test_scope(channel: Channel) -> None:
    upgrade = judge(request(f"/ws/{channel.name.lower()}"))
    check_scope(upgrade, Grant("u", 2e9, channels=1 << channel))
    with pytest.raises(Refusal) as caught:
        check_scope(upgrade, Grant("u", 2e9, channels=15 & ~(1 << channel)))
    assert caught.value.reason is Reason.FORBIDDEN
    check_scope(judge(request("/ws")), Grant("u", 2e9, channels=0))


HEADS = st.binary(max_size=400) | st.lists(
    st.sampled_from(
        [b"GET ", b"/ws", b"?token=", b" HTTP/1.1", b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"Host: x",
         b"%", b"Origin: https://", b"Content-Length: ", b"0", b"Upgrade: websocket", b"Connection: upgrade",
         b"\xff", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY.encode(), b",",
         b"Authorization: Bearer "]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip


@given(HEADS)
@example(request().removesuffix(b"\r\n\r\n"))
@example(b"GET /ws HTTP/1.1\r\nHost: x\r\nA: " + b" " * (MAX_HEAD - 40) + b"\0")
def test_any_bytes_are_a_request_or_a_refusal(head: bytes) -> None:
    try:
        parsed = parse_request(head)
    except Refusal:
        return
    assert isinstance(parsed, Request)
    assert not set(parsed.path) & set("\r\n\0\t ?#")
    assert parsed.path.isascii()
    assert not any(set(value) & set("\r\n\0") for values in parsed.headers.values() for value in values)
    try:
        check_request(parsed)
        negotiate(parsed, QUERY)
    except Refusal:
        return


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_request_is_a_request_or_a_refusal(changes: list[tuple[int, int]]) -> None:
    head = bytearray(request("/ws/alerts", "Authorization: Bearer T", Origin="https://app.example.org"))
    for place, byte in changes:
        head[place % len(head)] = byte
    with contextlib.suppress(Refusal):
        assert judge(bytes(head), LISTED).key
