"""Whatever a stranger sends, each log line stays one line, harmless on a terminal, and valid UTF-8.

The limits on lines are off here, so that nothing hides behind them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import re
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from front_server import PATIENCE, Answer, frame, request
from harness import SECRET, configuration
from tokens import token as signed
from valtronics_fast import Server
from valtronics_fast.logging import JsonFormatter, RateLimitFilter, TextFormatter, _Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

START = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+: |    ")
HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

CHARACTERS = st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]) | st.sampled_from("ab\"'\\=%{}\r\n\x1b[ ")
FORGED = "\r\n2024-01-01T12:00:00.000Z INFO forged: line"
NASTY = st.text(CHARACTERS, max_size=40) | st.sampled_from([FORGED, "\x1b]0;title\x07", "%s%n%(x)s", "{0.__class__}"])
PLACES = (
    "path", "query", "method", "name", "Origin", "Host", "Authorization", "X-Forwarded-For", "Forwarded", "User-Agent",
    "Sec-WebSocket-Protocol", "Sec-WebSocket-Key", "Upgrade", "X-API-Key", "X-Request-ID",
)  # fmt: skip


class Lines(logging.Handler):
    """Keeps every line in both forms, with the fields that a server's own handler adds."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.addFilter(_Origin(3))
        self.written: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append((TextFormatter().format(record), JsonFormatter().format(record)))

    def check(self) -> int:
        """Assert that all is harmless; return how many lines there were, and forget them."""
        written, self.written = self.written, []
        for text, as_json in written:
            text.encode()
            for line in text.split("\n"):
                assert START.match(line), line
                assert not HARMFUL.search(line), line
            assert not HARMFUL.search(as_json.encode().decode())
            for value in json.loads(as_json).values():
                # A traceback's lines may end; they are escaped one by one.
                assert not isinstance(value, str) or not HARMFUL.search(value.replace("\n", "")), value
        return len(written)


class Site:
    """A whole server on a thread of its own, with every line that is logged meanwhile."""

    def __init__(self, **sections: Any) -> None:
        self.lines = Lines()
        self._sections = sections
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Server(configuration(**self._sections)) as self.server:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._root, self._package = logging.getLogger(), logging.getLogger("valtronics_fast")
        self._root.addHandler(self.lines)
        self._level = self._package.level
        self._package.setLevel(logging.DEBUG)
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._root.removeHandler(self.lines)
        self._package.setLevel(self._level)

    def send(self, message: bytes, *, port: int = 0, behind: bytes = b"") -> None:
        """Send a request, and what is to come behind an upgrade; wait until the server has done with it."""
        address = ("127.0.0.1", port or self.server.port)
        with contextlib.suppress(OSError), socket.create_connection(address, PATIENCE) as one:
            one.sendall(message)
            one.settimeout(PATIENCE)
            if behind and Answer(one).status == 101:
                one.sendall(behind + frame(b"\x03\xe8", opcode=8))
            else:
                one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RateLimitFilter, "filter", lambda *_: True)
        off = {"connection_rate": 0, "messages_per_second": 0}
        trusted = {"trusted_proxies": ["127.0.0.1"], "origins": ["https://app.example.org"]}
        key, every = {"api_key": "key-of-the-operator"}, {"messages": 1}
        with Site(limits=off, security=trusted, http=key, auth={"attempts": 0}, logging=every) as site:
            yield site


def raw(text: str) -> bytes:
    """Return a text as a client that knows no rules sends it."""
    return text.encode("utf-8", "surrogatepass")


def test_the_check_finds_what_is_harmful() -> None:
    lines = Lines()
    logging_record = logging.LogRecord("valtronics_fast.x", logging.INFO, "", 0, "a\nb %s", ("\x1b",), None)
    lines.emit(logging_record)
    assert lines.check() == 1
    lines.written.append(("2024-01-01T12:00:00.000Z INFO x: a\nb", "{}"))
    with pytest.raises(AssertionError):
        lines.check()


