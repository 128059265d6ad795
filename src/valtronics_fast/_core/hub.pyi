from collections.abc import Callable, Iterable, Mapping
from typing import final

from valtronics_fast._core.fanout import Fanout
from valtronics_fast._core.history import History
from valtronics_fast._core.inbox import Budget
from valtronics_fast._core.index import Index
from valtronics_fast._core.lanes import Lanes
from valtronics_fast._core.latest import LatestTable
from valtronics_fast._core.pacer import Pacer
from valtronics_fast._core.packet import LatestDump

@final
class Hub(Fanout):
    index: Index
    pacer: Pacer
    budget: Budget
    epoch: str
    lanes: Lanes | None
    latest: list[LatestTable | None]
    histories: list[History]
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
        max_backlog: int = 0,
        max_latest: int = 0,
        history: int = 0,
        history_size: int = 0,
        history_age: float = 0,
        epoch: str | None = None,
        shared: bool = False,
        budget: float = 0,
    ) -> None: ...
    @property
    def tick(self) -> float: ...
    def publish(self, message: Mapping[str, object], now: float | None = None) -> int: ...
    def pack(self, message: Mapping[str, object]) -> tuple[int, bytes]: ...
    def receive(
        self, packets: bytes, offset: int, now: float | None = None, *, delivered: bool = False
    ) -> int: ...
    @property
    def log_position(self) -> int: ...
    def begin_log(self, epoch: str, offset: int) -> None: ...
    def rejoin_log(self) -> None: ...
    def advance_log(self, offset: int) -> None: ...
    def absorb(self, entries: list[tuple[bytes, int]], *, newest: bool, now: float | None = None) -> None: ...
    def dump(self, lanes: Iterable[int]) -> LatestDump: ...
    def resync(self, lanes: Iterable[int]) -> None: ...
    def advance(self, now: float) -> None: ...
