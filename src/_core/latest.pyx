"""The newest value of each metric of each device; latest.pxd has the drawing."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memset

from .encode cimport frame_of, frame_of_pieces
from .publication cimport MAX_METRICS, MetricMask, Publication, mask_add, mask_drop, number_of
from .types cimport NoResult
from .wire cimport Opcode
cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *)

cdef enum:
    # Bytes of a device and of a metric beside their texts, roughly: objects, table entries, list nodes.
    DEVICE_COST = 600
    METRIC_COST = 160


cdef class Node:
    """A place in a table's list; fields in latest.pxd."""


@cython.final
cdef class Values(Node):
    """What is newest of one device; fields in latest.pxd."""

    def __cinit__(self):
        self.positions = {}
        self.names = []
        self.pieces = []
        # There are millions of these lists, all of str and bytes: no cycle goes through them, and the garbage collector
        # would stop the server for half a second to find that out.
        PyObject_GC_UnTrack(<void *>self.names)
        PyObject_GC_UnTrack(<void *>self.pieces)

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
            mask_add(mask, <size_t>i)
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
            self.nbytes -= 2 * PyBytes_GET_SIZE(self.pieces[position]) + METRIC_COST
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
                mask_drop(mask, i)

    cdef bytes encoded(self, const MetricMask *mask):
        """Return the frame of the pieces that the mask names."""
        if self.state is not None:
            return <bytes>self.pieces[0]
        # Those who ask for the same, such as many that connect at once, share one.
        if self.frame is None or memcmp(&self.framed, mask, sizeof(MetricMask)) != 0:
            self.frame = frame_of_pieces(self.head, self.pieces, self.tail, mask)
            self.framed = mask[0]
        return self.frame


@cython.final
cdef class Cursor(Node):
    """A reader's place in the list; fields in latest.pxd."""

    def __cinit__(self):
        self.is_cursor = True


