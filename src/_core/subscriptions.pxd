"""The subscriptions of one connection, and how they stand in the index (protocol.md, section 3).

A subscription is known by its channel and the devices that were asked for; the token's scope is applied on top. What
it comes down to on a channel is in a ChannelTable (coverage.pxd); most connections have one. How that gets into the
index is in standing.pxd.
"""
from .commands cimport Selection
from .coverage cimport ChannelTable, Subscription
from .devices cimport DeviceSet
from .frequency cimport Frequency
from .scope cimport Grant
from .standing cimport Standing
from .types cimport NoResult

cimport cython


@cython.final
cdef class SubscriptionTable(Standing):
    cdef:
        Grant grant
        double floor                    # seconds: the smallest interval that the server allows, whatever the token says
        readonly Py_ssize_t count       # subscriptions
        readonly Py_ssize_t devices     # device ids that they name, in all

    cdef bint covers(self, Subscription subscription, object device) except -1
    cdef list of_channel(self, int channel)
    cdef list covered(self, Subscription subscription)
    cdef Frequency in_force(self, int channel, Frequency asked)
    cdef Subscription subscribe(self, int channel, Selection selection, bint implicit)
    cdef bint unsubscribe(self, int channel, DeviceSet devices) except -1
    cdef Py_ssize_t cost_of(self, int channel, DeviceSet asked, Py_ssize_t *replaced) except -1
    cdef list apply_grant(self, Grant grant)
    cdef NoResult clear(self) except NoResult.EXC
    # The parts of the above.
    cdef Frequency allowed(self, int channel, Frequency asked, Grant grant)
    cdef NoResult end(self, ChannelTable table, list ended, list kept) except NoResult.EXC
    cdef NoResult apply_grant_to(self, int channel, Grant grant, list lost) except NoResult.EXC
