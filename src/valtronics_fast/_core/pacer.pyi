from typing import final

from valtronics_fast._core.fanout import Fanout
from valtronics_fast._core.index import Index
from valtronics_fast._core.wheel import TimerWheel

@final
class Pacer:
    wheel: TimerWheel
    def __init__(self, fanout: Fanout, index: Index, now: float) -> None: ...
    def stats(self) -> dict[str, int]: ...