@cython.final
cdef class LatestTable:
    """The newest values of a channel.

    Args:
        limit: bytes that they may take; 0: no bound.
    """

    def __init__(self, Py_ssize_t limit=0):
        self.limit = limit
        self._values = {}
        self._free = []
        self.cursors = {}

    def __dealloc__(self):
        self._oldest = self._newest = NULL

    cdef Values find(self, object device):
        """Return a device's values; None: there are none."""
        cdef PyObject *values = PyDict_GetItem(self._values, device)
        return None if values == NULL else <Values>values

    cdef Values values_of(self, Publication publication, uint64_t offset, double now):
        """Return the values of a publication's device, newly made if need be, at the newest end."""
        cdef Values values = self.find(publication.device)
        if values is None:
            values = Values.__new__(Values)
            values.channel = publication.channel
            values.device = publication.device
            if self._free:
                values.slot = self._free.pop()
            else:
                values.slot = self.slots
                self.slots += 1
            values.nbytes = DEVICE_COST
            self.nbytes += DEVICE_COST
            self._values[publication.device] = values
        else:
            self.unlink(values)
        self.insert(values, self._newest)
        values.offset = offset
        values.received_at = now
        values.frame = None
        return values

    cdef Values store(self, Publication publication, uint64_t offset, double now):
        """Take over a publication's values, which are serialised by that; return its device's."""
        cdef Values values
        cdef Py_ssize_t i, before
        cdef uint32_t position
        cdef bytes piece
        publication.serialise(NULL)
        values = self.values_of(publication, offset, now)
        before = values.nbytes
        values.head = publication.head
        values.tail = publication.tail
        for i in range(publication.count):
            # A device mostly sends the same metrics in the same order.
            if i < values.count and values.names[i] is publication.names[i]:
                position = <uint32_t>i
            else:
                position = values.position_of(<str>publication.names[i])
            piece = <bytes>publication.pieces[i]
            values.nbytes += 2 * (PyBytes_GET_SIZE(piece) - PyBytes_GET_SIZE(values.pieces[position]))
            values.pieces[position] = piece
            values.metrics[position].offset = offset
            values.metrics[position].number = number_of(publication.values[i])
        self.nbytes += values.nbytes - before
        return values

    cdef Values store_event(self, Publication publication, uint64_t offset, double now):
        """Take over an event that is a device's newest state."""
        cdef Values values
        cdef bytes frame
        cdef Py_ssize_t before
        publication.serialise(NULL)
        frame = frame_of(Opcode.OP_TEXT, publication.text)
        values = self.values_of(publication, offset, now)
        before = values.nbytes
        if values.state is None:
            values.position_of("")
        values.nbytes += PyBytes_GET_SIZE(frame) - PyBytes_GET_SIZE(values.pieces[0])
        values.state = publication.first
        values.pieces[0] = frame
        values.metrics[0].offset = offset
        self.nbytes += values.nbytes - before
        return values

    cdef Values excess(self, Values kept):
        """Return whose turn it is to go, as long as the bound is not kept: the longest silent, never `kept`."""
        cdef void *node = self._oldest
        if not self.limit or self.nbytes <= self.limit:
            return None
        while node != NULL and (<Node>node).is_cursor:
            node = (<Node>node).newer
        return None if node == NULL or node == <void *>kept else <Values>node

    cdef NoResult remove(self, Values values) except NoResult.EXC:
        """Forget a device; nobody is to be served from it any more."""
        self.unlink(values)
        self.nbytes -= values.nbytes
        self.evicted += 1
        self._free.append(values.slot)
        del self._values[values.device]
        return NoResult.OK

    cdef NoResult place(self, Cursor cursor, bint at_end, uint64_t offset) except NoResult.EXC:
        """Put a cursor into the list, or move it: behind everything up to the newest `offset`, or in front."""
        cdef void *older
        if cursor not in self.cursors:
            self.cursors[cursor] = None
        else:
            self.unlink(cursor)
        older = self._newest if at_end else NULL
        # The values of the publication at hand stand there before it has its offset in the history.
        while older != NULL and not (<Node>older).is_cursor and (<Values>older).offset > offset:
            older = (<Node>older).older
        self.insert(cursor, older)
        cursor.place = offset if at_end else 0
        return NoResult.OK

    cdef NoResult displace(self, Cursor cursor) except NoResult.EXC:
        """Take a cursor out of the list."""
        self.unlink(cursor)
        del self.cursors[cursor]
        cursor.owner = None
        return NoResult.OK

    cdef Values step(self, Cursor cursor):
        """Move a cursor behind the next values, and return them; None: there are no more."""
        cdef void *node = cursor.newer
        while node != NULL and (<Node>node).is_cursor:
            node = (<Node>node).newer
        if node == NULL:
            return None
        self.unlink(cursor)
        self.insert(cursor, node)
        cursor.place = (<Values>node).offset
        return <Values>node

    cdef void unlink(self, Node node) noexcept:
        """Take a node out of the list."""
        if node.older != NULL:
            (<Node>node.older).newer = node.newer
        else:
            self._oldest = node.newer
        if node.newer != NULL:
            (<Node>node.newer).older = node.older
        else:
            self._newest = node.older

    cdef void insert(self, Node node, void *older) noexcept:
        """Put a node behind another one; NULL: in front."""
        node.older = older
        if older != NULL:
            node.newer = (<Node>older).newer
            (<Node>older).newer = <void *>node
        else:
            node.newer = self._oldest
            self._oldest = <void *>node
        if node.newer != NULL:
            (<Node>node.newer).older = <void *>node
        else:
            self._newest = <void *>node

    def state_of(self, device):
        """Return a device's newest state (`device` is canonical), or None: it is not known, or no event."""
        cdef Values values = self.find(device)
        return None if values is None else values.state

    def figures(self):
        """Return how many devices and bytes there are, who is behind, and how many devices had to go."""
        return {"devices": len(self._values), "bytes": self.nbytes, "behind": len(self.cursors),
                "evicted": self.evicted}

    def stats(self):
        """Return the figures, and metrics and who is served at a frequency, which takes a look at each device."""
        cdef Values values
        cdef Py_ssize_t metrics = 0, served = 0
        for values in self._values.values():
            metrics += values.count
            served += 0 if values.served is None else len(values.served)
        return {**self.figures(), "metrics": metrics, "served": served}
