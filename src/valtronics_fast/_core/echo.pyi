from typing import final

from valtronics_fast._core.connection import Connection

@final
class Echo(Connection): ...
