"""What covers which device, for one connection on one channel.

    devices      number of a posting -> number of a Coverage      8 bytes an entry (pairs.pxd)
    coverages    number of a Coverage -> Coverage                  one for each combination of subscriptions
    everywhere   the subscriptions that cover all devices

A connection has few combinations at many devices, mostly one. The Filter that it stands under in the index is the same
for all devices of a Coverage, and worked out once.

A command changes `devices` at once and notes in a Change what was there before; the index follows when all is known
(SubscriptionTable.apply), so that a device at which nothing changes in the end is not disturbed. What fails before that
is undone.
"""
from libc.stdint cimport uint32_t

from .devices cimport DeviceSet
from .frequency cimport Frequency
from .index cimport Filter, Term
from .pairs cimport Pair, PairTable
from .types cimport NoResult

cimport cython


cdef enum:
    NOTHING = 1                         # the Coverage of a device that no subscription covers by name: it has no object
    TOUCHED = <uint32_t>1 << 31         # set in the number of the Coverage of a device that a Change has noted


@cython.final
cdef class Subscription:
    cdef:
        readonly int channel
        DeviceSet asked                 # None: all devices
        Term term
        Frequency frequency             # as it was asked for; the term has what is in force
        bint implicit                   # made by the endpoint, not by the client
        Coverage alone                  # that of it and no other; None: there is none


@cython.final
cdef class Coverage:
    cdef:
        tuple subscriptions             # those that cover its devices by name
        frozenset key                   # the same where they are several
        uint32_t number
        uint32_t devices                # how many have it
        Filter posted                   # under which the connection stands at them in the index; None: it is new
        Filter wanted                   # the same after the change under way
        bint noted                      # in Change.coverages


@cython.final
cdef class ChannelTable:
    cdef:
        list subscriptions
        list everywhere                 # None: none
        Filter posted                   # under which the connection stands at "all devices"; None: it does not
        PairTable devices
        list coverages                  # None: no such number
        list _free                      # numbers
        dict _overlaps                  # frozenset of several subscriptions -> Coverage

    cdef Coverage coverage_of(self, uint32_t number)
    cdef void tally(self, uint32_t number, int by) noexcept
    cdef Coverage obtain(self, tuple subscriptions)
    cdef NoResult drop(self, Coverage coverage) except NoResult.EXC


# A device that a command has changed, as it was before.
cdef struct Touched:
    uint32_t number                     # of its posting
    uint32_t before                     # number of the Coverage


# A command under way on one channel.
@cython.final
cdef class Change:
    cdef:
        Touched *touched                # in the order in which they were noted
        Py_ssize_t count
        Py_ssize_t _capacity
        list coverages                  # those that come, or may go
        list everywhere                 # as it is to be; None or empty: none
        Filter wanted                   # that of `everywhere`
        Filter displaced                # what it has displaced
        bint anew                       # all filters are to be worked out anew
        # The last step from Coverage to Coverage; it is the same for most devices.
        uint32_t _before
        uint32_t _after

    cdef NoResult begin(self, Py_ssize_t devices) except NoResult.EXC
    cdef void touch(self, Pair *pair) noexcept
    cdef NoResult note(self, Coverage coverage) except NoResult.EXC
    cdef uint32_t step(self, ChannelTable table, uint32_t before, Subscription subscription, bint enters) except 0
    cdef NoResult shift(self, ChannelTable table, uint32_t number, Subscription subscription,
                        bint enters) except NoResult.EXC
