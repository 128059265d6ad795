"""The id that a client gives its HTTP request (`X-Request-ID`): in the answer, and in each line of the log about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HEADER", "clean", "current", "handling"]

HEADER = "X-Request-ID"

MAX_ID = 128
"""Characters of an id; the rest is left out."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._~:/+=@-]")

_current: ContextVar[str] = ContextVar("request_id", default="")


def clean(given: str) -> str:
    """Return what of a header is fit for a log and an answer: ASCII letters, digits and some marks, MAX_ID at most."""
    return _UNSAFE.sub("", given)[:MAX_ID]


def current() -> str:
    """Return the id of the request that is being handled; "": it has none, or there is no request."""
    return _current.get()


@contextmanager
def handling(request_id: str) -> Iterator[None]:
    """Handle a request of this id within the block."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)
