"""Timestamps as the wire writes them: ISO 8601, UTC, milliseconds."""

from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.math cimport rint
from libc.stdio cimport snprintf
from libc.time cimport time_t, tm
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

cdef extern from "<time.h>" nogil:
    tm *gmtime_r(const time_t *seconds, tm *result)

# The years that ISO 8601 writes with four digits: 0001 to 9999.
cdef double FIRST_SECOND = -62135596800
cdef double END_OF_SECONDS = 253402300800

# The text of the current millisecond: publications come in bursts, most of them share it.
cdef time_t cached_second = -1
cdef int cached_milli = -1
cdef str cached_text = None


cdef str format_timestamp(time_t second, int milli):
    cdef tm parts
    cdef char text[64]
    cdef int size
    if gmtime_r(&second, &parts) == NULL:
        raise ValueError("a timestamp outside of the calendar")
    size = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, milli)
    return PyUnicode_DecodeASCII(text, size, NULL)


cdef str iso_timestamp(double unix_seconds):
    """Return "2024-01-01T12:00:00.000Z" for Unix seconds; ValueError outside of the calendar."""
    if not FIRST_SECOND <= unix_seconds < END_OF_SECONDS:
        raise ValueError("a timestamp outside of the calendar")
    cdef time_t second = <time_t>unix_seconds
    if second > unix_seconds:
        second -= 1
    # Rounded to microseconds, which is what a double of this size holds, and then cut.
    return format_timestamp(second, min(999, <int>(rint((unix_seconds - second) * 1e6) / 1000)))


cdef str iso_now():
    """Return the wall clock's time, the same object within a millisecond."""
    global cached_second, cached_milli, cached_text
    cdef timespec now
    cdef int milli
    clock_gettime(CLOCK_REALTIME, &now)
    milli = <int>(now.tv_nsec // 1000000)
    if now.tv_sec != cached_second or milli != cached_milli:
        cached_text = format_timestamp(now.tv_sec, milli)
        cached_second = now.tv_sec
        cached_milli = milli
    return cached_text


def timestamp(unix_seconds=None):
    """Return a time as the wire writes it: ISO 8601, UTC, milliseconds.

    Args:
        unix_seconds: Unix seconds; None: now. ValueError outside of the calendar.
    """
    return iso_now() if unix_seconds is None else iso_timestamp(unix_seconds)
