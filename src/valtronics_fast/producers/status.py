"""What was known before: the last status of each device, and what its topics last said that are retained."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["UNKNOWN", "RetainedTable", "StatusTable"]

UNKNOWN = "unknown"
"""The old status of a device that was never heard of, or was forgotten."""

MAX_DEVICES = 100_000


class StatusTable:
    """Device id -> last status; bounded: beyond its capacity the device longest not heard of is forgotten.

    Args:
        capacity: devices remembered, at least 1.
    """

    __slots__ = ("_capacity", "_statuses")

    def __init__(self, capacity: int = MAX_DEVICES) -> None:
        if capacity < 1:
            raise ValueError("a status table remembers at least one device")
        self._capacity = capacity
        self._statuses: OrderedDict[int | str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._statuses)

    def last(self, device: int | str) -> str:
        """Return the last known status of a device, or UNKNOWN."""
        return self._statuses.get(device, UNKNOWN)

    def note(self, device: int | str, status: str) -> str:
        """Note that a device has a status now, and return the status it had before (or UNKNOWN)."""
        statuses = self._statuses
        old = statuses.get(device)
        statuses[device] = status
        statuses.move_to_end(device)
        if old is not None:
            return old
        if len(statuses) > self._capacity:
            statuses.popitem(last=False)
        return UNKNOWN


class RetainedTable:
    """What topics with a retained message said last, so that it says nothing when the broker sends it again.

    Args:
        capacity: topics remembered, at least 1; beyond it the one that was noted first is forgotten.
    """

    __slots__ = ("_capacity", "_said")

    def __init__(self, capacity: int = MAX_DEVICES) -> None:
        if capacity < 1:
            raise ValueError("a table of retained messages remembers at least one topic")
        self._capacity = capacity
        self._said: OrderedDict[str, int] = OrderedDict()  # topic -> hash of the payload

    def knows(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Note a message; return whether it is a retained one that says what its topic said last."""
        said = self._said
        if not retained:
            if topic in said:
                said[topic] = hash(payload)
            return False
        digest = hash(payload)
        if said.get(topic) == digest:
            return True
        said[topic] = digest
        if len(said) > self._capacity:
            said.popitem(last=False)
        return False
