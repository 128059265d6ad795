"""The order to move clients elsewhere: `POST /api/v1/rebalance` (docs/http-api.md)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import UNSET

from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode
from valtronics_fast.http_listener import HttpError

__all__ = ["MAX_BODY", "Order", "parse_order"]

MAX_BODY: Final = 1024
"""Bytes of an order."""

MAX_SECONDS: Final = 3600.0
"""The longest time that closing may be spread over."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for: exactly one of the first two.

    Attributes:
        fraction: the part of all connections.
        count: their number.
        over: seconds that their end is spread over; `server.drain_window` when it is left out.
    """

    json_schema: ClassVar[dict[str, Any]] = {"oneOf": [{"required": ["fraction"]}, {"required": ["count"]}]}

    fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] | msgspec.UnsetType = UNSET
    # In JSON, 1.0 is a whole number, too.
    count: Annotated[float, msgspec.Meta(ge=1, multiple_of=1)] | msgspec.UnsetType = UNSET
    over: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] | msgspec.UnsetType = UNSET


def parse_order(body: bytes | bytearray) -> Order:
    """Return what a body asks for.

    Raises:
        HttpError: 400, it is not an order.
    """
    try:
        order = msgspec.json.decode(body, type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError):
        order = None
    if order is None or (order.fraction is UNSET) == (order.count is UNSET):
        text = (
            'the body is {"fraction": more than 0, up to 1} or {"count": 1 or more}, '
            f'and maybe "over": seconds up to {MAX_SECONDS:g}'
        )
        raise HttpError(400, ERROR_NAMES[ErrorCode.INVALID_MESSAGE], text)
    return order
