"""Recovery: what a subscription has missed, out of a channel's history (protocol.md, section 3)."""
from .commands cimport Selection
from .coverage cimport Subscription
from .hub cimport Hub
from .subscriptions cimport SubscriptionTable

# The frames that come after the selection's position, oldest first, of at most `room` bytes; None: they can't be told
# any more, or are too many.
# cost: what that took, in messages that were replayed; at most `cost_of_replay`, which can be told before.
cdef list replayed(Hub hub, SubscriptionTable table, Subscription subscription, Selection selection,
                   Py_ssize_t room, double now, double *cost)
cdef double cost_of_replay(Hub hub, int channel, Selection selection) noexcept
