"""The client of the HTTP API, with real servers and with some that are none."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from command_line import no_variables
from harness import running
from services import free_port
from valtronics_fast.commands.api import Api, ApiError, add_credentials, credentials_of
from valtronics_fast.commands.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["no_variables"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Run a server that gives each connection one of these answers to its first bytes, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                sock, _ = listener.accept()
                with sock:
                    sock.recv(65536)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:8001", "ftp://a", "http://", "http://a:x", "http://a:99999", "http://a:0", "http://a/\x1b",
        "http://user:secret@a", "http://a/?token=secret", "http://ä/", "http://[::1",
    ],
)  # fmt: skip
def test_what_is_no_url_of_an_api(url: str) -> None:
    with pytest.raises(ApiError, match=r"^argument --url: must be like http://127\.0\.0\.1:8001 or https:") as caught:
        Api(url)
    assert "secret" not in str(caught.value)


async def test_answers_on_one_connection() -> None:
    async with running() as site:
        api = Api(site.http_url("/"))
        for path, status in (("/health/ready", 200), ("/nothing", 404)):
            answer = await asyncio.to_thread(api.get, path)
            assert answer.status == status
        assert answer.reason() == "the server answers 404 Not Found: not_found (there is nothing at this path)"
        await asyncio.to_thread(api.close)


def test_a_connection_that_the_server_has_closed_is_opened_again() -> None:
    with answering(OK, OK) as url, closing(Api(url)) as api:
        assert [api.get("/").status for _ in range(2)] == [200, 200]


def test_a_path_in_front_of_the_api() -> None:
    heard = b""

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            nonlocal heard
            sock, _ = listener.accept()
            with sock:
                heard = sock.recv(65536)
                sock.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        with closing(Api(f"http://127.0.0.1:{listener.getsockname()[1]}/a/", {"X-API-Key": b"k\xc3\xa9y"})) as api:
            assert api.get("/health/ready").body == {}
        thread.join()
    assert heard.startswith(b"GET /a/health/ready HTTP/1.1\r\n")
    assert b"\r\nX-API-Key: k\xc3\xa9y\r\n" in heard


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "the answer is not HTTP"),
    ],
)
def test_answers_that_are_none(answer: bytes, told: str) -> None:
    with answering(answer) as url, pytest.raises(ApiError) as caught:
        Api(url).get("/")
    assert str(caught.value) == f"{url}: {told}"


def test_what_is_no_json_object_is_empty() -> None:
    answers = [OK.replace(b"2\r\n\r\n{}", b"3\r\n\r\n" + text) for text in (b"[1]", b"{{{", b"\xff\xff\xff")]
    with answering(*answers) as url, closing(Api(url)) as api:
        assert [api.get("/").body for _ in range(3)] == [{}] * 3


@pytest.mark.parametrize(
    ("header", "seconds"), [(b"7", 7.0), (b"Fri, 31 Dec 1999 23:59:59 GMT", 0.0), (b"9" * 30, 0.0), (b"-1", 0.0)]
)
def test_retry_after(header: bytes, seconds: float) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nRetry-After: " + header + b"\r\n\r\n")
    with answering(answer) as url, closing(Api(url)) as api:
        assert api.get("/").retry_after == seconds


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ApiError, match=r": Connection refused$"):
        Api(url).get("/")
    for scheme in ("http", "https"):
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            pytest.raises(ApiError, match=r": no answer within 0\.2 s$"),
        ):
            Api(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2).get("/")


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(
    ("arguments", "variables", "headers"),
    [
        ([], {}, {}),
        (["--key", "ké"], {}, {"X-API-Key": "ké".encode()}),
        (["--token", "a.b.c"], {}, {"Authorization": b"Bearer a.b.c"}),
        (["--token", "a.b.c", "--key", "k"], {}, {"X-API-Key": b"k"}),
        ([], {"VALTRONICS_TOKEN": "v", "VALTRONICS_API_KEY": "k"}, {"X-API-Key": b"k"}),
        (["--token", "a.b.c"], {"VALTRONICS_API_KEY": "k"}, {"Authorization": b"Bearer a.b.c"}),
    ],
)
def test_who_is_asking(
    arguments: list[str], variables: dict[str, str], headers: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    parser = Parser(prog="x")
    add_credentials(parser)
    assert credentials_of(parser, parser.parse_args(arguments)) == headers


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("arguments", [["--key", "secret\r\nX: y"], ["--token", "secret token"]])
def test_what_is_no_key_or_token(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="x")
    add_credentials(parser)
    with pytest.raises(SystemExit):
        credentials_of(parser, parser.parse_args(arguments))
    assert "secret" not in capsys.readouterr().err
