from collections.abc import Callable

from typing_extensions import disjoint_base

from valtronics_fast._core.connection import Connection
from valtronics_fast._core.outbox import Turn
from valtronics_fast._core.sampling import Sampler
from valtronics_fast._core.wheel import TimerWheel

@disjoint_base
class Fanout:
    wheel: TimerWheel
    turn: Turn
    attached: int
    max_backlog: int
    behind: int
    sacrificed: int
    sampler: Sampler | None
    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        now: float,
        *,
        delay: Callable[[Callable[[], None]], object] | None = None,
        tick: float = 0.05,
        max_backlog: int = 0,
    ) -> None: ...
    def shed(self) -> bool: ...
    def connections(self) -> list[Connection]: ...
    def commands_and_errors(self) -> tuple[dict[str, int], dict[str, int]]: ...
    def stats(self) -> dict[str, dict[str, int]]: ...
