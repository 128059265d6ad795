"""Figures of this host and this process, from psutil, as `system_status_update` messages.

| metric | unit | what it is |
| --- | --- | --- |
| `cpu_usage` | % | of all cores, since the previous message |
| `memory_usage` | % | of the physical memory, what can't be given to a new process |
| `disk_usage` | % | of the file system that holds `/`, as an unprivileged user sees it |
| `active_connections` | | open WebSocket connections |
| `messages_per_second` | 1/s | data messages sent to clients, since the previous message |
| `load_1m` `load_5m` `load_15m` | | processes that run or wait to, averaged |
| `network_in_bytes_per_second` `network_out_bytes_per_second` | B/s | all interfaces, likewise |
| `process_cpu_usage` | % | of one core, by this process, likewise |
| `process_memory_bytes` | B | resident memory of this process |
| `process_open_fds` | | its open file descriptors |
| `process_threads` | | its threads |
| `uptime_seconds` | s | since the server started |

The first four are the API page's. Rates are absent from the first message, and a figure that the system does
not give (containers hide some) is absent from every message.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import psutil

from valtronics_fast.logging import fields
from valtronics_fast.producers.periodic import PeriodicProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from valtronics_fast.producers.base import Publish

    Figures = dict[str, float]
    Figure = tuple[str, float | None]

__all__ = ["SystemProducer"]

logger = logging.getLogger(__name__)


class Rate:
    """Turns a rising total into a rate per second."""

    __slots__ = ("_at", "_total")

    def __init__(self) -> None:
        self._at: float | None = None
        self._total = 0.0

    def of(self, total: float, now: float) -> float | None:
        """Return the rate since the previous call, or None at the first, or when the total fell (a reset)."""
        at, before = self._at, self._total
        self._at, self._total = now, total
        if at is None or now <= at or total < before:
            return None
        return (total - before) / (now - at)


class SystemProducer(PeriodicProducer):
    """Publishes the figures at once and then every `interval`.

    Args:
        interval: seconds between two messages, more than 0.
        connections: returns how many WebSocket connections are open.
        messages: returns how many data messages were sent to clients so far.
    """

    name = "system"
    title = "the system producer"
    refusal = "system figures refused"

    def __init__(
        self, interval: float, connections: Callable[[], int], messages: Callable[[], int] | None = None
    ) -> None:
        super().__init__(interval)
        self._connections = connections
        self._messages_sent = messages
        self._process = psutil.Process()
        self._began = time.monotonic()
        self._rates = {name: Rate() for name in ("in", "out", "messages", "process_cpu")}
        self._missing: set[str] = set()

    def messages(self) -> list[dict[str, object]]:
        """Return one message, with the figures of this moment."""
        return [{"type": "system_status_update", "metrics": self.sample()}]

    async def _run(self, publish: Publish) -> None:
        self._began = time.monotonic()
        await super()._run(publish)

    def sample(self) -> Figures:
        """Return the figures of this moment. It never waits: what needs two moments uses the last call's."""
        now = time.monotonic()
        figures: Figures = {}
        for read in (self._cpu, self._memory, self._disk, self._load, self._network, self._this_process):
            try:
                for name, value in read(now):
                    if value is not None:
                        figures[name] = round(value, 2)
            except Exception as error:  # noqa: BLE001 - OSError, RuntimeError, KeyError, ... in containers
                source = read.__name__.strip("_")
                if source not in self._missing:
                    self._missing.add(source)
                    logger.info("figures not available here", extra=fields(source=source, detail=repr(error)))
        figures["active_connections"] = self._connections()
        if self._messages_sent is not None:
            rate = self._rates["messages"].of(self._messages_sent(), now)
            if rate is not None:
                figures["messages_per_second"] = round(rate, 2)
        figures["uptime_seconds"] = round(now - self._began, 2)
        return figures

    def _cpu(self, _: float) -> Iterator[Figure]:
        yield "cpu_usage", psutil.cpu_percent(interval=None)

    def _memory(self, _: float) -> Iterator[Figure]:
        yield "memory_usage", psutil.virtual_memory().percent

    def _disk(self, _: float) -> Iterator[Figure]:
        yield "disk_usage", psutil.disk_usage("/").percent

    def _load(self, _: float) -> Iterator[Figure]:
        yield from zip(("load_1m", "load_5m", "load_15m"), psutil.getloadavg(), strict=True)

    def _network(self, now: float) -> Iterator[Figure]:
        total = psutil.net_io_counters()
        yield "network_in_bytes_per_second", self._rates["in"].of(total.bytes_recv, now)
        yield "network_out_bytes_per_second", self._rates["out"].of(total.bytes_sent, now)

    def _this_process(self, now: float) -> Iterator[Figure]:
        times = self._process.cpu_times()
        rate = self._rates["process_cpu"].of(times.user + times.system, now)
        yield "process_cpu_usage", None if rate is None else rate * 100
        yield "process_memory_bytes", self._process.memory_info().rss
        yield "process_threads", self._process.num_threads()
        yield "process_open_fds", self._process.num_fds()
