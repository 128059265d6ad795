"""A timer wheel: one timer a slot, set and moved in constant time, whatever their number.

    spokes (one a tick)      heads of doubly linked lists through `next` and `previous`
    [ 0 ] -> 17 <-> 4
    [ 1 ]
    [ 2 ] -> 9               a deadline further away than the wheel goes round stays in its spoke
    ...                      until its own tick comes

Time is an argument, in monotonic seconds; a timer fires in the tick after its deadline, never before it.
"""
from libc.stdint cimport int32_t, int64_t

from .types cimport NoResult, slot_t

cimport cython


cdef enum:
    SPOKES = 1024


@cython.final
cdef class TimerWheel:
    cdef:
        readonly double tick            # seconds
        readonly Py_ssize_t armed       # timers that are set
        int64_t _now                    # ticks that have been worked off
        # Indexed by slot, `_capacity` entries; a slot that is not armed has _due < 0.
        Py_ssize_t _capacity
        int64_t *_due
        int32_t *_next
        int32_t *_previous
        int32_t _spokes[SPOKES]

    cdef NoResult reserve(self, Py_ssize_t capacity) except NoResult.EXC
    cdef NoResult set_timer(self, slot_t slot, double deadline) except NoResult.EXC
    cdef void clear_timer(self, slot_t slot) noexcept
    cdef int64_t pop_due(self, double now) noexcept
