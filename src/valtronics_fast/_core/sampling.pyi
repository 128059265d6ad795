from collections.abc import Callable
from typing import final

@final
class Sampler:
    untold: int
    def __init__(
        self,
        fraction: float,
        schedule: Callable[[Callable[[], None]], object],
        report: Callable[[str, int, str | None, str | None, int], object],
    ) -> None: ...
    def tell(self) -> None: ...
