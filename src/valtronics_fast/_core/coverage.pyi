from typing import final

@final
class Subscription:
    channel: int

@final
class Coverage: ...

@final
class ChannelTable: ...

@final
class Change:
    def __new__(cls, table: ChannelTable) -> Change: ...
