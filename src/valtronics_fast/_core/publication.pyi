from collections.abc import Mapping
from typing import final

from valtronics_fast._core.wire import ErrorCode

class PublicationError(ValueError):
    code: ErrorCode
    def __init__(self, code: int, message: str) -> None: ...

@final
class Publication:
    channel: int
    device: int | str | None
    count: int
    first: str | None
    second: str | None

def channel_of(message: Mapping[str, object]) -> int | None: ...
