"""Bytes of a client's message -> what it asks for (protocol.md, section 3). No session, no clock, no exceptions."""
from libc.stdint cimport uint32_t, uint64_t

from .devices cimport DeviceSet
from .frequency cimport Frequency

cimport cython


# What one look over the bytes tells, before anything is decoded. Exact for valid JSON; for anything else it
# says something, and the decoder then refuses.
cdef struct Outline:
    uint32_t depth                  # deepest nesting
    bint is_auth                    # top-level "type" is "auth"
    bint is_batch                   # top-level "type" is "batch"
    Py_ssize_t items                # entries of the last top-level "messages"


cdef void outline(const char *text, Py_ssize_t size, Outline *out, Py_ssize_t *item_sizes,
                  Py_ssize_t max_items) noexcept

# The decoded message, or None with the error in `error`.
cdef dict decode(const char *text, Py_ssize_t size, int *error)

# Channel -> the names of its filters `first` and `second`; None: it has no such filter.
cdef tuple FILTER_NAMES

# The command of a decoded message: a wire Command, or a negated ErrorCode.
cdef int command_of(dict message) noexcept

# The `id` to echo, None when there is none; `error` is set when it is no valid id.
cdef object id_of(dict message, int *error)


# The filters of a subscribe command in their one normal form.
@cython.final
cdef class Selection:
    cdef:
        readonly DeviceSet devices      # canonical ids as asked for; None: all devices
        readonly tuple device_order     # the same in the order of asking, for the answer
        # The channel's own filters, each a sorted tuple of distinct names, None: any.
        # telemetry, system: metrics. alerts: severity, alert_type. devices: status_types.
        readonly tuple first
        readonly tuple second
        Frequency frequency
        # Snapshot and recovery; epoch None: no `since`.
        bint snapshot
        bint recovers
        str epoch
        uint64_t offset

# None with a text for people in `problem` when the filters are not valid.
cdef Selection select(int channel, dict message, list problem)
cdef bint take_recovery(Selection selection, dict message, list problem) except -1
cdef dict selection_filters(int channel, Selection selection, frozenset denied)
cdef DeviceSet devices_of(object value, list problem)
