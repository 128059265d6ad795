from collections.abc import Callable
from typing import final

from picows import WSListener

@final
class Turn:
    flushes: int
    writes: int
    refused: int
    def __init__(self, schedule: Callable[[Callable[[], None]], object]) -> None: ...
    def flush(self) -> None: ...

class Outbox(WSListener): ...
