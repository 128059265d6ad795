from enum import IntEnum
from typing import final

from valtronics_fast._core.feed import Feed
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.session import Session

class Order(IntEnum):
    BY_AGE = 0
    BY_QUEUE = 1
    BY_RATE = 2

@final
class Roster:
    def __init__(
        self,
        hub: Hub,
        *,
        order: int = 0,
        limit: int = 0,
        user: str | None = None,
        address: str | None = None,
        channel: int = -1,
        slow: bool = False,
        number: int = 0,
        after: tuple[float, int] | None = None,
    ) -> None: ...
    def work(self, until: float) -> bool: ...
    def page(self) -> list[tuple[float, int, Session]]: ...

def describe(feed: Feed, now: float) -> dict[str, object]: ...
@final
class Sampler:
    def __init__(self, hub: Hub, interval: float) -> None: ...
    def advance(self, now: float) -> int: ...
