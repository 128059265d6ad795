from typing import final

class TooManyNamesError(Exception): ...

@final
class Names:
    limit: int
    def __new__(cls, limit: int = 65536) -> Names: ...
    def __len__(self) -> int: ...

@final
class Term:
    users: int

@final
class Filter:
    users: int

@final
class Posting: ...

@final
class Index:
    names: Names
    entries: int
    def __new__(cls, names: int = 65536) -> Index: ...
    def stats(self) -> dict[str, int]: ...
