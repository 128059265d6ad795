from typing import Final

from valtronics_fast._core.hub import Hub
from valtronics_fast._core.wheel import TimerWheel

INVARIANTS: Final[bool]
TEST_HOOKS: Final[bool]

def check_wheel(wheel: TimerWheel) -> set[int]: ...
def check_hub(hub: Hub) -> None: ...
