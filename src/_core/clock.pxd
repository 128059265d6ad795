"""The two clocks: monotonic for every timer and limit, wall for what people and tokens read."""
from libc.time cimport time_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec


cdef inline double monotonic_seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double>now.tv_sec + <double>now.tv_nsec * 1e-9


cdef inline double wall_seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <double>now.tv_sec + <double>now.tv_nsec * 1e-9


cdef str iso_timestamp(double unix_seconds)
cdef str iso_now()
