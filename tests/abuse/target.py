"""The server under attack: a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import jwt
import orjson
import trustme

from certificates import write_certificate
from interposed import build, preloading
from services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "abuse-secret-0123456789abcdef0123456789abcdef"
API_KEY = "abuse-api-key-0123456789"
ADMIN_KEY = "abuse-admin-key-0123456789abcdef"
ORIGIN = "https://app.example.org"
BAN_AFTER = 20
# The field after which lines of a message are limited apart.
PARTS = {"disconnected": "reason", "handshake ended": "reason", "lines suppressed": "like"}
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
DAY = 86400
SOURCE = Path(__file__).with_name("wall_clock.c")

# Everything that isn't here has its default; `connections` is what a row of 1,000 connections needs beside the good,
# and a quick campaign has a shorter timeout.
SETTINGS = """\
[http]
port = {http_port}
api_key = "{api_key}"
admin_key = "{admin_key}"
[auth]
secret = "{secret}"
[limits]
connections = {connections}
[logging]
format = "json"
[mqtt]
url = "{mqtt_url}"
[server]
port = {port}
compression = true
handshake_timeout = {handshake_timeout}
"""


class Profile(NamedTuple):
    """A way to run the server.

    Attributes:
        name: for people.
        settings: further lines of the configuration, the first of them still in [server].
        proxied: whether clients come through a load balancer, which says whose they are.
        tls: whether the WebSocket port has TLS.
    """

    name: str
    settings: str = ""
    proxied: bool = False
    tls: bool = False


PLAIN = Profile("plain")
PROXIED = Profile(
    "behind a load balancer",
    f"""\
proxy_protocol = true
[security]
trusted_proxies = ["127.0.0.1"]
origins = ["{ORIGIN}"]
ban_after = {BAN_AFTER}
""",
    proxied=True,
)
SECURE = Profile("with TLS", '[tls]\ncertfile = "{directory}/chain.pem"\nkeyfile = "{directory}/key.pem"\n', tls=True)


def token(user: str, *, lifetime: float = 30 * DAY, **claims: object) -> str:
    """Return a token of the server's own secret."""
    return jwt.encode({"sub": user, "exp": int(time.time() + lifetime), **claims}, SECRET, algorithm="HS256")


class Line(NamedTuple):
    """A line of the log.

    Attributes:
        kind: its message, and what lines of the message are limited apart for: a reason, what was suppressed.
        text: all of it.
        routine: whether it is at info.
    """

    kind: str
    text: str
    routine: bool = False


class Target:
    """The server, started and ended by a `with` block.

    Args:
        directory: an empty directory of its own, for the configuration, the log, and with TLS the certificates.
        profile: how it is run.
        mqtt_url: the broker; "": none.
        connections: the setting `limits.connections`.
        handshake_timeout: the setting `server.handshake_timeout`.

    Attributes:
        port, http_port: where it listens.
        profile, connections: as above.
        log: the file that its standard error goes to.
        authority: who signed its certificate.
    """

    def __init__(
        self,
        directory: Path,
        profile: Profile = PLAIN,
        *,
        mqtt_url: str = "",
        connections: int,
        handshake_timeout: float = 5.0,
    ) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.profile = profile
        self.connections = connections
        self.log = directory / "server.log"
        self.authority = trustme.CA()
        self._directory = directory
        self._clock = directory / "wall-clock"
        self._settings = directory / "server.toml"
        self._settings.write_text(
            SETTINGS.format(
                port=self.port,
                http_port=self.http_port,
                api_key=API_KEY,
                admin_key=ADMIN_KEY,
                secret=SECRET,
                connections=connections,
                handshake_timeout=handshake_timeout,
                mqtt_url=mqtt_url,
            )
            + profile.settings.replace("{directory}", str(directory))
        )
        self._library = directory / "wall_clock.so"
        self._process: subprocess.Popen[bytes]
        self._read = 0
        if profile.tls:
            self.renew_certificate()

    def renew_certificate(self) -> None:
        """Write a new certificate, which the server takes when it is told to."""
        write_certificate(self.authority, self._directory)

    def spoil_certificate(self) -> None:
        """Leave half of the certificate's file."""
        chain = self._directory / "chain.pem"
        chain.write_bytes(chain.read_bytes()[:300])

    def __enter__(self) -> Self:
        build(SOURCE, self._library)
        self.set_clock(0)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VFAST_")}
        environ |= {"ABUSE_WALL_CLOCK": str(self._clock), **preloading(self._library)}
        command = [sys.executable, "-m", "valtronics_fast", "--config", str(self._settings)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                if self.ready():
                    return self
            except OSError:
                if not self.alive():
                    break
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def set_clock(self, ahead: float) -> None:
        """Let the server's wall clock be so many seconds ahead of the machine's."""
        self._clock.touch()
        with self._clock.open("r+b") as file:
            file.write(int(ahead * 1e9).to_bytes(8, sys.byteorder, signed=True))

    def alive(self) -> bool:
        """Say whether the process is there."""
        return self._process.poll() is None

    def memory(self) -> int:
        """Return the resident bytes."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many descriptors are open."""
        return sum(1 for _ in Path(f"/proc/{self._process.pid}/fd").iterdir())

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer of the HTTP port."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, headers={"X-API-Key": API_KEY})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return orjson.loads(answer.read())  # type: ignore[no-any-return]

    def ready(self) -> bool:
        """Say whether every part of the server is there, such as its subscriptions at the broker."""
        return bool(self.get("/health/ready")["status"] == "ready")

    def counts(self) -> dict[str, int]:
        """Return how many connections ended in which way so far."""
        stats = self.get("/api/v1/stats")
        named = {f"close {code}": count for code, count in stats["close_codes"].items()}
        named |= {f"refused {reason}": count for reason, count in stats["refused"].items()}
        return named | {f"token {reason}": count for reason, count in stats["auth_failures"].items()}

    def new_lines(self) -> Iterator[Line]:
        """Yield the lines since the last call. The last one may still be written."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            for text in file:
                if not text.endswith(b"\n"):
                    break
                self._read += len(text)
                yield _line(text)


def _line(text: bytes) -> Line:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Line("not JSON", text.decode(errors="replace").rstrip())
    kind = record["message"] + (" (traceback)" if "traceback" in record else "")
    if (field := PARTS.get(kind)) is not None:
        kind = f"{kind}: {record[field]}"
    return Line(kind, text.decode().rstrip(), record["level"] == "info")
