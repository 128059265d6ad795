"""Numbers in memory that are changed behind the core's back, for tests of its checks."""

from __future__ import annotations

import ctypes
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def fields(victim: object, word: type[ctypes.c_uint32 | ctypes.c_uint64] = ctypes.c_uint64) -> ctypes.Array[Any]:
    """Return an object's memory behind its reference count and its type."""
    size = type(victim).__basicsize__ - object.__basicsize__
    return (word * (size // ctypes.sizeof(word))).from_address(id(victim) + object.__basicsize__)


@contextmanager
def changed(words: ctypes.Array[Any], old: int, new: int) -> Iterator[None]:
    """Have another number in memory for a while; it must stand there once."""
    (at,) = [i for i, word in enumerate(words) if word == old]
    words[at] = new
    try:
        yield
    finally:
        words[at] = old


@contextmanager
def changed_all(words: ctypes.Array[Any], old: int, new: int) -> Iterator[None]:
    """The same where a number stands several times."""
    places = [i for i, word in enumerate(words) if word == old]
    assert places
    for at in places:
        words[at] = new
    try:
        yield
    finally:
        for at in places:
            words[at] = old


def behind(pointer: int, count: int, word: type[ctypes.c_uint32 | ctypes.c_uint64]) -> ctypes.Array[Any]:
    """Return the memory that a pointer of the core's points to."""
    return (word * count).from_address(pointer)


def parts(whole: object) -> Iterator[object]:
    """Give the objects of the core that something consists of."""
    seen = {id(whole)}
    rest = [whole]
    while rest:
        one = rest.pop()
        yield one
        for part in gc.get_referents(one):
            ours = type(part).__module__.startswith("valtronics_fast._core") or type(part) in (list, dict)
            if ours and id(part) not in seen:
                seen.add(id(part))
                rest.append(part)
