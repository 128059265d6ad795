"""Frequencies and deadbands: when, and with what of a device's newest values, subscribers are served.

    (filter, device) -> Throttle -> Cohort {slots}  due 12.3 s  has all up to offset 17
                                    Cohort {slots}  due 12.9 s  has all up to offset 21

Subscribers of a device that share a filter and a clock are a cohort: they have one timer, and get one frame together.
Who is in none may be served at once. A publication costs nothing where everybody is in a cohort: what is owed
follows from the offsets of the device's Values when the cohort is due. A cohort to which nothing is owed then is
dissolved, but for one with a deadband, which has to remember what it has sent: it waits for the next publication
(due: never).

Who leaves a cohort because it stands under another filter from now on is sent at once what it was owed and still asks
for (SubscriptionTable); it begins anew there. What is owed to somebody who asks for it no more is dropped.

Time is an argument, in monotonic seconds. The hub sends, and keeps the timers.
"""
from libc.stdint cimport uint32_t, uint64_t

from .bitset cimport SlotSet
from .latest cimport Values
from .publication cimport MetricMask
from .types cimport NoResult, slot_t

cimport cython


# How often and how finely: the clock of a filter.
cdef struct Pace:
    double interval                 # seconds; 0: real-time
    double deadband                 # by how much a number must move; 0: by nothing
    bint relative                   # deadband is a share of the number that was sent last


cdef inline bint is_throttled(const Pace *pace) noexcept nogil:
    return pace.interval > 0 or pace.deadband > 0


cdef struct Sent:
    double number
    uint32_t serial                 # 0: nothing


@cython.final
cdef class Cohort:
    cdef:
        Throttle throttle           # None: dissolved
        SlotSet slots
        double due                  # INFINITY: with the next publication
        uint64_t since              # offset up to which it has everything
        slot_t timer                # its number in the hub's wheel
        # With a deadband: the numbers that it was sent, by the position of the metric.
        Sent *sent
        uint32_t sent_count

    cdef NoResult drop_unmoved(self, const Pace *pace, MetricMask *mask) except NoResult.EXC
    cdef NoResult remember(self, const MetricMask *mask) except NoResult.EXC


@cython.final
cdef class Throttle:
    cdef:
        Values values
        object filter               # the Filter that its subscribers stand under
        bint everywhere             # ... in the posting of all devices, not in that of this one
        list cohorts
        uint32_t waiting            # slots in them

    cdef Cohort discard(self, slot_t slot)
