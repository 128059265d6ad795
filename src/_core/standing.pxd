"""How a connection stands in the index, and how that changes as a whole.

    shift() what comes and what goes ── resolve() the filters ── apply() it to the index
                                   └────────────┴──► undo(), when it has failed

When the filter that it stands under somewhere gives way to another one, what it was owed at its frequency is sent.

Invariant: the filter at a device is that over the subscriptions that cover it by name and `everywhere`; that of "all
devices" is that over `everywhere`.
"""
from libc.stdint cimport uint32_t

from .coverage cimport Change, ChannelTable, Subscription
from .devices cimport DeviceKey, DeviceSet
from .fanout cimport Fanout
from .index cimport Filter, Index
from .types cimport NoResult, slot_t


cdef class Standing:
    cdef:
        Index index
        Fanout fanout
        slot_t slot
        list _channels                  # channel -> ChannelTable, None: nothing there

    cdef ChannelTable of(self, int channel)
    cdef Filter filter_at(self, int channel, object device)
    cdef NoResult shift(self, Change change, Subscription subscription, DeviceSet asked, frozenset scope,
                        bint enters) except NoResult.EXC
    cdef NoResult resolve(self, ChannelTable table, Change change) except NoResult.EXC
    cdef NoResult undo(self, int channel, Change change) except NoResult.EXC
    cdef NoResult apply(self, int channel, Change change) except NoResult.EXC
    # The parts of the above.
    cdef uint32_t number_of(self, ChannelTable table, int channel, const DeviceKey *key, bint enters) except? 0
    cdef NoResult apply_everywhere(self, int channel, Change change) except NoResult.EXC
    cdef NoResult forget(self, int channel, uint32_t number) except NoResult.EXC
    cdef NoResult release(self, ChannelTable table, Change change) except NoResult.EXC
    cdef NoResult collect(self, ChannelTable table, int channel) except NoResult.EXC
