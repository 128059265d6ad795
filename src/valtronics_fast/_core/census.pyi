from typing import TypedDict, type_check_only

from valtronics_fast._core.histogram import Figures
from valtronics_fast._core.hub import Hub

@type_check_only
class Census(TypedDict):
    connections: int
    age: float
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    dropped: int
    queues: Figures

def census(hub: Hub) -> Census: ...
