from typing import final

@final
class Frequency:
    interval: float
    deadband: float
    relative: bool

def parse(
    value: object, floor: float = 0.0
) -> tuple[tuple[float, float, bool] | None, str | dict[str, object]] | None: ...
