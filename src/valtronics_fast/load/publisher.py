"""The publisher of a load test: messages over HTTP at a steady rate, each of which says when it was due."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.load.tally import Tally

__all__ = ["MAX_DEVICES", "MAX_RATE", "Publisher"]

TIMEOUT = 30.0
"""Seconds that a server may take to answer."""

TICK = 0.01
"""Seconds between two requests; what is due goes together."""

MAX_RATE = 100_000
MAX_DEVICES = 100_000

MAX_TOGETHER = 2000
"""Messages of a request: where the server is slower, what is due waits, and is late."""


class Publisher:
    """Publishes telemetry of made-up devices (`bench-0`, `bench-1`, ...) until it is stopped.

    A message has the time at which it was due, and not that of its request: a server that takes messages late delivers
    them late, and so does a client that sends them late.

    Args:
        url: of the HTTP API.
        headers: with the key or the token.
        rate: messages a second.
        devices: how many devices take turns.
        tally: takes the errors, and has the name of the metric.

    Attributes:
        sent, accepted, matched, rejected: messages, and the sums of the server's answers.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, rate: float, devices: int, tally: Tally) -> None:
        self.sent = self.accepted = self.matched = self.rejected = 0
        self._url = f"{url}/api/v1/publish"
        self._headers = {**headers, "Content-Type": "application/json"}
        self._rate = rate
        self._devices = devices
        self._tally = tally
        self._next = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more; `run` returns with the answer to what was sent last."""
        self._stopping.set()

    async def run(self) -> None:
        """Publish until `stop`."""
        began = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            while not self._stopping.is_set():
                until = int((time.monotonic() - began) * self._rate) + 1
                if messages := self._due(began, min(until - self._next, MAX_TOGETHER)):
                    await self._post(session, messages)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(TICK, began + self._next / self._rate - time.monotonic())):
                        await self._stopping.wait()

    def _due(self, began: float, count: int) -> list[dict[str, Any]]:
        """Return the messages that come next."""
        messages = []
        for number in range(self._next, self._next + max(count, 0)):
            due = int((began + number / self._rate) * 1e6)
            device = f"bench-{number % self._devices}"
            messages.append(
                {"type": "telemetry_update", "device_id": device, "telemetry": {self._tally.metric: {"value": due}}}
            )
        self._next += len(messages)
        return messages

    async def _post(self, session: aiohttp.ClientSession, messages: list[dict[str, Any]]) -> None:
        """Send messages, and add the answer up."""
        self.sent += len(messages)
        try:
            async with session.post(self._url, data=orjson.dumps({"messages": messages})) as response:
                status, text = response.status, await response.read()
        except TimeoutError:
            self._tally.fail("publishing: no answer")
            return
        except (aiohttp.ClientError, OSError):
            self._tally.fail("publishing: no connection")
            return
        if status not in {200, 422}:
            self._tally.fail(f"publishing: HTTP {status}")
        try:
            answer = orjson.loads(text)
        except orjson.JSONDecodeError:
            answer = None
        if isinstance(answer, dict):
            self.accepted += _count(answer, "accepted")
            self.matched += _count(answer, "matched")
            self.rejected += _count(answer, "rejected_total")


def _count(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    return value if isinstance(value, int) else 0
