from typing import TypedDict, final, type_check_only

@type_check_only
class Figures(TypedDict):
    count: int
    sum: float
    buckets: dict[str, int]

@final
class Histogram:
    sum: float
    since: float
    def __init__(self, unit: float, first: int, buckets: int) -> None: ...
    def observe(self, value: float) -> None: ...
    def figures(self) -> Figures: ...
