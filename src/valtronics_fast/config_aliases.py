"""The variables that a deployment of the Valtronics platform has already, and the settings that they stand for.

They are the weakest source. What they hold was written for the platform, so it is read as the platform reads it,
and where another source says something about the same, nobody looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ALIASES", "VARIABLES", "Alias"]

_LEVELS: Final = {"critical": "error", "fatal": "error", "warn": "warning", "notset": "debug"}


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the platform, or several for one setting.

    Attributes:
        variables: their names; without the first one, or with an empty one, the others say nothing.
        key: the setting, `section.name`.
        meaning: how the value becomes that of the setting, for the reference page.
        read: turns the values that are not empty, by name, into the text of a VFAST_ variable. Raises
            ValueError("must ...").
        rivals: other settings that say the same; with one of them this alias is not looked at.
    """

    variables: tuple[str, ...]
    key: str
    meaning: str
    read: Callable[[Mapping[str, str]], str]
    rivals: tuple[str, ...] = ()

    def find(self, environ: Mapping[str, str]) -> tuple[dict[str, str], str] | None:
        """Return the values that are there, and their origin for messages; None: the alias says nothing."""
        given = {name: environ[name] for name in self.variables if environ.get(name)}
        if self.variables[0] not in given:
            return None
        return given, f"alias {', '.join(given)}"


def _alias(
    variable: str, key: str, meaning: str, read: Callable[[str], str] = str, *, rivals: tuple[str, ...] = ()
) -> Alias:
    """Return the alias of one variable."""
    return Alias(
        variables=(variable,), key=key, meaning=meaning, read=lambda given: read(given[variable]), rivals=rivals
    )


def _read_level(text: str) -> str:
    """Read a level of Python's logging; this server tells nothing that is worse than an error."""
    level = text.strip().lower()
    return _LEVELS.get(level, level)


def _read_format(text: str) -> str:
    """Read a format as the platform does, to which all but json is text."""
    return "json" if text.strip().lower() == "json" else "text"


def _read_hosts(text: str) -> str:
    """Read the origins of web pages; the platform means nobody by an empty list, and this server everybody."""
    if not text.strip(" \t[],"):
        raise ValueError("must name an origin when it is set: an empty list would let all in, and not none")
    return text


def _read_broker(given: Mapping[str, str]) -> str:
    """Put the URL of a broker together out of host, port, user and password."""
    host, port, user, password = (given.get(name, "") for name in _BROKER)
    if port.startswith("tcp://"):
        port = ""  # what Kubernetes sets for a service of the name mqtt-broker
    person = f"{_quote(user)}:{_quote(password)}@" if user and password else ""
    host = f"[{host.strip('[] ')}]" if host.count(":") > 1 else host.strip()
    return f"mqtt://{person}{host}" + (f":{port.strip()}" if port else "")


def _quote(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")


_BROKER = ("MQTT_BROKER_HOST", "MQTT_BROKER_PORT", "MQTT_USERNAME", "MQTT_PASSWORD")

ALIASES: Final = (
    _alias(
        "SECRET_KEY",
        "auth.secret",
        "As it is. A placeholder or a short one is refused here; the platform takes it.",
        rivals=("auth.public_key_file", "auth.jwks_url"),
    ),
    _alias("ALGORITHM", "auth.algorithms", "The one algorithm."),
    _alias(
        "REDIS_URL",
        "backplane.url",
        "As it is (see below). It needs `pip install 'valtronics-fast[redis]'`.",
    ),
    Alias(
        variables=_BROKER,
        key="mqtt.url",
        meaning="`mqtt://user:password@host:port`. User and password count only together, and none of them without "
        "the host. TLS needs `mqtt.url` itself.",
        read=_read_broker,
    ),
    _alias("WS_HEARTBEAT_INTERVAL", "server.ping_interval", "Seconds."),
    _alias(
        "LOG_LEVEL",
        "logging.level",
        "In any case of letters; CRITICAL is `error`, and NOTSET `debug`.",
        _read_level,
    ),
    _alias("LOG_FORMAT", "logging.format", "json is `json`, and all else `text`, as for the platform.", _read_format),
    _alias(
        "ALLOWED_HOSTS",
        "security.origins",
        "The platform allows these origins to use its HTTP API from web pages (CORS). Here they may open WebSockets, "
        "and pages of other origins may not. An empty list is refused: it would let all in, and not none.",
        _read_hosts,
    ),
)
"""Every alias; the names and their meaning are those of the platform's `.env.example` and `app/core/config.py`."""

VARIABLES: Final = tuple(name for alias in ALIASES for name in alias.variables)
