"""A client of the HTTP API (docs/http-api.md) for the commands: one request after the other, on one connection.

No text that it makes holds a key, a token, or the part of a URL that may hold one.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from valtronics_fast.commands.parsing import KEY_VARIABLE, PROGRAM, TOKEN_FORM, TOKEN_VARIABLE, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from valtronics_fast.commands.parsing import Parser

__all__ = ["TIMEOUT", "Answer", "Api", "ApiError", "add_credentials", "credentials_of"]

TIMEOUT: Final = 30.0
"""Seconds that a server may take to answer."""

MAX_ANSWER: Final = 16 << 20
"""Bytes of an answer."""


class ApiError(Exception):
    """There is no answer, or none of this API; the text says why."""


class Answer(NamedTuple):
    """An answer.

    Attributes:
        status: of HTTP.
        body: the JSON object; empty when it is none.
        retry_after: seconds after which the server wants to be asked again; 0: it does not say.
    """

    status: int
    body: dict[str, Any]
    retry_after: float

    def reason(self) -> str:
        """Say for people what the server refuses."""
        error, message = self.body.get("error"), self.body.get("message")
        phrase = http.client.responses.get(self.status, "")
        told = f": {error} ({message})" if error and message else ""
        return printable(f"the server answers {self.status} {phrase}".rstrip() + told)


class Api:
    """An HTTP API.

    Args:
        url: http://host:port, or https, with a path in front of those of the API where a proxy has put one.
        headers: of every request.
        timeout: seconds.

    Attributes:
        url: as it may be shown.

    Raises:
        ApiError: the URL is none.
    """

    def __init__(self, url: str, headers: Mapping[str, bytes] | None = None, *, timeout: float = TIMEOUT) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _bad_url() from None
        bad = parts.username or parts.password or parts.query or parts.fragment or port == 0 or not url.isprintable()
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii() or bad:
            raise _bad_url()
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._path = parts.path.rstrip("/")
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(parts.hostname, port, timeout=timeout, context=context)
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Send a request, with a body in JSON if there is one, and return the answer.

        Raises:
            ApiError: there is none.
        """
        headers: dict[str, str | bytes] = {"Accept": "application/json", **self._headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._drop_if_closed()
        # The server may close it just now; to ask for something once more does no harm, to publish it may.
        again = method == "GET" and self._connection.sock is not None
        try:
            try:
                found = self._request(method, path, body, headers)
            except ConnectionError:
                if not again:
                    raise
                self._connection.close()
                found = self._request(method, path, body, headers)
            text = found.read(MAX_ANSWER)
            if not found.isclosed():
                raise http.client.IncompleteRead(text)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ApiError(f"{self.url}: {_reason(error, self._timeout)}") from None
        return Answer(found.status, _object(text), _seconds(found.getheader("Retry-After", "")))

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str | bytes]
    ) -> http.client.HTTPResponse:
        self._connection.request(method, self._path + path, body, headers)
        return self._connection.getresponse()

    def get(self, path: str) -> Answer:
        """Return the answer to a GET; ApiError when there is none."""
        return self.ask("GET", path)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._connection.close()

    def _drop_if_closed(self) -> None:
        """Notice that the server has closed the connection since the last answer: nothing else makes it readable."""
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()


def _bad_url() -> ApiError:
    return ApiError("argument --url: must be like http://127.0.0.1:8001 or https://server.example")


def _reason(error: Exception, timeout: float) -> str:
    """Say why there is no answer."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if not isinstance(error, OSError) or not error.errno:
        return "the answer is not HTTP"
    return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # negative: of the resolver


def _object(text: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(text: str) -> float:
    """Read the number of Retry-After; a date there is as good as nothing."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say who is asking."""
    parser.add_argument("--token", metavar="TOKEN", help=f"a token (${TOKEN_VARIABLE})")
    parser.add_argument("--key", metavar="KEY", help=f"a key of the server (${KEY_VARIABLE}); it comes first")


def credentials_of(parser: Parser, options: argparse.Namespace) -> dict[str, bytes]:
    """Return the headers for the key or the token of the flags, or else of the variables; empty without any."""
    key, token = options.key, options.token
    if not key and not token:
        key, token = os.environ.get(KEY_VARIABLE), os.environ.get(TOKEN_VARIABLE)
    if key:
        raw: bytes = key.encode("utf-8", "surrogateescape")
        if any(byte < 0x20 or byte == 0x7F for byte in raw):
            parser.error(f"argument --key: must have no control characters; so must ${KEY_VARIABLE}")
        return {"X-API-Key": raw}
    if token and not TOKEN_FORM.fullmatch(token):
        parser.error(f"argument --token: must be a token, as `{PROGRAM} token` prints it; so may ${TOKEN_VARIABLE}")
    return {"Authorization": f"Bearer {token}".encode()} if token else {}
