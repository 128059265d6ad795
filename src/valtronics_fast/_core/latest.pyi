from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Node: ...

@final
class Cursor(Node): ...

@final
class Values(Node):
    device: int | str | None
    offset: int

@final
class LatestTable:
    limit: int
    nbytes: int
    evicted: int
    cursors: dict[Cursor, None]
    def __init__(self, limit: int = 0) -> None: ...
    def state_of(self, device: int | str) -> str | None: ...
    def figures(self) -> dict[str, int]: ...
    def stats(self) -> dict[str, int]: ...
