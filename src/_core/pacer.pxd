"""Serving those who do not want everything at once: builds cohorts, keeps their timers, sends what they are owed.

throttle.pxd says what cohorts are. For each filter that has a pace, and each device that something comes from, there
are as many as there are clocks; whoever is in none is put into a new one with the next publication, and served.
"""
from libc.stdint cimport uint64_t

from .bitset cimport SlotSet
from .fanout cimport Fanout
from .index cimport Filter, Index
from .latest cimport Values
from .publication cimport MetricMask
from .throttle cimport Cohort, Throttle
from .types cimport NoResult
from .wheel cimport TimerWheel

cimport cython


cdef enum:
    PACE_TICK_MS = 10               # resolution of the intervals


@cython.final
cdef class Pacer:
    cdef:
        Fanout fanout
        Index index
        readonly TimerWheel wheel
        list _cohorts                   # by timer; None: free
        list _free
        # Slots that are in a cohort already, of the throttle at hand.
        uint64_t *_seen
        Py_ssize_t _capacity
        uint64_t _look

    cdef uint64_t offer(self, Filter filter, const SlotSet *slots, Values values, bint everywhere,
                        bint skip, double now) except? 0xFFFFFFFFFFFFFFFF
    cdef Cohort newcomers(self, Throttle throttle, const SlotSet *slots, bint skip)
    cdef NoResult serve(self, Cohort cohort, double now) except NoResult.EXC
    cdef NoResult owe(self, Cohort cohort, uint64_t since) except NoResult.EXC
    cdef NoResult merge(self, Cohort cohort, Cohort other) except NoResult.EXC
    cdef NoResult dissolve(self, Cohort cohort) except NoResult.EXC
    cdef NoResult advance(self, double now) except NoResult.EXC
    cdef NoResult hurry(self, Values values, const MetricMask *metrics, double now) except NoResult.EXC
    cdef NoResult let_go(self, Values values, double now) except NoResult.EXC
