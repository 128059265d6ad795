"""Which web pages may open a WebSocket here (RFC 6454; RFC 6455, section 10.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Origins"]

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::([1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}


class Origins:
    """The origins whose pages may connect (`security.origins`).

    Args:
        entries: `https://host[:port]`, `https://*.example.org[:port]` (its sub-domains, not itself), `null`
            or `*`; none at all allows any, as `*` does.

    Raises:
        ValueError: an entry is none of these.
    """

    __slots__ = ("_allow_any", "_domains", "_exact")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        exact: set[str | tuple[str, str, str]] = set()
        domains: list[tuple[str, str, str]] = []
        for entry in (listed := tuple(entries)):
            match = _ORIGIN.fullmatch(entry.lower())
            if entry in {"*", "null"}:
                exact.add(entry)
            elif match is None:
                raise ValueError(f"{entry!r} is none of https://host[:port], https://*.host[:port], null, *")
            elif match[2]:
                domains.append((match[1], "." + match[3], _port(match)))
            else:
                exact.add((match[1], match[3], _port(match)))
        self._allow_any = not listed or "*" in exact
        self._exact = frozenset(exact)
        self._domains = tuple(domains)

    def allow(self, origin: str) -> bool:
        """Say whether a page of this origin may connect. Scheme, host and port are compared, never text."""
        if not origin.isascii():
            return False
        if self._allow_any or (origin == "null" and origin in self._exact):
            return True
        match = _ORIGIN.fullmatch(origin.lower())
        if match is None or match[2]:
            return False
        scheme, host, port = match[1], match[3], _port(match)
        return (scheme, host, port) in self._exact or any(
            scheme == allowed and host.endswith(domain) and port == allowed_port
            for allowed, domain, allowed_port in self._domains
        )


def _port(match: re.Match[str]) -> str:
    """Return the port of an origin, "" where its scheme has no default one."""
    return match[4] or _DEFAULT_PORTS.get(match[1], "")
