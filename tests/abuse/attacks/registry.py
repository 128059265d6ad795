"""What all attacks share: their table, and how their clients get in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from abuse.frames import PLAIN, command
from abuse.swarm import Visit
from abuse.target import token

Visits = Iterator[Visit]
USERS = 50
ATTACKS: dict[str, Callable[..., Visits]] = {}


def attack(function: Callable[..., Visits]) -> Callable[..., Visits]:
    """Enter a function into the table under its name."""
    ATTACKS[function.__name__] = function
    return function


def tokens_of(prefix: str, count: int = USERS) -> list[str]:
    """Return tokens of so many users."""
    return [token(f"{prefix}-{number}") for number in range(count)]


def ways_in(prefix: str) -> list[bytes]:
    """Return handshakes with an `auth` behind them, of several users: one may have 100 connections."""
    return [PLAIN + command(type="auth", token=each) for each in tokens_of(prefix)]


def floods(prefix: str, blocks: list[tuple[bytes, tuple[bytes, int]]], connections: int, times: int) -> Visits:
    """Yield connections that send a block again and again, each a start and (bytes, inputs), as fast as they can."""
    entries = ways_in(prefix)
    for number in range(connections):
        start, (data, inputs) = blocks[number % len(blocks)]
        yield Visit(opening=entries[number % USERS] + start, data=data, times=times, inputs=inputs)


def paced(prefix: str, blocks: list[bytes], connections: int, seconds: float, *, inputs: int, every: float) -> Visits:
    """Yield connections that send the blocks one after the other, slowly enough for the limit of messages."""
    entries = ways_in(prefix)
    times = int(seconds / every)
    for number in range(connections):
        yield Visit(
            opening=entries[number % USERS],
            blocks=blocks[number % len(blocks) :] + blocks[: number % len(blocks)],
            times=times,
            every=every,
            inputs=inputs,
            patience=2 * seconds + 20,
        )
