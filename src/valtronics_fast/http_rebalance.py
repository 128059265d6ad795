"""The order to move clients elsewhere: `POST /api/v1/rebalance` (docs/http-api.md)."""

from __future__ import annotations

from typing import Annotated, Final, Protocol

import msgspec

from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode
from valtronics_fast.http_listener import HttpError

__all__ = ["MAX_BODY", "Order", "Rebalance", "parse_order"]

MAX_BODY: Final = 1024
"""Bytes of an order."""

MAX_SECONDS: Final = 3600.0
"""The longest time that closing may be spread over."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for: exactly one of the first two.

    Attributes:
        fraction: the part of all connections.
        count: their number.
        over: seconds that their end is spread over; None: `server.drain_window`.
    """

    fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    over: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] | None = None


class Rebalance(Protocol):
    """Begins to close connections."""

    async def __call__(self, *, fraction: float | None, count: int | None, over: float | None) -> int:
        """Return how many; the arguments are those of an Order. Raises BusyError."""


def parse_order(body: bytes | bytearray) -> Order:
    """Return what a body asks for.

    Raises:
        HttpError: 400, it is not an order.
    """
    try:
        order = msgspec.json.decode(body, type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError):
        order = None
    if order is None or (order.fraction is None) == (order.count is None):
        text = (
            'the body is {"fraction": more than 0, up to 1} or {"count": 1 or more}, '
            f'and maybe "over": seconds up to {MAX_SECONDS:g}'
        )
        raise HttpError(400, ERROR_NAMES[ErrorCode.INVALID_MESSAGE], text)
    return order
