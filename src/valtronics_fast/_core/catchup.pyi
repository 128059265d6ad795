from typing import final

@final
class CatchUp: ...
