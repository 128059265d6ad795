"""Which connections a request is about: its query string, its body, and the cursor between two pages of a list.

A cursor is what the last connection of a page was sorted by, and its number. So a page needs no memory on the server,
any worker can give the next one, and what is sorted by age is told exactly once, however many come and go meanwhile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET

from valtronics_fast._core.wire import CHANNELS, ERROR_NAMES, ErrorCode
from valtronics_fast.addresses import canonical_address
from valtronics_fast.claims import MAX_SUBJECT_BYTES
from valtronics_fast.http_listener import HttpError
from valtronics_fast.inspection import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

__all__ = [
    "CURSOR",
    "MAX_LIMIT",
    "MAX_REASON",
    "Dismissal",
    "Listing",
    "Path",
    "Question",
    "Reason",
    "cursor_of",
    "invalid",
    "number_at_end",
    "number_of",
    "parameters",
    "query_of",
]

MAX_LIMIT = 1000
"""Connections of a page."""

MAX_REASON = 123
"""Bytes of the reason of a CLOSE frame (RFC 6455, section 5.5): longer text is cut."""

MAX_DIGITS = 18
"""The most digits that the number of a connection may have."""

NUMBER = f"[0-9]{{1,{MAX_DIGITS}}}"
CURSOR = rf"(-?0x[01]\.[0-9a-f]{{1,13}}p(?:-?[0-9]{{1,3}}|-10[0-9]{{2}}))_({NUMBER})"
"""A float as `float.hex` writes it, which is exact, without the `+` that a URL has no use for; and a number."""

Number = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{NUMBER}$"})]
Cursor = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{CURSOR}$"})]
Address = Annotated[str, msgspec.Meta(extra_json_schema={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})]
User = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SUBJECT_BYTES)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON)]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query string of a list.

    Attributes:
        user: only this user's connections.
        address: only those of this client address, behind trusted proxies.
        channel: only those that are subscribed to this channel.
        slow: true: only those that are behind, or do not read at present; false: all.
        sort: oldest first, most queued bytes first, or most messages a second first.
        limit: how many, at most.
        cursor: `next` of the page before, with the same filters and the same order.
    """

    user: User | msgspec.UnsetType = UNSET
    address: Address | msgspec.UnsetType = UNSET
    channel: Literal["telemetry", "alerts", "devices", "system"] | msgspec.UnsetType = UNSET
    slow: Literal["true", "false"] | msgspec.UnsetType = UNSET
    sort: Literal["age", "queue", "rate"] = "age"
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = 100
    cursor: Cursor | msgspec.UnsetType = UNSET


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query string of `explain`.

    Attributes:
        connection: its number, as the log has it.
        device: the id of a device; the channel `system` is asked about when it is left out.
    """

    connection: Number
    device: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | msgspec.UnsetType = UNSET


class Path(msgspec.Struct, frozen=True):
    """The end of the path of a connection.

    Attributes:
        id: its number, as the log has it.
    """

    id: Number


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query string of an order to close one connection.

    Attributes:
        reason: what the client is told; the name of the close code when it is left out.
    """

    reason: Text | msgspec.UnsetType = UNSET


class Dismissal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order to close connections.

    Attributes:
        user: whose.
        reason: what the clients are told; the name of the close code when it is left out.
    """

    user: User
    reason: Text | msgspec.UnsetType = UNSET


_Form = TypeVar("_Form", bound=msgspec.Struct)


def parameters(request: web.BaseRequest, form: type[_Form]) -> _Form:
    """Return the query string of a request.

    Raises:
        HttpError: 400, it has a parameter that is not known, twice there, or of a wrong form.
    """
    given = request.query
    if len(set(given)) != len(given):
        raise invalid("a parameter stands twice in the query string")
    try:
        return msgspec.convert(_numbers(given), form)
    except msgspec.ValidationError:
        names = ", ".join(form.__struct_fields__)
        raise invalid(f"a parameter is missing, unknown or not allowed; there are {names}") from None


def _numbers(given: Mapping[str, str]) -> dict[str, Any]:
    """Return parameters with that which is to be a number as one."""
    found: dict[str, Any] = dict(given)
    limit = found.get("limit", "")
    if limit.isascii() and limit.isdecimal() and len(limit) <= MAX_DIGITS:
        found["limit"] = int(limit)
    return found


def query_of(listing: Listing) -> Query:
    """Return the query of a list: one more row than is wanted, which tells whether there are more.

    Raises:
        HttpError: 400, the address or the cursor is none.
    """
    after = None
    if listing.cursor is not UNSET:
        found = re.fullmatch(CURSOR, listing.cursor)
        if found is None:
            raise invalid("cursor is what `next` was in an answer")
        after = (float.fromhex(found[1]), int(found[2]))
    return Query(
        sort=listing.sort,
        limit=listing.limit + 1,
        after=after,
        user=None if listing.user is UNSET else listing.user,
        address=None if listing.address is UNSET else _address(listing.address),
        channel=-1 if listing.channel is UNSET else CHANNELS[listing.channel],
        slow=listing.slow == "true",
    )


def cursor_of(key: float, number: int) -> str:
    """Return the cursor behind a row."""
    return f"{float(key).hex().replace('+', '')}_{number}"


def number_of(digits: str) -> int:
    """Return the number of a connection.

    Raises:
        HttpError: 400, it is none.
    """
    if not re.fullmatch(NUMBER, digits):
        raise invalid("a connection is known by its number, as the log has it")
    return int(digits)


def number_at_end(request: web.BaseRequest) -> int:
    """Return the number that a path ends with; HttpError as above."""
    return number_of(request.path.rstrip("/").rpartition("/")[2])


def _address(text: str) -> str:
    address = canonical_address(text)
    if address is None:
        raise invalid("address is an IP address")
    return address


def invalid(message: str) -> HttpError:
    """Return the answer to a request of a wrong form."""
    return HttpError(400, ERROR_NAMES[ErrorCode.INVALID_MESSAGE], message)
