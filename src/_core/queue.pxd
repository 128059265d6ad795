"""The frames that wait for a connection: references to shared bytes objects, in order.

    entries   [ .. | frame | frame | frame, an answer | .. ]      an answer is told by the low bits of its address
                     head                               tail

A value inside its owner's memory (zero it to make an empty one), which must not move.
"""
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

from .types cimport NoResult, vfast_invariant


cdef enum:
    # Tags in the low bits of an entry.
    ANSWER = 1                      # not data, and not to wait behind any
    BATCH = 2                       # several data messages in one
    CONVERTED = 4                   # to the client's format
    TAGS = 7


cdef struct OutQueue:
    # entries[head:tail] wait: references to frames (bytes objects), which the queue owns, tagged or not.
    uintptr_t *entries
    uint32_t head
    uint32_t tail
    uint32_t capacity
    # dirty, delayed: in these lists of the turn. blocked: the transport holds bytes. shut: takes nothing more.
    # overflowed: a bound was crossed, the flush will say so. batches: the client takes data messages in batches.
    # format: what the client has negotiated (formats.pxd); 0: JSON text.
    # withheld: bits (1 << Channel) of the channels whose data goes to the catch-up, not here.
    uint8_t dirty
    uint8_t delayed
    uint8_t blocked
    uint8_t shut
    uint8_t overflowed
    uint8_t batches
    uint8_t format
    uint8_t withheld
    uint32_t answers                # tagged entries among those that wait
    uint64_t bytes                  # of all that wait
    uint64_t mark                   # of `bytes`: values are conflated beyond it; MAX_BYTES: never
    uint64_t limit                  # of `bytes`: the connection is closed beyond it; MAX_BYTES: never
    uint64_t kept_back              # data messages that went to the catch-up
    uint64_t messages_out           # data messages and answers accepted for sending; no control frames
    uint64_t bytes_out              # bytes of all frames, headers included
    PyObject *owner                 # the Outbox (borrowed: it owns this struct)


cdef enum:
    MAX_BYTES = 0x7FFFFFFFFFFFFFFF


cdef NoResult queue_make_room(OutQueue *queue) except NoResult.EXC
cdef void queue_clear(OutQueue *queue) noexcept
cdef Py_ssize_t queue_advance(OutQueue *queue, Py_ssize_t sent) noexcept


cdef inline PyObject *frame_at(const OutQueue *queue, uint32_t i) noexcept:
    return <PyObject *>(queue.entries[i] & ~<uintptr_t>TAGS)


cdef inline NoResult queue_push(OutQueue *queue, PyObject *frame, Py_ssize_t size, uintptr_t tag) except NoResult.EXC:
    """Append a frame (a bytes object of `size` bytes) with its tags; the caller looks at the flags first."""
    if queue.tail == queue.capacity:
        queue_make_room(queue)
    vfast_invariant(queue.tail < queue.capacity)
    vfast_invariant(size == PyBytes_GET_SIZE(<object>frame))
    vfast_invariant((<uintptr_t>frame & TAGS) == 0)
    vfast_invariant(not queue.shut)
    queue.entries[queue.tail] = <uintptr_t>frame | tag
    Py_INCREF(<object>frame)
    queue.answers += <uint32_t>(tag & ANSWER)
    queue.tail += 1
    queue.bytes += size
    queue.bytes_out += size
    return NoResult.OK
