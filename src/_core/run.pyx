"""What connections that have the same frames to send share; run.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

from .buffer cimport buffer_append, buffer_free
from .encode cimport frame_of_batch, payload_size
from .formats cimport converted
from .queue cimport BATCH, CONVERTED, TAGS, OutQueue, frame_at, queue_clear, queue_push
from .types cimport NoResult, vfast_invariant

cdef enum:
    MAX_SHARED_RUN = 1 << 18        # bytes
    MAX_BATCH = 1 << 16             # bytes of a batch of several messages


cdef bint is_run(list frames, const OutQueue *queue) noexcept:
    """Say whether a queue holds exactly these frames."""
    cdef Py_ssize_t i, count = queue.tail - queue.head
    if len(frames) != count:
        return False
    for i in range(count):
        if <PyObject *>frames[i] != frame_at(queue, <uint32_t>(queue.head + i)):
            return False
    return True


cdef list frames_of(const OutQueue *queue):
    cdef uint32_t i
    return [<object>frame_at(queue, i) for i in range(queue.head, queue.tail)]


@cython.final
cdef class Run:
    """The last connection's frames; fields in run.pxd."""

    def __cinit__(self):
        self.clear()

    def __dealloc__(self):
        buffer_free(&self.bytes)

    cdef void clear(self) noexcept:
        """Forget everything: the turn is over."""
        if self.frames is None or self.frames:
            self.frames = []
        if self.gathered is None or self.gathered:
            self.gathered = []
            self.batches = []
        if self.conversions is None or self.conversions:
            self.conversions = {}
        buffer_free(&self.bytes)

    cdef bint shared_by(self, const OutQueue *queue) except -1:
        """Say whether `bytes` is what the queue holds; if not, remember its frames for the next connection.

        The bytes are joined when a second connection has the same frames, or when there are too many for one sendmsg().
        """
        cdef Py_ssize_t count = queue.tail - queue.head
        if count < 2 or queue.bytes > MAX_SHARED_RUN:
            return False
        if is_run(self.frames, queue):
            if self.bytes.size == 0:
                self.join()
            vfast_invariant(<uint64_t>self.bytes.size == queue.bytes)
            return True
        self.frames = frames_of(queue)
        self.bytes.size = 0
        if count <= MAX_VECTORS:
            return False
        self.join()
        return True

    cdef NoResult join(self) except NoResult.EXC:
        """Put the bytes of the run's frames together."""
        for frame in self.frames:
            buffer_append(&self.bytes, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        return NoResult.OK

    cdef list batched(self, const OutQueue *queue):
        """Return (frame, how many entries of the queue it stands for) of what the queue comes to with batches.

        Connections that share the whole turn share the batches.
        """
        cdef Py_ssize_t count = queue.tail - queue.head
        cdef Py_ssize_t i, more, size = 0
        cdef PyObject *frame
        cdef list messages = []
        if is_run(self.gathered, queue):
            return self.batches
        self.gathered = frames_of(queue)
        self.batches = []
        for i in range(count + 1):
            frame = NULL
            more = 0
            if i < count:
                frame = frame_at(queue, <uint32_t>(queue.head + i))
                more = payload_size(<bytes>frame) + 1
            if frame == NULL or queue.entries[queue.head + i] & TAGS or (messages and size + more > MAX_BATCH):
                if messages:
                    frames = messages[0] if len(messages) == 1 else frame_of_batch(messages)
                    self.batches.append((frames, len(messages)))
                messages, size = [], 0
            if frame != NULL and queue.entries[queue.head + i] & TAGS:
                self.batches.append((<object>frame, 1))
            elif frame != NULL:
                messages.append(<object>frame)
                size += more
        return self.batches

    cdef NoResult gather(self, OutQueue *queue) except NoResult.EXC:
        """Put the queue's data messages together to batches."""
        cdef uint32_t i
        cdef Py_ssize_t done = 0, count
        cdef list tags = [queue.entries[i] & TAGS for i in range(queue.head, queue.tail)]
        cdef list batches = self.batched(queue)
        cdef uint64_t bytes_out = queue.bytes_out - queue.bytes
        if len(batches) == len(tags):
            return NoResult.OK
        queue_clear(queue)
        for frame, count in batches:
            queue_push(queue, <PyObject *>frame, PyBytes_GET_SIZE(frame), BATCH if count > 1 else tags[done])
            done += count
        queue.bytes_out = bytes_out + queue.bytes
        return NoResult.OK

    cdef bytes conversion(self, bytes frame, uint8_t format):
        """Return a frame in a format, which is made once a turn."""
        key = (frame, format)
        cdef bytes result = self.conversions.get(key)
        if result is None:
            result = self.conversions[key] = converted(frame, format)
        return result

    cdef NoResult convert(self, OutQueue *queue) except NoResult.EXC:
        """Bring the queue's frames into the client's format."""
        cdef uint32_t i
        cdef bytes frame
        cdef Py_ssize_t size
        for i in range(queue.head, queue.tail):
            if queue.entries[i] & CONVERTED:
                continue
            size = PyBytes_GET_SIZE(<object>frame_at(queue, i))
            frame = self.conversion(<bytes>frame_at(queue, i), queue.format)
            Py_INCREF(frame)
            Py_DECREF(<object>frame_at(queue, i))
            queue.entries[i] = <uintptr_t><void *>frame | (queue.entries[i] & TAGS) | CONVERTED
            queue.bytes += PyBytes_GET_SIZE(frame) - size
            queue.bytes_out += PyBytes_GET_SIZE(frame) - size
        return NoResult.OK
