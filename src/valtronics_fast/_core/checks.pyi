from typing import Final

from valtronics_fast._core.bitset import Slots
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.index import Filter, Index
from valtronics_fast._core.wheel import TimerWheel

INVARIANTS: Final[bool]
TEST_HOOKS: Final[bool]

def check_slots(slots: Slots) -> None: ...
def check_wheel(wheel: TimerWheel) -> set[int]: ...
def check_index(index: Index) -> dict[tuple[int, int | str | None], dict[int, Filter]]: ...
def check_hub(hub: Hub) -> None: ...
