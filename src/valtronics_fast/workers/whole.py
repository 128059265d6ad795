"""All workers of a machine, seen from one of them: what HTTP tells is true of the whole, whichever is asked."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from valtronics_fast.draining import how_many
from valtronics_fast.errors import BusyError
from valtronics_fast.logging import fields
from valtronics_fast.workers import frames
from valtronics_fast.workers.figures import sum_up
from valtronics_fast.workers.link import LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.workers.context import Worker

__all__ = ["Whole"]

PATIENCE = 3.0
"""Seconds that the supervisor has to answer, which gives the others one."""

_log = logging.getLogger(__name__)


class Local(Protocol):
    """The server of this process."""

    def stats(self) -> dict[str, object]:
        """Return its figures."""

    def health(self) -> dict[str, object]:
        """Return whether it takes clients, and the state of each part."""

    def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        """Return why one of its connections does or does not get a device's messages."""

    def ages(self) -> list[float]:
        """Return how many seconds each connection is open. Raises BusyError while connections are being closed."""

    def rebalance(
        self, *, fraction: float | None = None, count: int | None = None, over: float | None = None
    ) -> int:
        """Begin to close those that are open longest (Server.rebalance)."""


class Whole:
    """Asks all workers, or the only one that there is.

    Args:
        local: the server of this process.
        worker: which worker it is; None: there are no others.
    """

    def __init__(self, local: Local, worker: Worker | None) -> None:
        self._local = local
        self._worker = worker
        if worker is not None:
            worker.link.on_asked = self.answer

    # --- what HTTP asks for

    async def stats(self) -> dict[str, object]:
        """Return the figures of all workers together, and some of each."""
        if self._worker is None:
            return self._local.stats()
        answers, rest = await self._ask("stats")
        workers: dict[str, Any] = {
            name: {"answered": True, **one["worker"]} for name, one in sorted(answers.items(), key=lambda each: each[0])
        }
        workers.update({name: {"answered": False} for name in rest["silent"]})
        total = sum_up([one["stats"] for one in answers.values()])
        return {**total, "workers": workers, "supervisor": rest["supervisor"]}

    async def health(self) -> Mapping[str, object]:
        """Return whether this machine takes clients, and the worst state of each part."""
        if self._worker is None:
            return self._local.health()
        answers, rest = await self._ask("health")
        checks: dict[str, str] = {}
        for one in answers.values():
            for name, state in one["checks"].items():
                if checks.get(name, "ok") == "ok":
                    checks[name] = state
        checks["workers"] = "degraded" if rest["silent"] or rest["supervisor"] is None else "ok"
        return {"ready": all(one["ready"] for one in answers.values()), "checks": checks}

    async def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        """Return why a connection of any worker does or does not get a device's messages; None: there is none."""
        found = self._local.explain(connection, device)
        if found is None and self._worker is not None:
            answers, _ = await self._ask("explain", connection=connection, device=device)
            found = next((one for one in answers.values() if one is not None), None)
        return found

    async def rebalance(self, *, fraction: float | None, count: int | None, over: float | None) -> int:
        """Begin to close those connections of all workers that are open longest (Server.rebalance); return how many.

        Raises:
            BusyError: connections of a worker are being closed already.
        """
        if self._worker is None:
            return self._local.rebalance(fraction=fraction, count=count, over=over)
        ages, _ = await self._ask("ages")
        connections = [(age, name) for name, each in _unless_busy(ages).items() for age in each]
        oldest = nlargest(how_many(fraction, count, len(connections)), connections)
        answers, _ = await self._ask("rebalance", shares=Counter(name for _, name in oldest), over=over)
        return sum(_unless_busy(answers).values())

    # --- among the workers

    async def _ask(self, what: str, **arguments: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what each worker that answers in time says, by index, and what the supervisor adds."""
        worker = self._worker
        assert worker is not None  # noqa: S101 - for the type checker: there is nobody to ask
        question = orjson.dumps({"what": what, **arguments})
        try:
            async with asyncio.timeout(PATIENCE):
                found = orjson.loads(await worker.link.ask(frames.ASK, question))
        except (LinkError, TimeoutError):  # it hangs, or is gone: this process ends, too
            found = {"answers": {}, "silent": [], "supervisor": None}
        own = orjson.loads(await self.answer(question))
        answers = {str(worker.index): own, **found.pop("answers")}
        return {name: one for name, one in answers.items() if one != {"failed": True}}, found

    async def answer(self, question: bytes) -> bytes:
        """Answer a worker's question; what fails is logged and told."""
        try:
            return orjson.dumps(self._answer(**orjson.loads(question)), option=orjson.OPT_NON_STR_KEYS)
        except BusyError as error:
            return orjson.dumps({"busy": str(error)})
        except Exception:  # noqa: BLE001 - logged and told
            _log.exception("a question of another worker could not be answered", extra=fields(limit_key="asked"))
            return b'{"failed":true}'

    def _answer(self, what: str, **arguments: Any) -> object:
        if what == "stats":
            stats = self._local.stats()
            return {"stats": stats, "worker": self._figures(stats)}
        if what == "health":
            return self._local.health()
        if what == "explain":
            return self._local.explain(arguments["connection"], arguments["device"])
        if what == "ages":
            return self._local.ages()
        share = 0 if self._worker is None else arguments["shares"].get(str(self._worker.index), 0)
        return self._local.rebalance(count=share, over=arguments["over"]) if share else 0

    def _figures(self, stats: dict[str, object]) -> dict[str, object]:
        """Return what is of interest of each worker by itself."""
        return {
            "pid": os.getpid(),
            "connections": stats["active_connections"],
            "messages_sent": stats["messages_sent"],
            "cpu_seconds": round(time.process_time(), 3),
            "uptime": stats["uptime"],
        }


def _unless_busy(answers: dict[str, Any]) -> dict[str, Any]:
    """Return the answers to an order to move connections, unless a worker can't follow it."""
    for answer in answers.values():
        if isinstance(answer, dict):
            raise BusyError(answer["busy"])
    return answers
