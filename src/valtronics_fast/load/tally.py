"""What the clients of a load test have seen, summed up."""

from __future__ import annotations

import time
from collections import Counter

from valtronics_fast.load.histogram import Histogram

__all__ = ["MAX_KINDS", "Tally"]

MAX_KINDS = 100
"""Kinds of errors that are told apart; a server could make up any number of them."""


class Tally:
    """Sums over all clients.

    Attributes:
        metric: the name of the metric that holds when a message was due, in microseconds of the monotonic clock; it is
            this test's alone.
        connecting: seconds from the start of a connection to the end of the WebSocket handshake.
        authenticating: seconds from `auth` until its answer.
        delivering: seconds from when a message of this test was due until a client had it, while `timing`.
        errors: what went wrong, by what it was.
        ready: clients that are connected, authenticated and subscribed.
        timing: whether deliveries are timed: while measuring, and until the last ones have come.
        measuring: whether messages are counted now.
        ending: whether connections are being closed, which is no error.
        seconds: how long was measured.
        messages, octets: data messages that came while measuring, and their bytes.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.connecting = Histogram()
        self.authenticating = Histogram()
        self.delivering = Histogram()
        self.errors: Counter[str] = Counter()
        self.ready = 0
        self.timing = self.measuring = False
        self.seconds = 0.0
        self.ending = False
        self.messages = 0
        self.octets = 0

    def fail(self, what: str) -> None:
        """Count an error, unless the test is ending anyway."""
        if not self.ending:
            known = what in self.errors or len(self.errors) < MAX_KINDS
            self.errors[what if known else "others"] += 1

    def arrived(self, due: int | None, size: int) -> None:
        """Count a data message; `due` is None where it is somebody else's."""
        if self.measuring:
            self.messages += 1
            self.octets += size
        if self.timing and due is not None:
            self.delivering.record(time.monotonic() - due / 1e6)
