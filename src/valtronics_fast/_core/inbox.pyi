from typing import final

from typing_extensions import disjoint_base

from valtronics_fast._core.outbox import Outbox, Turn

@final
class Budget:
    seconds: float
    held: int
    def __init__(self, turn: Turn, seconds: float) -> None: ...
    def work(self) -> None: ...

@disjoint_base
class Inbound(Outbox): ...
