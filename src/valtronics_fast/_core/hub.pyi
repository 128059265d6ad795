from collections.abc import Callable, Mapping
from typing import final

from valtronics_fast._core.connection import Connection
from valtronics_fast._core.index import Index
from valtronics_fast._core.outbox import Turn
from valtronics_fast._core.wheel import TimerWheel

@final
class Hub:
    index: Index
    wheel: TimerWheel
    turn: Turn
    attached: int
    max_payload: int
    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        now: float,
        *,
        delay: Callable[[Callable[[], None]], object] | None = None,
        tick: float = 0.05,
        names: int = 65536,
        max_payload: int = 0,
    ) -> None: ...
    def publish(self, message: Mapping[str, object]) -> int: ...
    def advance(self, now: float) -> None: ...
    def connections(self) -> list[Connection]: ...
    def stats(self) -> dict[str, dict[str, int]]: ...
