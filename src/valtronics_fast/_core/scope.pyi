from typing import final

def device_key(value: object) -> int | str: ...
@final
class Grant:
    def __init__(
        self,
        user: str,
        expires_at: float,
        *,
        channels: int = 15,
        publish: int = 0,
        devices: frozenset[int | str] | None = None,
        min_interval: float = 0,
        monitor: bool = False,
    ) -> None: ...
    @property
    def user(self) -> str: ...
    @property
    def expires_at(self) -> float: ...
    @property
    def channels(self) -> int: ...
    @property
    def publish(self) -> int: ...
    @property
    def devices(self) -> frozenset[int | str] | None: ...
    @property
    def min_interval(self) -> float: ...
    @property
    def monitor(self) -> bool: ...
