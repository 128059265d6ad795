from collections.abc import Awaitable, Mapping
from typing import Protocol, type_check_only

from typing_extensions import disjoint_base

from valtronics_fast._core.connection import Connection, Limits
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.session import Session

@type_check_only
class Host(Protocol):
    def opened(self, session: Session, /) -> None: ...
    def closed(self, session: Session, /) -> None: ...
    def join(self, session: Session, user: str, /) -> bool: ...
    def authenticate(self, session: Session, token: object, /) -> Grant | Awaitable[Grant] | None: ...
    def wait(self, session: Session, verification: Awaitable[Grant], /) -> None: ...
    def follow(self, session: Session, lanes: list[int], offset: int, /) -> None: ...
    def publish(self, message: Mapping[str, object], /) -> int: ...
    def reported(self, session: Session, report: Mapping[str, object], /) -> None: ...
    def failed(self, session: Session, error: BaseException, /) -> None: ...

@disjoint_base
class Client(Connection):
    address: str
    endpoint: int
    grant: Grant | None
    def __init__(
        self,
        hub: Hub,
        limits: Limits,
        host: Host,
        address: str,
        *,
        endpoint: int = -1,
        grant: Grant | None = None,
        msgpack: bool = False,
        deflate: int = 0,
    ) -> None: ...
    def verified(self, grant: Grant | None) -> None: ...
    @property
    def user(self) -> str | None: ...
