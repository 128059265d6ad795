"""Frequencies and deadbands; throttle.pxd has the overview."""

cimport cython
from libc.math cimport fabs, isnan
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from .bitset cimport slotset_clear, slotset_discard
from .publication cimport MetricMask, mask_drop, mask_has
from .types cimport NoResult, slot_t


@cython.final
cdef class Cohort:
    """Subscribers with one clock; fields in throttle.pxd."""

    def __dealloc__(self):
        slotset_clear(&self.slots)
        free(self.sent)

    cdef NoResult drop_unmoved(self, const Pace *pace, MetricMask *mask) except NoResult.EXC:
        """Take those metrics out of the mask whose number is still within the deadband of the one sent last."""
        cdef uint32_t i
        cdef double number, last
        for i in range(min(self.sent_count, self.throttle.values.count)):
            if not mask_has(mask, i) or self.sent[i].serial != self.throttle.values.metrics[i].serial:
                continue
            number = self.throttle.values.metrics[i].number
            last = self.sent[i].number
            if isnan(number) or isnan(last):
                continue
            if number == last or fabs(number - last) < (pace.deadband * fabs(last) if pace.relative else pace.deadband):
                mask_drop(mask, i)
        return NoResult.OK

    cdef NoResult remember(self, const MetricMask *mask) except NoResult.EXC:
        """Note the numbers that the metrics of the mask are sent with."""
        cdef uint32_t i, count = self.throttle.values.count
        cdef Sent *sent
        if count > self.sent_count:
            sent = <Sent *>realloc(self.sent, count * sizeof(Sent))
            if sent == NULL:
                raise MemoryError
            memset(sent + self.sent_count, 0, (count - self.sent_count) * sizeof(Sent))
            self.sent = sent
            self.sent_count = count
        for i in range(count):
            if mask_has(mask, i):
                self.sent[i].number = self.throttle.values.metrics[i].number
                self.sent[i].serial = self.throttle.values.metrics[i].serial
        return NoResult.OK


@cython.final
cdef class Throttle:
    """The cohorts of a filter at a device; fields in throttle.pxd."""

    def __cinit__(self):
        self.cohorts = []

    cdef Cohort discard(self, slot_t slot):
        """Take a subscriber out of its cohort, which is returned; None: it was in none."""
        cdef Cohort cohort
        for cohort in self.cohorts:
            if slotset_discard(&cohort.slots, slot):
                self.waiting -= 1
                return cohort
        return None
