from __future__ import annotations

import pytest

from valtronics_fast.http_listener import HttpError
from valtronics_fast.http_rebalance import Order, parse_order


@pytest.mark.parametrize(
    ("body", "order"),
    [
        (b'{"fraction": 0.2}', Order(fraction=0.2)),
        (b'{"fraction": 1, "over": 0}', Order(fraction=1.0, over=0.0)),
        (b'{"count": 12, "over": 3600}', Order(count=12, over=3600.0)),
    ],
)
def test_orders(body: bytes, order: Order) -> None:
    assert parse_order(body) == order


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"over": 5}', b'{"fraction": 0.5, "count": 5}',
        b'{"fraction": 0}', b'{"fraction": 1.01}', b'{"fraction": -1}', b'{"fraction": "0.5"}', b'{"fraction": true}',
        b'{"fraction": null}', b'{"fraction": 1e999}', b'{"count": 0}', b'{"count": 1.5}', b'{"count": true}',
        b'{"count": 5, "over": -1}', b'{"count": 5, "over": 3601}', b'{"count": 5, "ove": 1}', b'{"count": 5} x',
    ],
)  # fmt: skip
def test_what_is_none_is_told(body: bytes) -> None:
    with pytest.raises(HttpError, match="the body is") as caught:
        parse_order(body)
    assert caught.value.response().status == 400
