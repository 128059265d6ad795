"""The subscriptions of one connection, and how they stand in the index (protocol.md, section 3).

A subscription is known by its channel and the devices that were asked for; the token's scope is applied on
top. What it comes down to:

    by_device    device -> Coverage: the subscriptions that cover it by name, after the scope, and the Filter that
                 the connection stands under there in the index
    everywhere   the subscriptions that cover all devices
    posted       the Filter that it stands under there

for each channel that it is subscribed to; most connections have one.

When the filter that it stands under somewhere gives way to another one, what it was owed at its frequency is sent.

Invariant: the filter at a device is that over its subscriptions and `everywhere`; `posted` is that over
`everywhere`. (Small on purpose: an idle connection has one of each.)
"""
from .commands cimport Selection
from .fanout cimport Fanout
from .frequency cimport Frequency
from .index cimport Filter, Index, Term
from .scope cimport Grant
from .types cimport NoResult, slot_t

cimport cython


@cython.final
cdef class Subscription:
    cdef:
        readonly int channel
        readonly frozenset asked        # canonical ids; None: all devices
        Term term
        Frequency frequency             # as it was asked for; the term has what is in force
        bint implicit                   # made by the endpoint, not by the client


@cython.final
cdef class Coverage:
    cdef:
        object subscriptions            # a list of them, or the only one; None: about to go
        Filter posted

    cdef list terms(self, list everywhere)


@cython.final
cdef class ChannelTable:
    cdef:
        list subscriptions
        dict by_device
        list everywhere                 # None: none
        Filter posted


@cython.final
cdef class SubscriptionTable:
    cdef:
        Index index
        Fanout fanout
        slot_t slot
        Grant grant
        double floor                    # seconds: the smallest interval that the server allows, whatever the token says
        list _channels                  # channel -> ChannelTable, None: nothing there
        readonly Py_ssize_t count       # subscriptions
        readonly Py_ssize_t devices     # device ids that they name, in all

    cdef Filter filter_at(self, int channel, object device)
    cdef bint covers(self, Subscription subscription, object device)
    cdef Frequency in_force(self, int channel, Frequency asked)
    cdef Subscription subscribe(self, int channel, Selection selection, bint implicit)
    cdef bint unsubscribe(self, int channel, frozenset devices) except -1
    cdef Py_ssize_t cost_of(self, int channel, frozenset asked, Py_ssize_t *replaced) except -1
    cdef list apply_grant(self, Grant grant)
    cdef NoResult clear(self) except NoResult.EXC
    # The parts of the above.
    cdef ChannelTable of(self, int channel)
    cdef list of_channel(self, int channel)
    cdef frozenset covered(self, Subscription subscription)
    cdef NoResult enter(self, Subscription subscription, set touched) except NoResult.EXC
    cdef NoResult leave(self, Subscription subscription, set touched) except NoResult.EXC
    cdef NoResult end(self, Subscription subscription, set touched) except NoResult.EXC
    cdef NoResult repost(self, int channel, set touched) except NoResult.EXC
    cdef NoResult repost_device(self, ChannelTable table, int channel, object device) except NoResult.EXC
    cdef NoResult repost_everywhere(self, ChannelTable table, int channel) except NoResult.EXC
    cdef NoResult collect(self, ChannelTable table, int channel) except NoResult.EXC