@settings(max_examples=200)
@given(NASTY, st.sampled_from(PLACES))
@example("\r\nX: y", "X-Forwarded-For")
def test_requests(site: Site, text: str, place: str) -> None:
    good, hurt = request().removesuffix(b"\r\n"), raw(text)
    message = {
        "path": good.replace(b"/ws", b"/ws" + hurt, 1),
        "query": good.replace(b"/ws", b"/ws?token=" + hurt, 1),
        "method": hurt + good,
        "name": good + hurt + b": x\r\n",
    }.get(place, good + place.encode() + b": " + hurt + b"\r\n")
    site.send(message + b"\r\n")
    for_stats = message.replace(b"GET /ws", b"GET /api/v1/stats")
    site.send(for_stats + b"Connection: close\r\n\r\n", port=site.server.http_port)
    for_stats = request("/api/v1/stats").removesuffix(b"\r\n") + b"X-Request-ID: " + hurt + b"\r\n"
    site.send(for_stats + b"Connection: close\r\n\r\n", port=site.server.http_port)
    site.lines.check()


@settings(max_examples=150)
@given(st.lists(NASTY, min_size=8, max_size=8), st.booleans())
@example(["\r\nforged", "\x1b[2J", "\u202e", "\u2028", "%s", "\x00", "\x7f", "\x9b"], True)
def test_messages(site: Site, texts: list[str], known: bool) -> None:
    kind, channel, token, device, severity, report, number, metric = texts
    commands: list[dict[str, object]] = [
        {"type": "auth", "token": token},
        {"type": kind, "id": number},
        {"type": "auth", "token": signed({"sub": "alice" + device, "exp": 4e9}, key=SECRET.encode())},
        {"type": "subscribe", "channel": channel, "id": number},
        {"type": "subscribe", "channel": "alerts", "severity": severity, "device_id": device, "id": number},
        {"type": "subscribe", "channel": "telemetry", "filters": {metric: metric}, "metrics": [metric]},
        {"type": "error_report", "error": report, "data": {report: report}},
        {"type": "publish", "message": {"type": kind, "device_id": device}},
    ]
    if known:
        commands.insert(0, {"type": "auth", "token": signed({"sub": "alice", "exp": 4e9}, key=SECRET.encode())})
    behind = b"".join(frame(json.dumps(each, ensure_ascii=known).encode("utf-8", "replace")) for each in commands)
    site.send(request(Origin=None), behind=behind + frame(raw(report)))
    assert site.lines.check() > 0


@settings(max_examples=60)
@given(NASTY, NASTY)
def test_tokens_of_the_handshake_and_their_subjects(site: Site, text: str, header: str) -> None:
    claims = {"sub": text, "exp": 4e9}
    key = SECRET.encode()
    for token in (signed(claims, key=key), signed(header={"kid": header, "alg": header}, key=key)):
        site.send(request("/ws/alerts", f"Authorization: Bearer {token}"), behind=frame(b'{"type":"ping"}'))
    jumble = base64.b64encode(raw(text)).decode()
    site.send(request("/ws", f"Authorization: Basic {jumble}", "X-Forwarded-For: 192.0.2.3"))
    assert site.lines.check() > 0


@settings(max_examples=60)
@given(NASTY)
def test_headers_of_the_proxy_protocol(text: str) -> None:
    with proxied() as site:
        hurt = raw(text)
        for header in (b"PROXY UNKNOWN " + hurt + b"\r\n", b"PROXY TCP4 " + hurt + b" 1.2.3.4 1 2\r\n", hurt):
            site.send(header + request("/nope"))
        site.lines.check()


@contextlib.contextmanager
def proxied() -> Iterator[Site]:
    with Site(server={"proxy_protocol": True}, security={"trusted_proxies": ["127.0.0.1"]}) as site:
        yield site
