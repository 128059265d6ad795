"""Messages of a publisher on their way to the hub: decoded, judged, published, and counted.

One call takes as many as fit into a slice of time, so that Python is crossed once a slice; `publish` alone is called
for each message that is permitted.
"""
from libc.stdint cimport uint64_t

from .scope cimport Grant


cdef class Admission:
    cdef:
        public Grant grant              # what the publisher may publish; may be replaced between two calls
        readonly uint64_t accepted      # messages published
        readonly uint64_t matched       # subscriptions that they matched, in sum
        readonly uint64_t rejected_total
        readonly list rejected          # the first ones, as an answer shows them
        readonly Py_ssize_t max_rejected
        readonly Py_ssize_t max_text    # bytes of a text; 0: no bound
        object _publish

    cdef bint take(self, bytes text) except -1
    cdef object admit(self, object message)
    cdef object refuse(self, object code, object message)
