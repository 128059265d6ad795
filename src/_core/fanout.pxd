"""Connections by slot, and how a frame gets into the queues of a set of them.

What is done for a receiver is C: walk the slot set, append a shared frame to the connection's queue, put the
connection on the turn's list if it is not there.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from .bitset cimport SlotSet
from .outbox cimport Outbox, Turn
from .queue cimport OutQueue
from .sampling cimport Sampler
from .types cimport NoResult, slot_t
from .wheel cimport TimerWheel
from .wire cimport CHANNEL_COUNT, COMMAND_COUNT, ERROR_COUNT


cdef enum:
    RUN = 16                        # connections whose queues are fetched from memory side by side


cdef struct ChannelCounters:
    uint64_t publications
    uint64_t matched                # subscriptions
    uint64_t deliveries             # frames queued
    uint64_t bytes                  # of those
    uint64_t kept_back              # messages that were not queued, because the connection is behind
    uint64_t caught_up              # frames of newest values that were queued in the place of some of them
    uint64_t received               # messages from clients that name the channel


cdef class Fanout:
    cdef:
        readonly TimerWheel wheel
        readonly Turn turn
        # Connections by slot: `_outboxes` owns them while they are attached, `_queues` points into them.
        list _outboxes
        list _free
        OutQueue **_queues
        public uint64_t attached        # the number of the last connection: one more each time, from 0 or what was set
        # The last publication that was noted for a slot (see Posting.shadowed), and its number.
        uint64_t *marks
        Py_ssize_t _capacity
        uint64_t publication
        public uint64_t max_backlog     # bytes that may wait for all blocked connections together
        readonly uint32_t behind        # connections that are
        readonly uint64_t sacrificed    # connections that were closed for the sake of that bound
        ChannelCounters counters[CHANNEL_COUNT]
        uint64_t commands[COMMAND_COUNT]    # that clients have sent, by Command; items of batches are
        uint64_t errors[ERROR_COUNT]    # that were answered, by ErrorCode
        double published_at             # when the publication at hand was taken in; 0: there is none
        public Sampler sampler          # of the messages that are logged; None: none is

    cdef NoResult reserve(self, Py_ssize_t capacity) except NoResult.EXC
    cdef slot_t attach(self, Outbox outbox) except? 0xFFFFFFFF
    cdef NoResult detach(self, slot_t slot) except NoResult.EXC
    cdef void mark(self, const SlotSet *slots) noexcept
    cdef NoResult sample(self, PyObject *frame, const SlotSet *slots, int channel, bint skip) except NoResult.EXC
    cdef uint64_t count(self, const SlotSet *slots, bint skip) noexcept
    cdef NoResult relieve(self) except NoResult.EXC
    cdef uint64_t deliver(self, PyObject *frame, const SlotSet *slots, int channel,
                          bint mark, bint skip) except? 0xFFFFFFFFFFFFFFFF
