"""What the supervisor tells a worker that it starts, over the stream between them: nobody else can read it there."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from valtronics_fast.config import Config  # noqa: TC001 - the structs below need it
from valtronics_fast.workers.segment import Layout  # noqa: TC001

_One = TypeVar("_One", bound=msgspec.Struct)

__all__ = ["Failed", "Reloaded", "WorkerSettings", "decode", "encode"]


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do.

    Attributes:
        config: the settings, with a secret that was made up; the ports are those that were picked.
        index: from 0 on.
        start: how many workers had been started before.
        machine: the supervisor's number.
        segment: descriptor of the memory that is shared.
        layout: what is where in it.
        key: chooses its digests.
        sockets: descriptors that were passed on, by name; where there is none, the worker listens by itself.
    """

    config: Config
    index: int
    start: int
    machine: int
    segment: int
    layout: Layout
    key: bytes
    sockets: dict[str, list[int]]


class Failed(msgspec.Struct, frozen=True):
    """A worker could not start.

    Attributes:
        problems: why, one line each.
        configured: these are faults of the configuration.
    """

    problems: list[str]
    configured: bool


class Reloaded(msgspec.Struct, frozen=True):
    """A worker can take a new configuration, or not.

    Attributes:
        problems: why not, one line each.
    """

    problems: list[str]


def encode(what: msgspec.Struct) -> bytes:
    """Return the bytes of one of these."""
    return msgspec.msgpack.encode(what)


def decode(kind: type[_One], data: bytes) -> _One:
    """Return one of these."""
    return msgspec.msgpack.decode(data, type=kind)
