from typing import final

@final
class Cohort: ...

@final
class Throttle: ...
