from typing import final

@final
class Values:
    device: int | str | None
    offset: int

@final
class LatestTable:
    limit: int
    nbytes: int
    evicted: int
    def __init__(self, limit: int = 0) -> None: ...
    def stats(self) -> dict[str, int]: ...
