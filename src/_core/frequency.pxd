"""`frequency` as clients write it (protocol.md, section 3) <-> an interval and a deadband."""

cimport cython


# An interval in seconds (0: real-time) and a deadband: by how much a number must move, as a share of the one sent last
# where it is relative; 0: by nothing. Immutable; `key` is equal for equal ones.
@cython.final
cdef class Frequency:
    cdef:
        readonly double interval
        readonly double deadband
        readonly bint relative
        object every                    # the interval as it was written
        object moved                    # the deadband as it was written; None: none

    cdef tuple key(self)
    cdef object shown(self)
    cdef Frequency at_least(self, double interval)

# None when it is none.
cdef Frequency frequency_of(object value)
