from typing import final

from valtronics_fast._core.standing import Standing

@final
class SubscriptionTable(Standing):
    count: int
    devices: int
