"""A sample of the messages, for an operator who wants to see what goes by: each with the same probability.

Nothing is told in the middle of a fan-out: what was picked is told at the end of the turn, MAX_PICKED of it at most.
"""
from libc.stdint cimport uint64_t

from .types cimport NoResult

cimport cython


cdef enum:
    MAX_PICKED = 1000               # messages that are told of a turn; more are counted only


@cython.final
cdef class Sampler:
    cdef:
        object _schedule
        object _report
        double _log_others              # logarithm of the probability that a message is not picked; 0: every one is
        uint64_t _random
        uint64_t _left                  # messages up to the one that is picked next, it included
        list _picked
        readonly uint64_t untold        # messages that were picked, and too many for their turn

    cdef bint picks(self) noexcept
    cdef NoResult note(self, str direction, object connection, object kind, object channel,
                       Py_ssize_t size) except NoResult.EXC
    cdef NoResult received(self, uint64_t connection, const char *data, Py_ssize_t size,
                           bint packed) except NoResult.EXC
    cdef NoResult sent(self, object connection, int channel, Py_ssize_t size) except NoResult.EXC
    cdef NoResult answered(self, uint64_t connection, dict document, Py_ssize_t size) except NoResult.EXC
