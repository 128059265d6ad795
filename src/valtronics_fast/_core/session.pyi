from typing import final

from valtronics_fast._core.client import Host
from valtronics_fast._core.connection import Limits
from valtronics_fast._core.feed import Feed
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.scope import Grant

@final
class Batch: ...

@final
class Session(Feed):
    def __init__(
        self,
        hub: Hub,
        limits: Limits,
        host: Host,
        address: str,
        *,
        endpoint: int = -1,
        implicit: bool = True,
        grant: Grant | None = None,
        msgpack: bool = False,
        deflate: int = 0,
    ) -> None: ...
    def followed(self) -> None: ...
