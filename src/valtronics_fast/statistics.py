"""The server's figures: totals over the connections that are gone, summed up with those that are there."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from valtronics_fast._core.wire import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from valtronics_fast._core.census import Census
    from valtronics_fast._core.connection import Connection
    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.base import Backplane
    from valtronics_fast.producers.base import Producer

__all__ = ["Statistics", "figures_of_hub", "figures_of_parts", "states_of_parts"]


_UNBOUNDED = 1 << 62
"""No bound of bytes is so high; what has none is told as 0."""


def figures_of_hub(hub: Hub) -> dict[str, object]:
    """Return the figures of a hub and what belongs to it, by the names of docs/http-api.md."""
    commands, errors = hub.commands_and_errors()
    turn = hub.turn
    return {
        "channels": hub.stats(),
        "commands": commands,
        "errors": errors,
        "turns": {"flushes": turn.flushes, "writes": turn.writes, "refused": turn.refused},
        "fanout": turn.latency.figures(),
        "slow_readers": {
            "behind": hub.behind,
            "queued_bytes": turn.backlog,
            "limit": hub.max_backlog if hub.max_backlog < _UNBOUNDED else 0,
            "closed_for_others": hub.sacrificed,
        },
        "latest": {
            name: table.figures() for name, table in zip(CHANNELS, hub.latest, strict=True) if table is not None
        },
        "history": {name: history.stats() for name, history in zip(CHANNELS, hub.histories, strict=True)},
        "index": hub.index.stats(),
    }


def figures_of_parts(producers: Sequence[Producer], backplane: Backplane) -> dict[str, object]:
    """Return the figures of what brings data in, by the names of docs/http-api.md."""
    return {
        "producers": {each.name: {"ready": each.ready(), **each.stats()} for each in producers},
        "backplane": {"name": backplane.name, "ready": backplane.ready(), **backplane.stats()},
    }


def states_of_parts(producers: Sequence[Producer], backplane: Backplane) -> dict[str, str]:
    """Return for each of them whether it is "ok" or "degraded"."""
    states = {each.name: each.ready() for each in producers} | {"backplane": backplane.ready()}
    return {name: "ok" if ready else "degraded" for name, ready in states.items()}


class Statistics:
    """Counts connections and what went through them (the API's connection monitoring).

    Attributes:
        close_codes: connections that ended, by close code.
        auth_failures: refused tokens of WebSocket clients, by reason.
        http_auth_failures: refused credentials of HTTP requests, by reason.
    """

    def __init__(self) -> None:
        self.close_codes: Counter[int] = Counter()
        self.auth_failures: Counter[str] = Counter()
        self.http_auth_failures: Counter[str] = Counter()
        self._started = time.monotonic()
        self._total = 0
        self._duration = 0.0
        self._messages_in = self._messages_out = self._bytes_in = self._bytes_out = self._dropped = 0

    def opened(self) -> None:
        """Count a new connection."""
        self._total += 1

    def closed(self, connection: Connection) -> None:
        """Add up what a connection leaves behind."""
        self.close_codes[connection.close_code] += 1
        self._duration += connection.age
        self._messages_in += connection.messages_in
        self._messages_out += connection.messages_out
        self._bytes_in += connection.bytes_in
        self._bytes_out += connection.bytes_out
        self._dropped += connection.dropped

    def totals(self, active: Census) -> dict[str, object]:
        """Return the figures; durations in seconds, averages over all connections since the start."""
        total = self._total
        duration = self._duration + active["age"]
        received = self._messages_in + active["messages_in"]
        sent = self._messages_out + active["messages_out"]
        return {
            "uptime": round(time.monotonic() - self._started, 3),
            "total_connections": total,
            "active_connections": active["connections"],
            "messages_received": received,
            "messages_sent": sent,
            "bytes_received": self._bytes_in + active["bytes_in"],
            "bytes_sent": self._bytes_out + active["bytes_out"],
            "messages_dropped": self._dropped + active["dropped"],
            "average_connection_duration": round(duration / total, 3) if total else 0.0,
            "messages_per_connection": round((received + sent) / total, 3) if total else 0.0,
            "queues": active["queues"],
            "close_codes": {str(code): count for code, count in sorted(self.close_codes.items())},
            "auth_failures": dict(sorted(self.auth_failures.items())),
            "http_auth_failures": dict(sorted(self.http_auth_failures.items())),
        }
