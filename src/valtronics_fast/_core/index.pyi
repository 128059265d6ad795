from typing import final

from valtronics_fast._core.names import Names

@final
class Term:
    users: int

@final
class Filter:
    users: int

@final
class Index:
    names: Names
    entries: int
    def __new__(cls, names: int = 65536) -> Index: ...
    def stats(self) -> dict[str, int]: ...
