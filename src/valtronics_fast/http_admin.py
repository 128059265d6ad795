"""The admin functions of the HTTP side (docs/http-api.md#administration): who is connected, and orders about that.

Each one needs the right to administer (`HttpGuard.authorise_admin`), before anything else of the request is looked at,
and is logged with who asked for it, from where, and what came of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from valtronics_fast._core.scope import device_key
from valtronics_fast.errors import BusyError
from valtronics_fast.http_connections import (
    Dismissal,
    Listing,
    Question,
    Reason,
    cursor_of,
    invalid,
    number_at_end,
    number_of,
    parameters,
    query_of,
)
from valtronics_fast.http_listener import HttpError, json_answer
from valtronics_fast.http_rebalance import MAX_BODY, parse_order
from valtronics_fast.inspection import Query
from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from valtronics_fast.http_guard import HttpGuard
    from valtronics_fast.inspection import Row
    from valtronics_fast.workers.figures import ByWorker

    Outcome = tuple[int, object, Mapping[str, object]]
    """Status and body of an answer, and what the log tells of it."""

__all__ = ["AdminRoutes", "Site"]

_Value = TypeVar("_Value")

_orders = logging.getLogger(__name__)
_questions = limited("valtronics_fast.http_admin.questions")


class Site(Protocol):
    """The server, or all workers of a machine (`workers.whole`)."""

    async def stats(self) -> dict[str, object]:
        """Return the figures."""

    async def figures(self) -> ByWorker:
        """Return the same of each worker."""

    async def health(self) -> Mapping[str, object]:
        """Return `{"ready": bool, "checks": {name: "ok" or what is wrong}}`."""

    async def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        """Return why a connection gets a device's messages (None: the system's) or not; None: there is no such one."""

    async def rebalance(self, *, fraction: float | None, count: int | None, over: float | None) -> int:
        """Begin to close connections so that they come back elsewhere; return how many. Raises BusyError."""

    async def connections(self, query: Query) -> tuple[list[Row], list[str]]:
        """Return what is told of connections, and the workers that have not answered."""

    async def disconnect(self, query: Query, reason: str | None) -> tuple[int, list[str]]:
        """Close connections; return how many, and the workers that have not answered."""

    def drain(self) -> None:
        """Begin to drain as on SIGTERM."""


class AdminRoutes:
    """Answers requests of administrators.

    Args:
        guard: who they are.
        site: what they are about.
        read: returns the body of a request; takes how many bytes it may have, and what is said of a larger one.
    """

    def __init__(
        self, guard: HttpGuard, site: Site, read: Callable[[web.BaseRequest, int, str], Awaitable[bytes]]
    ) -> None:
        self._guard = guard
        self._site = site
        self._read = read

    async def get_explain(self, request: web.BaseRequest) -> web.Response:
        """Answer why a connection gets what it gets."""
        return await self._answer(request, "explain", self._explain, _questions)

    async def get_connections(self, request: web.BaseRequest) -> web.Response:
        """Answer who is connected."""
        return await self._answer(request, "list connections", self._list, _questions)

    async def get_connection(self, request: web.BaseRequest) -> web.Response:
        """Answer what there is to tell of one connection."""
        return await self._answer(request, "show connection", self._show, _questions)

    async def delete_connection(self, request: web.BaseRequest) -> web.Response:
        """Close one connection."""
        return await self._answer(request, "disconnect", self._close_one, _orders)

    async def post_disconnect(self, request: web.BaseRequest) -> web.Response:
        """Close the connections of a user."""
        return await self._answer(request, "disconnect", self._close_user, _orders)

    async def post_rebalance(self, request: web.BaseRequest) -> web.Response:
        """Have clients move elsewhere."""
        return await self._answer(request, "rebalance", self._rebalance, _orders)

    async def post_drain(self, request: web.BaseRequest) -> web.Response:
        """Begin the end."""
        return await self._answer(request, "drain", self._drain, _orders)

    async def _answer(
        self,
        request: web.BaseRequest,
        action: str,
        handler: Callable[[web.BaseRequest], Awaitable[Outcome]],
        log: logging.Logger,
    ) -> web.Response:
        """Do what is asked for, if it is permitted, and log it, whatever comes of it."""
        admin = await self._guard.authorise_admin(request)
        who = {
            "action": action,
            "credential": "key" if admin is self._guard.administrator else "token",
            "user": admin.user,
            "address": self._guard.address(request),
        }
        try:
            status, payload, told = await handler(request)
        except Exception as error:
            outcome = str(error) if isinstance(error, HttpError) else "internal error"
            log.warning("an admin request failed", extra=fields(**who, outcome=outcome, limit_key=action))
            raise
        log.info("admin", extra=fields(**who, **told, limit_key=action))
        return json_answer(status, payload)

    async def _explain(self, request: web.BaseRequest) -> Outcome:
        question = parameters(request, Question)
        number = number_of(question.connection)
        try:
            device = None if question.device is msgspec.UNSET else device_key(question.device)
        except ValueError as error:
            raise invalid(str(error)) from None
        answer = await self._site.explain(number, device)
        if answer is None:
            raise _no_connection()
        return 200, answer, {"connection": number, "device": device}

    async def _list(self, request: web.BaseRequest) -> Outcome:
        listing = parameters(request, Listing)
        rows, silent = await self._site.connections(query_of(listing))
        page = rows[: listing.limit]
        following = cursor_of(*page[-1][:2]) if len(rows) > len(page) else None
        answer = {"connections": [told for _, _, told in page], "next": following, "silent_workers": silent}
        return 200, answer, {"connections": len(page)}

    async def _show(self, request: web.BaseRequest) -> Outcome:
        number = number_at_end(request)
        rows, _ = await self._site.connections(Query(number=number, limit=1)) if number else ([], [])
        if not rows:
            raise _no_connection()
        return 200, rows[0][2], {"connection": number}

    async def _close_one(self, request: web.BaseRequest) -> Outcome:
        number, order = number_at_end(request), parameters(request, Reason)
        if not number:
            raise _no_connection()
        closed, silent = await self._site.disconnect(Query(number=number, limit=1), _given(order.reason))
        if not closed and not silent:
            raise _no_connection()
        answer = {"connections": closed, "silent_workers": silent}
        return 200, answer, {"connection": number, "reason": _given(order.reason)}

    async def _close_user(self, request: web.BaseRequest) -> Outcome:
        body = await self._read(request, MAX_BODY, f"an order may have {MAX_BODY} bytes")
        try:
            order = msgspec.json.decode(body, type=Dismissal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise invalid('the body is {"user": whose connections are closed}, and maybe "reason": text') from None
        closed, silent = await self._site.disconnect(Query(user=order.user), _given(order.reason))
        answer = {"connections": closed, "silent_workers": silent}
        told = {"whose": order.user, "reason": _given(order.reason), "connections": closed}
        return 200, answer, told

    async def _rebalance(self, request: web.BaseRequest) -> Outcome:
        body = await self._read(request, MAX_BODY, f"an order may have {MAX_BODY} bytes")
        order = parse_order(body)
        try:
            closing = await self._site.rebalance(
                fraction=_given(order.fraction),
                count=None if order.count is msgspec.UNSET else int(order.count),
                over=_given(order.over),
            )
        except BusyError as error:
            raise HttpError(409, "busy", str(error)) from None
        return 202, {"connections": closing}, {"connections": closing}

    async def _drain(self, _: web.BaseRequest) -> Outcome:
        self._site.drain()
        return 202, {"status": "draining"}, {}


def _given(value: _Value | msgspec.UnsetType) -> _Value | None:
    return None if value is msgspec.UNSET else value


def _no_connection() -> HttpError:
    return HttpError(404, "not_found", "there is no such connection (any more)")
