"""All workers of a machine, seen from one of them: what HTTP tells is true of the whole, whichever is asked."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from heapq import nlargest
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import orjson

from valtronics_fast.draining import how_many
from valtronics_fast.errors import BusyError
from valtronics_fast.inspection import Query
from valtronics_fast.logging import fields
from valtronics_fast.workers import frames
from valtronics_fast.workers.figures import ByWorker, sum_up
from valtronics_fast.workers.link import LinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from valtronics_fast.draining import Rebalancer
    from valtronics_fast.inspection import Inspector, Row
    from valtronics_fast.workers.context import Worker

__all__ = ["Whole"]

PATIENCE = 3.0
"""Seconds that the supervisor has to answer, which gives the others one."""

_FAILED = b'{"failed":true}'

_log = logging.getLogger(__name__)


class Local(Protocol):
    """The server of this process."""

    inspector: Inspector
    rebalancer: Rebalancer
    on_drain: Callable[[], object]

    def stats(self) -> dict[str, object]:
        """Return its figures."""

    def health(self) -> dict[str, object]:
        """Return whether it takes clients, and the state of each part."""

    def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        """Return why one of its connections does or does not get a device's messages."""

    def rebalance(
        self, *, fraction: float | None = None, count: int | None = None, over: float | None = None
    ) -> int:
        """Begin to close those that are open longest (Server.rebalance)."""


