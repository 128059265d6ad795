"""The dashboard of the HTTP port: its files, what a page has to know, and the token of a demo (docs/dashboard.md).

The files are read once and served from memory under names that are known beforehand, so that no path of a request
ever reaches the file system. They hold no data: whatever the page shows, it asks for with a token.
"""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

import valtronics_fast
from valtronics_fast._core.wire import CHANNELS, ERROR_NAMES, ErrorCode
from valtronics_fast.addresses import is_loopback
from valtronics_fast.config_checks import SECRET_BYTES
from valtronics_fast.http_guard import is_local, named_host
from valtronics_fast.http_listener import HEADERS, HttpError, json_answer
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from valtronics_fast.config import Config

    Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

__all__ = ["DEMO_TOKEN_LIFETIME", "Dashboard", "load_files"]

DEMO_TOKEN_LIFETIME: Final = 300.0
"""Seconds that the token of a demo is good for; the page asks for the next one in time."""

_PAGE: Final = "index.html"
_CHARTS: Final = "vendor/uPlot.esm.js"
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Nothing from elsewhere, nothing inline, nothing that makes markup or code out of text.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_FILE_HEADERS: Final = HEADERS | {
    "Cache-Control": "no-cache",  # kept, and asked for each time whether it is still the same
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Encoding",
}
_URL: Final = re.compile(r"(wss?://[^/]+)/.*")


class File(NamedTuple):
    """A file of the page: its bytes as they are and compressed, with the name of this version of it."""

    content_type: str
    body: bytes
    packed: bytes
    tag: str


def load_files() -> dict[str, File]:
    """Read the files of the page, by their path below the folder.

    An editable installation has two places of the package: its sources, and where the build puts what it made.
    """
    files: dict[str, File] = {}
    for place in valtronics_fast.__path__:
        folder = Path(place) / "dashboard"
        for path in sorted(folder.rglob("*")):
            if path.suffix in _TYPES and path.is_file():
                body = path.read_bytes()
                name = path.relative_to(folder).as_posix()
                packed = gzip.compress(body, 9, mtime=0)
                files[name] = File(_TYPES[path.suffix], body, packed, sha256(body).hexdigest()[:20])
    return files


class Dashboard:
    """Serves the page and what belongs to it.

    Args:
        config: returns the settings in force.
        host: the address that the WebSocket port listens on.
        port: that port.
        http_host: the address that the HTTP port listens on.

    Attributes:
        routes: what it serves, by path and method.
    """

    def __init__(self, config: Callable[[], Config], *, host: str, port: int, http_host: str) -> None:
        self._config = config
        self._host = host
        self._port = port
        self._http_host = http_host
        self._files = load_files()
        self.routes: dict[str, dict[str, Handler]] = {
            f"/dashboard/{name}": {"GET": self._get_file} for name in self._files if name != _PAGE
        }
        self.routes["/dashboard/config.json"] = {"GET": self._get_config}
        self.routes["/dashboard/demo-token"] = {"POST": self._post_demo_token}

    def wanted(self, request: web.BaseRequest) -> bool:
        """Say whether who asks for `/` is a browser: programs get JSON."""
        return "text/html" in request.headers.get("Accept", "")

    def page(self, request: web.BaseRequest) -> web.Response:
        """Answer with the page itself."""
        return self._answer(request, self._files[_PAGE])

    async def _get_file(self, request: web.BaseRequest) -> web.Response:
        return self._answer(request, self._files[request.path.removeprefix("/dashboard/").rstrip("/")])

    def _answer(self, request: web.BaseRequest, file: File) -> web.Response:
        """Answer with a file, or with 304 where the browser has it."""
        packed = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        tag = f"{file.tag}-gzip" if packed else file.tag
        headers = {**_FILE_HEADERS, "ETag": f'"{tag}"', "Content-Security-Policy": self._policy(request)}
        if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        body = file.packed if packed else file.body
        return web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=headers)

    async def _get_config(self, request: web.BaseRequest) -> web.Response:
        """Answer what the page has to know before anybody has signed in; it is no secret."""
        answer = {
            "websocket": self._websocket(request),
            "demo": self._mints() and is_local(request),
            "charts": _CHARTS in self._files,
        }
        return json_answer(200, answer)

    async def _post_demo_token(self, request: web.BaseRequest) -> web.Response:
        """Hand out a token that may see everything, to a page of ours in a browser on this machine, in a demo alone.

        The page of somebody else is told apart by its Origin, also when its name has come to mean this machine (DNS
        rebinding): then the name is not one of this machine's own.
        """
        if not self._mints():
            raise HttpError(404, "not_found", "there is nothing at this path")
        own = f"http://{request.headers.get('Host')}"
        if not is_local(request) or request.headers.get("Origin") != own:
            raise HttpError(403, ERROR_NAMES[ErrorCode.FORBIDDEN], "this is for the dashboard on this machine alone")
        auth = self._config().auth
        token = mint(auth, "dashboard", channels=CHANNELS, devices="*", monitor=True, expires=DEMO_TOKEN_LIFETIME)
        return json_answer(200, {"token": token, "expires_in": DEMO_TOKEN_LIFETIME})

    def _mints(self) -> bool:
        """Say whether this is a demo whose tokens are signed with a secret that is here."""
        config = self._config()
        return config.demo and bool(config.auth.secret) and config.auth.algorithms[0] in SECRET_BYTES

    def _websocket(self, request: web.BaseRequest) -> str:
        """Return the URL of the WebSocket port as this browser reaches it, or a path on the page's own origin."""
        config = self._config()
        if config.http.websocket_url:
            return config.http.websocket_url
        shared = self._host in {"0.0.0.0", "::", self._http_host}  # noqa: S104
        shared = shared or (is_loopback(self._host) and is_loopback(self._http_host))
        host = (shared and named_host(request)) or self._host
        scheme = "wss" if config.tls.certfile else "ws"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}/ws"

    def _policy(self, request: web.BaseRequest) -> str:
        url = _URL.fullmatch(self._websocket(request))
        if url is not None:
            return _POLICY.format(f" {url[1]}")
        host = named_host(request)  # not every browser takes WebSockets of the same origin for 'self'
        if not host:
            return _POLICY.format("")
        authority = request.headers["Host"]
        return _POLICY.format(f" ws://{authority} wss://{authority}")
