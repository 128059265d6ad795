from typing_extensions import disjoint_base

from valtronics_fast._core.client import Client

@disjoint_base
class Feed(Client):
    @property
    def subscription_count(self) -> int: ...
    @property
    def conflated(self) -> int: ...
