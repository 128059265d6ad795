"""`frequency` as clients write it; frequency.pxd has the overview."""

cimport cython
from libc.math cimport INFINITY

from re import compile as _re_compile

cdef object INTERVAL = _re_compile(r"([1-9][0-9]{0,8})(ms|s|m|h)")
cdef object PERCENT = _re_compile(r"([0-9]+(?:\.[0-9]+)?)%")
cdef dict SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
cdef str REAL_TIME = "real-time"


cdef str interval_text(double seconds):
    """Return an interval in the largest unit that it is a whole number of, to the millisecond."""
    cdef long long milliseconds = <long long>(seconds * 1000 + 0.5)
    if milliseconds % 1000:
        return f"{milliseconds}ms"
    if milliseconds % 60_000:
        return f"{milliseconds // 1000}s"
    if milliseconds % 3_600_000:
        return f"{milliseconds // 60_000}m"
    return f"{milliseconds // 3_600_000}h"


@cython.final
cdef class Frequency:
    """How often, and how finely; fields in frequency.pxd."""

    cdef tuple key(self):
        """Return (interval, deadband, relative); None for real-time without a deadband."""
        if self.interval == 0 and self.deadband == 0:
            return None
        return self.interval, self.deadband, self.relative

    cdef object shown(self):
        """Return it as a subscribe_response shows it: in the form in which it was asked for."""
        return self.every if self.moved is None else {"every": self.every, "deadband": self.moved}

    cdef Frequency at_least(self, double interval):
        """Return it with an interval that is not below the server's."""
        cdef Frequency slower
        if self.interval >= interval:
            return self
        slower = Frequency.__new__(Frequency)
        slower.interval = interval
        slower.every = interval_text(interval)
        slower.deadband = self.deadband
        slower.relative = self.relative
        slower.moved = self.moved
        return slower


cdef Frequency frequency_of(object value):
    """Return the frequency that a client asks for (None: real-time), or None when it is none."""
    cdef Frequency frequency
    if value is None or value == REAL_TIME:
        return UNLIMITED
    frequency = Frequency.__new__(Frequency)
    frequency.every = REAL_TIME
    if type(value) is dict:
        if not set(<dict>value) <= {"every", "deadband"} or "every" not in <dict>value:
            return None
        if not take_deadband(frequency, (<dict>value).get("deadband", 0)):
            return None
        value = (<dict>value)["every"]
    if type(value) is not str:
        return None
    if value == REAL_TIME:
        return frequency
    match = INTERVAL.fullmatch(value)
    if match is None:
        return None
    frequency.interval = int(match[1]) * <double>SECONDS[match[2]]
    frequency.every = value
    return frequency


cdef bint take_deadband(Frequency frequency, object value) except -1:
    """Set a frequency's deadband; say whether the value is one."""
    if type(value) is str:
        match = PERCENT.fullmatch(value)
        if match is None:
            return False
        frequency.relative = True
        frequency.deadband = float(match[1]) / 100
    elif type(value) is float or (type(value) is int and 0 <= value < 1 << 53):
        frequency.deadband = value
    else:
        return False
    if not 0 <= frequency.deadband < INFINITY:
        return False
    if frequency.deadband > 0:
        frequency.moved = value
    else:
        frequency.relative = False
    return True


cdef Frequency UNLIMITED = Frequency.__new__(Frequency)     # shared by all that ask for nothing else
UNLIMITED.every = REAL_TIME


def parse(value, double floor=0):
    """Return ((interval, deadband, relative) or None, what the answer shows), for tests; None when it is none.

    Args:
        value: what a client wrote.
        floor: the server's smallest interval, in seconds.
    """
    cdef Frequency frequency = frequency_of(value)
    if frequency is None:
        return None
    frequency = frequency.at_least(floor)
    return frequency.key(), frequency.shown()
