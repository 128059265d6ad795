from typing import final

from valtronics_fast._core.devices import DeviceSet

@final
class Selection:
    devices: DeviceSet | None
    device_order: tuple[int | str, ...] | None
    first: tuple[str, ...] | None
    second: tuple[str, ...] | None

def parse(text: bytes, *, max_depth: int = 16) -> tuple[dict[str, object], None] | tuple[None, int]: ...
def item_sizes(text: bytes, max_items: int = 64) -> list[int] | None: ...
def selection(
    channel: int, message: dict[str, object]
) -> tuple[frozenset[int | str] | None, tuple[str, ...] | None, tuple[str, ...] | None] | str: ...
