from collections.abc import Callable, Mapping
from typing import final

from valtronics_fast._core.fanout import Fanout
from valtronics_fast._core.index import Index
from valtronics_fast._core.latest import LatestTable
from valtronics_fast._core.pacer import Pacer

@final
class Hub(Fanout):
    index: Index
    pacer: Pacer
    latest: list[LatestTable | None]
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
        max_latest: int = 0,
    ) -> None: ...
    @property
    def tick(self) -> float: ...
    def publish(self, message: Mapping[str, object], now: float | None = None) -> int: ...
    def advance(self, now: float) -> None: ...
