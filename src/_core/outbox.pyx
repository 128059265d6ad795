"""The outbound half of a connection; outbox.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from picows.picows cimport MemoryBuffer, WSListener, WSTransport

from .histogram cimport Histogram
from .publication cimport MetricMask
from .queue cimport ANSWER, MAX_BYTES, OutQueue, frame_at, queue_advance, queue_clear, queue_push
from .run cimport MAX_VECTORS, Run
from .types cimport NoResult, vfast_guard, vfast_invariant, vfast_prefetch

from types import SimpleNamespace as _SimpleNamespace

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int socket, const msghdr *message, int flags)
    ssize_t socket_send "send"(int socket, const void *data, size_t size, int flags)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL

cdef object SETTLED = _SimpleNamespace(done=lambda: True)      # stands for a future that is done


@cython.final
cdef class Turn:
    """The connections that have something to write at the end of this turn of the event loop.

    Args:
        schedule: called with `flush` when the first one is marked, e.g. the loop's call_soon.
        delay: called with `flush_delayed` when the first one has data, which then waits for that; answers do not wait,
            and take the data along that was there before them. None: data goes out with `flush`.
    """

    def __init__(self, schedule, delay=None):
        self._schedule = schedule
        self._delay = delay
        self._dirty = []
        self._delayed = []
        self.run = Run.__new__(Run)
        self.latency = Histogram(1e-6, 4, 20)

    cdef NoResult end_soon(self) except NoResult.EXC:
        """Have the end of this turn noticed, even if there is nothing to write."""
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self.flush)
        return NoResult.OK

    cdef NoResult add(self, Outbox outbox) except NoResult.EXC:
        self._dirty.append(outbox)
        return self.end_soon()

    cdef NoResult add_data(self, OutQueue *queue) except NoResult.EXC:
        """Have a queue written to which data was added."""
        if not queue.dirty and self._delay is None:
            queue.dirty = True
            return self.add(<Outbox>queue.owner)
        if not queue.dirty and not queue.delayed:
            queue.delayed = True
            self._delayed.append(<Outbox>queue.owner)
            if len(self._delayed) == 1:
                self._delay(self.flush_delayed)
        return NoResult.OK

    def flush(self):
        """Write what this turn has gathered; called by the event loop."""
        cdef list dirty = self._dirty
        self._dirty = []
        self._scheduled = False
        self.write(dirty, False)

    def flush_delayed(self):
        """Write the data that has waited for `delay`; called by the event loop."""
        cdef list delayed = self._delayed
        self._delayed = []
        self.write(delayed, True)

    cdef NoResult write(self, list outboxes, bint delayed) except NoResult.EXC:
        """Flush the outboxes of one of the lists."""
        cdef Outbox outbox
        cdef Py_ssize_t i, count = len(outboxes)
        self.flushes += 1
        for i in range(count):
            # The kernel's work on a write drives what we will look at out of the caches: it is fetched meanwhile.
            if i + 2 < count:
                vfast_prefetch(&(<Outbox>outboxes[i + 2]).queue)
                vfast_prefetch(&(<Outbox>outboxes[i + 2]).queue.bytes)
            if i + 1 < count:
                outbox = <Outbox>outboxes[i + 1]
                vfast_prefetch(outbox.queue.entries + outbox.queue.head)
                vfast_prefetch(&outbox.transport._socket)
                vfast_prefetch(&outbox.transport.is_secure)
            outbox = <Outbox>outboxes[i]
            if delayed:
                vfast_invariant(outbox.queue.delayed)
                outbox.queue.delayed = False
            else:
                vfast_invariant(outbox.queue.dirty)
                outbox.queue.dirty = False
            try:
                outbox.flush()
            except Exception as error:          # the others are not to suffer from it
                outbox.on_broken(error)
        self.run.clear()
        if self.latency.since != 0 and delayed == (self._delay is not None):
            self.latency.stop()
        return NoResult.OK


cdef class Outbox(WSListener):
    """The outbound half of a connection; Session is the other."""

    def __cinit__(self):
        self.queue.owner = <PyObject *>self
        self.queue.mark = self.queue.limit = MAX_BYTES
        self.urgent_limit = 1 << 16

    def __dealloc__(self):
        queue_clear(&self.queue)
        free(self.queue.entries)

    cdef NoResult open_outbox(self, WSTransport transport) except NoResult.EXC:
        """Start writing to a transport that has just finished its handshake."""
        self.transport = transport
        self._write = transport._tr_write
        # What picows keeps of the handshake, a future that nobody waits for, and the buffer of the sending half that we
        # do not use (it grows again for the CLOSE of a violation that picows finds): some 2.7 KiB a connection.
        transport.request = None
        transport.response = None
        transport.listener_proxy = None
        transport.disconnected_future = SETTLED
        transport._write_buffer = MemoryBuffer.__new__(MemoryBuffer)
        # With a high-water mark of 0 the transport's pause and resume say exactly whether it holds bytes.
        # (A TLS transport would pause before the first byte: its mark is higher.)
        transport.underlying_transport.set_write_buffer_limits(high=TLS_BUFFER if transport.is_secure else 0, low=0)
        return NoResult.OK

    cdef NoResult mark(self) except NoResult.EXC:
        """Have the queue written at the end of the turn."""
        if not self.queue.dirty:
            self.queue.dirty = True
            self.turn.add(self)
        return NoResult.OK

    cdef NoResult send(self, bytes frame) except NoResult.EXC:
        """Send an answer, ping, pong or close: in order with this turn's data, but never behind a backlog.

        A peer that makes the server answer and does not read the answers is a slow consumer like any other.
        """
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        if self.transport is None or vfast_guard(b"outbox.shut", self.queue.shut):
            return NoResult.OK
        if not PyBytes_AS_STRING(frame)[0] & CONTROL:
            self.queue.messages_out += 1
        if not self.queue.blocked:
            queue_push(&self.queue, <PyObject *>frame, size, ANSWER)
            return self.mark()
        if self.queue.format:
            frame = self.turn.run.conversion(frame, self.queue.format)
            size = PyBytes_GET_SIZE(frame)
        self.urgent_bytes += size
        self.recount()
        if vfast_guard(b"outbox.answers", self.urgent_bytes > self.urgent_limit):
            self.queue.overflowed = True
            return self.mark()
        self.queue.bytes_out += size
        self._write(frame)
        return NoResult.OK

    cdef NoResult push(self, bytes frame) except NoResult.EXC:
        """Add a data message to the queue; whoever sends it to many does it in Fanout.deliver()."""
        if self.transport is None or self.queue.shut or self.queue.overflowed:
            return NoResult.OK
        self.queue.messages_out += 1
        queue_push(&self.queue, <PyObject *>frame, PyBytes_GET_SIZE(frame), 0)
        if self.queue.blocked:
            self.recount()
        if vfast_guard(b"outbox.limit", self.queue.bytes > self.queue.limit):
            self.queue.overflowed = True
        elif self.queue.blocked:
            return NoResult.OK
        return self.mark()

    cdef void recount(self) noexcept:
        """Have the turn count what waits for this connection now."""
        cdef uint64_t now = 0
        if self.queue.blocked and not self.queue.shut and not self.queue.overflowed:
            now = self.queue.bytes + self.urgent_bytes + self.held_bytes + self.noted_bytes
        if now != self.counted:
            self.turn.backlog += now - self.counted
            self.counted = now

    cdef NoResult sacrifice(self) except NoResult.EXC:
        """Let go of all that waits, and have the connection closed at the end of the turn."""
        self.queue.overflowed = True
        self.discard()
        return self.mark()

    cdef Py_ssize_t send_some(self, bint first, Py_ssize_t *offered) except -2:
        """Offer the queue's next frames to the kernel; return the bytes it took, -1 when the socket is broken.

        first: it is the flush's first look at the queue, which is then compared with the last connection's. offered:
        how many bytes that were; not all, when there are more frames than one sendmsg() takes.
        """
        cdef OutQueue *queue = &self.queue
        cdef iovec vectors[MAX_VECTORS]
        cdef msghdr message
        cdef uint32_t i, count = min(queue.tail - queue.head, <uint32_t>MAX_VECTORS)
        cdef Py_ssize_t sent
        self.turn.writes += 1
        if first and self.turn.run.shared_by(queue):
            offered[0] = self.turn.run.bytes.size
            sent = socket_send(self.transport._socket, self.turn.run.bytes.data, self.turn.run.bytes.size,
                               MSG_DONTWAIT | MSG_NOSIGNAL)
        elif count == 1:
            offered[0] = PyBytes_GET_SIZE(<object>frame_at(queue, queue.head))
            sent = socket_send(self.transport._socket, PyBytes_AS_STRING(<object>frame_at(queue, queue.head)),
                               PyBytes_GET_SIZE(<object>frame_at(queue, queue.head)), MSG_DONTWAIT | MSG_NOSIGNAL)
        else:
            offered[0] = 0
            for i in range(count):
                offered[0] += PyBytes_GET_SIZE(<object>frame_at(queue, queue.head + i))
                vectors[i].iov_base = PyBytes_AS_STRING(<object>frame_at(queue, queue.head + i))
                vectors[i].iov_len = PyBytes_GET_SIZE(<object>frame_at(queue, queue.head + i))
            memset(&message, 0, sizeof(message))
            message.msg_iov = vectors
            message.msg_iovlen = count
            sent = sendmsg(self.transport._socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        vfast_invariant(sent <= offered[0])
        if sent >= 0:
            return sent
        return 0 if errno == EAGAIN or errno == EINTR else -1

    cdef NoResult flush(self) except NoResult.EXC:
        """Write the queue as far as the kernel takes it; what it refuses goes to the transport.

        Called at the end of a turn and when the transport has drained.
        """
        cdef OutQueue *queue = &self.queue
        cdef Py_ssize_t sent, offset, offered = 0
        cdef bytes frame
        cdef bint first = True
        if self.transport is None:
            self.discard()
            queue.shut = True
            return NoResult.OK
        if vfast_guard(b"outbox.overflow", queue.overflowed and not queue.shut):
            return self.on_overflow()
        if queue.batches and not queue.blocked and queue.tail - queue.head > 1:
            self.turn.run.gather(queue)
        if queue.format and not queue.blocked:
            self.turn.run.convert(queue)
        while queue.head < queue.tail and not queue.blocked:
            if self.transport.is_secure:
                self.write_record()
                continue
            sent = self.send_some(first, &offered)
            first = False
            if sent < 0:
                self.discard()
                queue.shut = True
                self.transport.underlying_transport.abort()
                return NoResult.OK
            offset = queue_advance(queue, sent)
            if sent < offered:
                self.turn.refused += 1
                frame = <bytes>frame_at(queue, queue.head)
                queue_advance(queue, PyBytes_GET_SIZE(frame))
                self.held_bytes = PyBytes_GET_SIZE(frame) - offset
                self._write(frame[offset:] if offset else frame)
                if vfast_guard(b"outbox.gap", self.transport.underlying_transport.is_closing()):
                    # It has failed on the rest of a frame (and said so, or is about to): nothing may follow the gap.
                    self.discard()
                    queue.shut = True
                    return NoResult.OK
                self.pass_answers()
        if queue.blocked or self.counted:
            self.recount()
        if self.behind and queue.head == queue.tail and not queue.blocked:
            return self.on_room()
        return NoResult.OK

    cdef NoResult pass_answers(self) except NoResult.EXC:
        """Hand the answers that wait to the transport, past the data: those to come will go there too.

        A CLOSE is among them when the queue is shut, and the data that it has passed must not follow it.
        """
        cdef OutQueue *queue = &self.queue
        cdef uint32_t i, kept = queue.head
        cdef bytes frame
        if not queue.blocked or queue.answers == 0:
            return NoResult.OK
        for i in range(queue.head, queue.tail):
            if queue.entries[i] & ANSWER:
                frame = <bytes>frame_at(queue, i)
                queue.bytes -= PyBytes_GET_SIZE(frame)
                self.urgent_bytes += PyBytes_GET_SIZE(frame)
                Py_DECREF(frame)
                self._write(frame)
            else:
                queue.entries[kept] = queue.entries[i]
                kept += 1
        queue.tail = kept
        queue.answers = 0
        if vfast_guard(b"outbox.passed", queue.shut):
            self.discard()
        return NoResult.OK

    cdef NoResult write_record(self) except NoResult.EXC:
        """Hand the next frames to a TLS transport in one piece, no more of them than it may hold unsent.

        It takes whatever it is given, and what it holds is ahead of every answer to come.
        """
        cdef OutQueue *queue = &self.queue
        cdef uint32_t i, end = queue.head
        cdef Py_ssize_t size = 0
        cdef bytes joined, frame
        cdef char *target
        while end < queue.tail and size < TLS_BUFFER:
            size += PyBytes_GET_SIZE(<object>frame_at(queue, end))
            end += 1
        joined = PyBytes_FromStringAndSize(NULL, size)
        target = PyBytes_AS_STRING(joined)
        for i in range(queue.head, end):
            frame = <bytes>frame_at(queue, i)
            memcpy(target, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
            target += PyBytes_GET_SIZE(frame)
        queue_advance(queue, size)
        self.turn.writes += 1
        self._write(joined)
        return self.pass_answers()

    cdef void discard(self) noexcept:
        """Let go of all that waits."""
        queue_clear(&self.queue)
        if self.counted:
            self.recount()

    cpdef pause_writing(self):
        self.queue.blocked = True

    cpdef resume_writing(self):
        self.queue.blocked = False
        self.urgent_bytes = 0
        self.held_bytes = 0
        self.recount()
        if self.queue.head < self.queue.tail or self.queue.overflowed or self.behind:
            self.flush()

    cdef NoResult on_broken(self, object error) except NoResult.EXC:
        """Writing or a timer raised: the connection can't be relied on any more."""
        self.discard()
        self.queue.shut = True
        if self.transport is not None:
            self.transport.underlying_transport.abort()
        return NoResult.OK

    cdef NoResult on_overflow(self) except NoResult.EXC:
        """The queue is over its bound; Session closes the connection."""
        self.queue.overflowed = False
        self.discard()
        return NoResult.OK

    cdef NoResult on_behind(self) except NoResult.EXC:
        """More waits than `queue.mark`."""
        return NoResult.OK

    cdef NoResult on_room(self) except NoResult.EXC:
        """All is written, and the connection is behind."""
        return NoResult.OK

    cdef NoResult on_owed(self, object values, uint64_t since) except NoResult.EXC:
        """A frame of a device's values was due, and the channel's data is kept back; all after `since` is owed."""
        return NoResult.OK

    cdef NoResult on_missed(self, int channel, uint64_t partitions) except NoResult.EXC:
        """Something was missed that was published in these partitions (a bit each) of a channel."""
        return NoResult.OK

    cdef NoResult on_forgotten(self, object values, const MetricMask *metrics) except NoResult.EXC:
        """Metrics of a device's values (NULL: all) are about to be forgotten; the connection may be owed some."""
        return NoResult.OK

    cdef NoResult on_timer(self, double now) except NoResult.EXC:
        """The connection's timer has come; Session knows what for."""
        return NoResult.OK
