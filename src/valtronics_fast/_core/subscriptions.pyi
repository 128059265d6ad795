from typing import final

@final
class Subscription:
    channel: int
    asked: frozenset[int | str] | None

@final
class Coverage: ...

@final
class ChannelTable: ...

@final
class SubscriptionTable:
    count: int
    devices: int
