"""The frames that wait for a connection; the struct and its inline half are in queue.pxd."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from .types cimport NoResult, vfast_invariant

cdef enum:
    FIRST_CAPACITY = 4
    KEPT_CAPACITY = 64              # a queue that grew beyond is freed when it is empty


cdef NoResult queue_make_room(OutQueue *queue) except NoResult.EXC:
    """Make room for one more frame: by moving to the front where that frees half, else by growing."""
    cdef uint32_t count = queue.tail - queue.head
    cdef uint32_t capacity
    cdef uintptr_t *entries
    if queue.head >= queue.capacity // 2 and queue.head:
        memmove(queue.entries, queue.entries + queue.head, count * sizeof(uintptr_t))
        queue.head = 0
        queue.tail = count
        return NoResult.OK
    capacity = max(<uint32_t>FIRST_CAPACITY, queue.capacity * 2)
    entries = <uintptr_t *>realloc(queue.entries, capacity * sizeof(uintptr_t))
    if entries == NULL:
        raise MemoryError
    queue.entries = entries
    queue.capacity = capacity
    return NoResult.OK


cdef void queue_clear(OutQueue *queue) noexcept:
    """Let go of every frame; a large array too."""
    while queue.head < queue.tail:
        queue.head += 1
        Py_DECREF(<object>frame_at(queue, queue.head - 1))
    queue.head = queue.tail = queue.answers = 0
    queue.bytes = 0
    if queue.capacity > KEPT_CAPACITY:
        free(queue.entries)
        queue.entries = NULL
        queue.capacity = 0


cdef Py_ssize_t queue_advance(OutQueue *queue, Py_ssize_t sent) noexcept:
    """Drop the frames that `sent` bytes cover; return how many bytes of the next one they reach into."""
    cdef Py_ssize_t size
    while queue.head < queue.tail:
        size = PyBytes_GET_SIZE(<object>frame_at(queue, queue.head))
        if sent < size:
            return sent
        vfast_invariant(queue.bytes >= <uint64_t>size)
        sent -= size
        queue.bytes -= size
        queue.answers -= <uint32_t>(queue.entries[queue.head] & ANSWER)
        queue.head += 1
        Py_DECREF(<object>frame_at(queue, queue.head - 1))
    vfast_invariant(sent == 0)
    vfast_invariant(queue.bytes == 0)
    vfast_invariant(queue.answers == 0)
    queue_clear(queue)
    return 0


@cython.final
cdef class Queue:
    """The C queue as a Python object, for tests."""
    cdef OutQueue _queue

    def __dealloc__(self):
        queue_clear(&self._queue)
        free(self._queue.entries)

    def push(self, bytes frame not None, *, bint answer=False):
        """Append a frame."""
        queue_push(&self._queue, <PyObject *>frame, len(frame), ANSWER if answer else 0)

    def advance(self, Py_ssize_t sent):
        """Drop what `sent` bytes cover, at most all; return how many bytes of the next frame they reach into."""
        return queue_advance(&self._queue, sent)

    def clear(self):
        """Let go of every frame."""
        queue_clear(&self._queue)

    def frames(self):
        """Return what waits."""
        return [<object>frame_at(&self._queue, i) for i in range(self._queue.head, self._queue.tail)]

    @property
    def nbytes(self):
        """Bytes of all that wait."""
        return self._queue.bytes

    @property
    def answers(self):
        """How many answers wait."""
        return self._queue.answers

    @property
    def capacity(self):
        """Frames that there is room for."""
        return self._queue.capacity
