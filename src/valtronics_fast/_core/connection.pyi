from typing import Never, final

from typing_extensions import disjoint_base

from valtronics_fast._core.hub import Hub
from valtronics_fast._core.inbox import Inbound

@final
class Limits:
    messages_per_second: float
    message_size: int
    auth_size: int
    frame_size: int
    fragments: int
    batch_items: int
    subscriptions: int
    device_ids: int
    min_interval: float
    replayed_messages: float
    json_depth: int
    queue_mark: int
    queue_size: int
    queue_time: float
    queue_limit: int
    auth_attempts: int
    auth_timeout: float
    grace: float
    renewal_notice: float
    ping_interval: float
    ping_timeout: float
    close_timeout: float
    def __init__(self, *args: Never, **limits: float) -> None: ...

@disjoint_base
class Connection(Inbound):
    close_code: int
    closed_by_peer: bool
    messages_in: int
    bytes_in: int
    dropped: int
    number: int
    def __init__(self, hub: Hub, limits: Limits, *, msgpack: bool = False, deflate: int = 0) -> None: ...
    def intercept(self, data: object) -> None: ...
    def settle_violation(self) -> None: ...
    def disconnect(self, code: int, reason: str | None = None) -> bool: ...
    def abort(self) -> None: ...
    @property
    def messages_out(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def queued_bytes(self) -> int: ...
    @property
    def age(self) -> float: ...
