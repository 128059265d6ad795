"""A data message on its way to the subscribers: checked, completed, and serialised at most once.

A publication of values (telemetry, system) is a list of metrics, so that each projection is put together from
the same serialised pieces; one of an event (alerts, devices) is a document that goes out whole.
"""
from libc.stdint cimport uint64_t

cimport cython


cdef enum:
    MAX_METRICS = 256               # metrics a publication
    MASK_WORDS = 4


# Which of a publication's metrics: bit i is its i-th metric.
cdef struct MetricMask:
    uint64_t words[MASK_WORDS]


cdef inline bint mask_has(const MetricMask *mask, size_t i) noexcept nogil:
    return (mask.words[i >> 6] >> (i & 63)) & 1


cdef inline void mask_add(MetricMask *mask, size_t i) noexcept nogil:
    mask.words[i >> 6] |= (<uint64_t>1) << (i & 63)


cdef inline void mask_drop(MetricMask *mask, size_t i) noexcept nogil:
    mask.words[i >> 6] &= ~((<uint64_t>1) << (i & 63))


cdef inline bint mask_any(const MetricMask *mask) noexcept nogil:
    """Say whether there is any metric in it."""
    cdef uint64_t found = 0
    cdef int w
    for w in range(MASK_WORDS):
        found |= mask.words[w]
    return found != 0


cdef inline bint have_common(const MetricMask *one, const MetricMask *other) noexcept nogil:
    """Say whether a metric is in both."""
    cdef uint64_t common = 0
    cdef int w
    for w in range(MASK_WORDS):
        common |= one.words[w] & other.words[w]
    return common != 0


@cython.final
cdef class Publication:
    cdef:
        readonly int channel
        readonly object device          # canonical id; None: no device (a platform-wide alert, the system)
        object device_as_given          # what the message shows (protocol.md, section 3)
        # Values: parallel lists, `count` long; `pieces` holds b'"name":{...}', None until first asked for. `head` and
        # `tail` are what stands around the pieces that a projection takes, None likewise.
        readonly Py_ssize_t count
        list names
        list values
        list pieces
        bytes head
        bytes tail
        object timestamp                # system: of the whole message
        # Events: the document, which goes with its serialisation, and what filters look at (alerts: severity, type;
        # devices: status).
        dict document
        bytes text
        readonly str first
        readonly str second

    cdef object serialise(self, const MetricMask *mask)
    cdef Py_ssize_t finish(self) except -1
    cdef object envelop(self)


cdef bytes serialised(object value)
# A metric's value where it is a number, else NaN.
cdef double number_of(object value) noexcept
cdef Publication publication_of(object message)
