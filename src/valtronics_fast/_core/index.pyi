from typing import final

class TooManyNames(Exception): ...

@final
class Names:
    limit: int
    def __init__(self, limit: int = 65536) -> None: ...
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
    def __init__(self, names: int = 65536) -> None: ...
    def stats(self) -> dict[str, int]: ...
