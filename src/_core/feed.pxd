"""A client's feed: what it is subscribed to, and what it is still to get of that.

What is published goes from the hub straight into its queue, as long as it reads. What it is behind with, because it
does not or because it has just come, is the CatchUp's and the history's business.
"""
from libc.stdint cimport uint64_t

from .bucket cimport TokenBucket
from .catchup cimport CatchUp
from .client cimport Client
from .commands cimport Selection
from .coverage cimport Subscription
from .subscriptions cimport SubscriptionTable
from .types cimport NoResult


cdef class Feed(Client):
    cdef:
        SubscriptionTable table
        CatchUp catch_up                # None: it has never been behind
        uint64_t conflated_told
        double notified_at
        TokenBucket replays             # messages of the history that may be replayed

    cdef CatchUp catching_up(self)
    cdef NoResult before_change(self, int channel) except NoResult.EXC
    cdef NoResult notify(self, bint now) except NoResult.EXC
    cdef NoResult send_snapshot(self, Subscription subscription) except NoResult.EXC
    cdef bint must_follow(self, int channel, Selection selection, frozenset denied) except -1
    cdef dict position(self, int channel, Selection selection, bint recovered)
    cdef NoResult push_missed(self, int channel, list frames) except NoResult.EXC
    cdef list missed(self, Subscription subscription, Selection selection, double now)
