"""The newest value of each metric of each device; latest.pxd has the drawing."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.math cimport NAN
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from .encode cimport frame_of_pieces
from .publication cimport MAX_METRICS, MetricMask, Publication
from .types cimport NoResult

cdef enum:
    # Bytes of a device and of a metric beside their texts, roughly: objects, table entries, list nodes.
    DEVICE_COST = 600
    METRIC_COST = 160


cdef double number_of(object value) noexcept:
    """Return a metric's value where it is a number, else NaN."""
    cdef PyObject *inner
    if type(value) is dict:
        inner = PyDict_GetItem(<dict>value, "value")
        if inner == NULL:
            return NAN
        value = <object>inner
    if type(value) is float:
        return <double>value
    if type(value) is int:
        try:
            return <double>value
        except OverflowError:
            return NAN
    return NAN


@cython.final
cdef class Values:
    """What is newest of one device; fields in latest.pxd."""

    def __cinit__(self):
        self.positions = {}
        self.names = []
        self.pieces = []

    def __dealloc__(self):
        free(self.metrics)

    cdef NoResult reserve(self, uint32_t capacity) except NoResult.EXC:
        cdef Metric *metrics
        if capacity <= self.capacity:
            return NoResult.OK
        capacity = min(max(capacity, self.capacity * 2), <uint32_t>MAX_METRICS)
        metrics = <Metric *>realloc(self.metrics, capacity * sizeof(Metric))
        if metrics == NULL:
            raise MemoryError
        self.metrics = metrics
        self.capacity = capacity
        return NoResult.OK

    cdef bint displaced_by(self, Publication publication, MetricMask *mask) except -1:
        """Set the mask to the metrics that have to make room for a publication; say whether there are any."""
        cdef Py_ssize_t i
        cdef Py_ssize_t excess = <Py_ssize_t>self.count + publication.count - MAX_METRICS
        cdef list others
        if excess <= 0:
            return False
        for name in publication.names:
            excess -= name in self.positions
        if excess <= 0:
            return False
        # As position_of() takes them: the longest silent ones first.
        known = set(publication.names)
        others = sorted([(self.metrics[i].offset, i) for i in range(self.count) if self.names[i] not in known])
        memset(mask, 0, sizeof(MetricMask))
        for _, i in others[:excess]:
            mask.words[i >> 6] |= (<uint64_t>1) << (i & 63)
        return True

    cdef uint32_t position_of(self, str name) except? 0xFFFFFFFF:
        """Return where a metric stands; a new one takes the next place, or that of the longest silent one."""
        cdef PyObject *known = PyDict_GetItem(self.positions, name)
        cdef uint32_t i, position
        if known != NULL:
            return <uint32_t><object>known
        if self.count < MAX_METRICS:
            position = self.count
            self.reserve(position + 1)
            self.names.append(name)
            self.pieces.append(b"")
            self.count += 1
        else:
            position = 0
            for i in range(1, self.count):
                if self.metrics[i].offset < self.metrics[position].offset:
                    position = i
            del self.positions[self.names[position]]
            self.nbytes -= PyBytes_GET_SIZE(self.pieces[position]) + METRIC_COST
            self.names[position] = name
            self.pieces[position] = b""
        self.positions[name] = position
        self.serials += 1
        self.metrics[position].serial = self.serials
        self.nbytes += METRIC_COST
        return position

    cdef void since(self, uint64_t offset, MetricMask *mask) noexcept:
        """Leave those metrics in the mask that have come after an offset."""
        cdef uint32_t i
        for i in range(self.count):
            if self.metrics[i].offset <= offset:
                mask.words[i >> 6] &= ~((<uint64_t>1) << (i & 63))

    cdef bytes frame_of(self, const MetricMask *mask):
        """Return the frame of the pieces that the mask names."""
        if self.state is not None:
            return <bytes>self.pieces[0]
        return frame_of_pieces(self.head, self.pieces, self.tail, mask)


@cython.final
cdef class LatestTable:
    """The newest values of a channel.

    Args:
        limit: bytes that they may take; 0: no bound.
    """

    def __init__(self, Py_ssize_t limit=0):
        self.limit = limit
        self._values = {}

    def __dealloc__(self):
        self._oldest = self._newest = NULL

    cdef Values find(self, object device):
        """Return a device's values; None: there are none."""
        cdef PyObject *values = PyDict_GetItem(self._values, device)
        return None if values == NULL else <Values>values

    cdef Values store(self, Publication publication, uint64_t offset):
        """Take over a publication's values, which are serialised by that; return its device's."""
        cdef Values values = self.find(publication.device)
        cdef Py_ssize_t i, before
        cdef uint32_t position
        cdef bytes piece
        publication.serialise(NULL)
        if values is None:
            values = Values.__new__(Values)
            values.channel = publication.channel
            values.device = publication.device
            values.served = []
            values.nbytes = DEVICE_COST
            before = 0
            self._values[publication.device] = values
        else:
            before = values.nbytes
            self.unlink(values)
        self.append(values)
        values.offset = offset
        values.head = publication.head
        values.tail = publication.tail
        for i in range(publication.count):
            # A device mostly sends the same metrics in the same order.
            if i < values.count and values.names[i] is publication.names[i]:
                position = <uint32_t>i
            else:
                position = values.position_of(<str>publication.names[i])
            piece = <bytes>publication.pieces[i]
            values.nbytes += PyBytes_GET_SIZE(piece) - PyBytes_GET_SIZE(values.pieces[position])
            values.pieces[position] = piece
            values.metrics[position].offset = offset
            values.metrics[position].number = number_of(publication.values[i])
        self.nbytes += values.nbytes - before
        return values

    cdef Values excess(self, Values kept):
        """Return whose turn it is to go, as long as the bound is not kept: the longest silent, never `kept`."""
        cdef Values values
        if not self.limit or self.nbytes <= self.limit or self._oldest == NULL:
            return None
        values = <Values>self._oldest
        return None if values is kept else values

    cdef NoResult remove(self, Values values) except NoResult.EXC:
        """Forget a device; nobody is to be served from it any more."""
        self.unlink(values)
        self.nbytes -= values.nbytes
        self.evicted += 1
        del self._values[values.device]
        return NoResult.OK

    cdef void unlink(self, Values values) noexcept:
        """Take values out of the list."""
        if values.older != NULL:
            (<Values>values.older).newer = values.newer
        else:
            self._oldest = values.newer
        if values.newer != NULL:
            (<Values>values.newer).older = values.older
        else:
            self._newest = values.older

    cdef void append(self, Values values) noexcept:
        """Put values at the newest end of the list."""
        values.older = self._newest
        values.newer = NULL
        if self._newest != NULL:
            (<Values>self._newest).newer = <void *>values
        else:
            self._oldest = <void *>values
        self._newest = <void *>values

    def stats(self):
        """Return what the table holds: devices, metrics, bytes, who is to be served from it; and what had to go."""
        cdef Values values
        cdef Py_ssize_t metrics = 0, served = 0
        for values in self._values.values():
            metrics += values.count
            served += len(values.served)
        return {"devices": len(self._values), "metrics": metrics, "bytes": self.nbytes, "served": served,
                "evicted": self.evicted}