class _Rest(msgspec.Struct):
    """What comes back from the supervisor: the other workers' answers by index, who has none, and its figures."""

    answers: dict[str, msgspec.Raw] = {}
    silent: list[str] = []
    failed: list[str] = []
    supervisor: Any = None

    def missing(self) -> list[str]:
        """Return whose answer is missing; without the supervisor's, so is that of every other worker."""
        return [*self.silent, *self.failed, *(["supervisor"] if self.supervisor is None else [])]


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
        found = {name: _decoded(answers[name]) for name in sorted(answers)}
        workers: dict[str, Any] = {name: {"answered": True, **one["worker"]} for name, one in found.items()}
        workers.update({name: {"answered": False} for name in rest.silent})
        total = sum_up([one["stats"] for one in found.values()])
        return {**total, "workers": workers, "supervisor": rest.supervisor}

    async def figures(self) -> ByWorker:
        """Return the figures of each worker by itself: a sum would fall when one is silent, which no counter may."""
        if self._worker is None:
            return ByWorker({"0": self._local.stats()}, (), None)
        answers, rest = await self._ask("stats")
        found = {name: _decoded(one)["stats"] for name, one in answers.items()}
        return ByWorker(found, rest.missing(), rest.supervisor)

    async def health(self) -> Mapping[str, object]:
        """Return whether this machine takes clients, and the worst state of each part."""
        if self._worker is None:
            return self._local.health()
        answers, rest = await self._ask("health")
        checks: dict[str, str] = {}
        found = [_decoded(one) for one in answers.values()]
        for one in found:
            for name, state in one["checks"].items():
                if checks.get(name, "ok") == "ok":
                    checks[name] = state
        checks["workers"] = "degraded" if rest.silent or rest.supervisor is None else "ok"
        return {"ready": all(one["ready"] for one in found), "checks": checks}

    async def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        """Return why a connection of any worker does or does not get a device's messages; None: there is none."""
        found = self._local.explain(connection, device)
        if found is None and self._worker is not None:
            answers, _ = await self._ask("explain", connection=connection, device=device)
            found = next((one for one in map(_decoded, answers.values()) if one is not None), None)
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

    async def connections(self, query: Query) -> tuple[list[Row], list[str]]:
        """Return what is told of the connections that a query is about, and which workers have not answered."""
        if self._worker is None:
            return await self._local.inspector.rows(query), []
        answers, rest = await self._ask("connections", query=msgspec.to_builtins(query))
        rows: list[Row] = []
        for answer in answers.values():
            for key, number, told in msgspec.json.decode(answer, type=list[tuple[float, int, msgspec.Raw]]):
                rows.append((key, number, orjson.Fragment(bytes(told))))
        rows.sort(key=lambda row: row[:2])
        return rows[: query.limit or None], rest.missing()

    async def disconnect(self, query: Query, reason: str | None) -> tuple[int, list[str]]:
        """Close connections (Inspector.disconnect); return how many, and which workers have not answered."""
        if self._worker is None:
            return await self._local.inspector.disconnect(query, reason), []
        answers, rest = await self._ask("disconnect", query=msgspec.to_builtins(query), reason=reason)
        return sum(map(_decoded, answers.values())), rest.missing()

    def drain(self) -> None:
        """Begin to drain all workers, as on SIGTERM."""
        if self._worker is None:
            self._local.on_drain()
        else:
            self._worker.link.tell(frames.WIND_DOWN)

    # --- among the workers

    async def _ask(self, what: str, **arguments: object) -> tuple[dict[str, msgspec.Raw], _Rest]:
        """Return what each worker that answers in time says, by index, and what the supervisor adds."""
        worker = self._worker
        assert worker is not None  # noqa: S101 - for the type checker: there is nobody to ask
        question = orjson.dumps({"what": what, **arguments})
        asked = worker.link.ask(frames.ASK, question)
        own = await self.answer(question)
        try:
            async with asyncio.timeout(PATIENCE):
                found = msgspec.json.decode(await asked, type=_Rest)
        except (LinkError, TimeoutError):  # it hangs, or is gone: this process ends, too
            found = _Rest()
        answers = {str(worker.index): msgspec.Raw(own), **found.answers}
        found.failed = [name for name, one in answers.items() if bytes(one) == _FAILED]
        return {name: one for name, one in answers.items() if name not in found.failed}, found

    async def answer(self, question: bytes) -> bytes:
        """Answer a worker's question; what fails is logged and told."""
        try:
            found = self._answer(**orjson.loads(question))
            return orjson.dumps(await found if isawaitable(found) else found, option=orjson.OPT_NON_STR_KEYS)
        except BusyError as error:
            return orjson.dumps({"busy": str(error)})
        except Exception:  # noqa: BLE001 - logged and told
            _log.exception("a question of another worker could not be answered", extra=fields(limit_key="asked"))
            return _FAILED

    def _answer(self, what: str, **arguments: Any) -> object:
        if what == "stats":
            stats = self._local.stats()
            return {"stats": stats, "worker": self._figures(stats)}
        if what == "health":
            return self._local.health()
        if what == "explain":
            return self._local.explain(arguments["connection"], arguments["device"])
        if "query" in arguments:
            return self._answer_query(what, msgspec.convert(arguments["query"], Query), arguments)
        if what == "ages":
            return self._local.rebalancer.ages()
        share = 0 if self._worker is None else arguments["shares"].get(str(self._worker.index), 0)
        return self._local.rebalance(count=share, over=arguments["over"]) if share else 0

    def _answer_query(self, what: str, query: Query, arguments: dict[str, Any]) -> Awaitable[object]:
        inspector = self._local.inspector
        return inspector.rows(query) if what == "connections" else inspector.disconnect(query, arguments["reason"])

    def _figures(self, stats: dict[str, object]) -> dict[str, object]:
        """Return what is of interest of each worker by itself."""
        return {
            "pid": os.getpid(),
            "connections": stats["active_connections"],
            "messages_sent": stats["messages_sent"],
            "cpu_seconds": round(time.process_time(), 3),
            "uptime": stats["uptime"],
        }


def _decoded(answer: msgspec.Raw) -> Any:
    return orjson.loads(bytes(answer))


def _unless_busy(answers: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """Return the answers to an order to move connections, unless a worker can't follow it."""
    found = {name: _decoded(answer) for name, answer in answers.items()}
    for answer in found.values():
        if isinstance(answer, dict):
            raise BusyError(answer["busy"])
    return found
