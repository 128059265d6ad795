from collections.abc import Callable
from typing import final

from picows import WSListener
from typing_extensions import disjoint_base

from valtronics_fast._core.histogram import Histogram
from valtronics_fast._core.run import Run

@final
class Turn:
    flushes: int
    writes: int
    refused: int
    backlog: int
    latency: Histogram
    run: Run
    def __init__(
        self,
        schedule: Callable[[Callable[[], None]], object],
        delay: Callable[[Callable[[], None]], object] | None = None,
    ) -> None: ...
    def flush(self) -> None: ...
    def flush_delayed(self) -> None: ...

@disjoint_base
class Outbox(WSListener): ...
