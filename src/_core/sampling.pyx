"""A sample of the messages; sampling.pxd has the overview."""

cimport cython
from libc.math cimport log, log1p
from libc.stdint cimport uint64_t

from .commands cimport command_of, decode
from .formats cimport unpacked
from .types cimport NoResult

from random import SystemRandom as _SystemRandom

from .wire import CHANNELS as _CHANNELS, CHANNEL_NAMES as _CHANNEL_NAMES, COMMANDS as _COMMANDS
from .wire import MESSAGE_TYPES as _MESSAGE_TYPES

cdef dict NUMBER_OF_CHANNEL = _CHANNELS
cdef dict NAME_OF_CHANNEL = _CHANNEL_NAMES
cdef dict MESSAGE_TYPE = _MESSAGE_TYPES
cdef dict NAME_OF_COMMAND = {number: name for name, number in _COMMANDS.items()}


@cython.final
cdef class Sampler:
    """Picks messages, and has them told.

    Args:
        fraction: how many of all, above 0 and up to 1.
        schedule: called with a function that must run at the end of this turn of the event loop (call_soon).
        report: called for each one that was picked, with "in" or "out", the connection's number, the message's type and
            channel (None: none of those that are known), and its bytes.
    """

    def __init__(self, double fraction, schedule, report):
        if not 0 < fraction <= 1:
            raise ValueError("the fraction is above 0 and up to 1")
        self._schedule = schedule
        self._report = report
        self._log_others = 0 if fraction == 1 else log1p(-fraction)
        self._random = _SystemRandom().getrandbits(64) | 1
        self._picked = []
        self._left = 1
        self.picks()

    cdef bint picks(self) noexcept:
        """Say whether the next message is one that is picked."""
        self._left -= 1
        if self._left:
            return False
        self._random ^= self._random << 13
        self._random ^= self._random >> 7
        self._random ^= self._random << 17
        self._left = 1
        if self._log_others:            # how long that takes in trials of equal probability
            self._left += <uint64_t>min(log(((self._random >> 11) + 1) * 2.0 ** -53) / self._log_others, 1e15)
        return True

    cdef NoResult note(self, str direction, object connection, object kind, object channel,
                       Py_ssize_t size) except NoResult.EXC:
        """Have a message told."""
        if len(self._picked) >= MAX_PICKED:
            self.untold += 1
            return NoResult.OK
        self._picked.append((direction, connection, kind, channel, size))
        if len(self._picked) == 1:
            self._schedule(self.tell)
        return NoResult.OK

    def tell(self):
        """Tell what was picked in this turn; called by the event loop."""
        cdef list picked = self._picked
        self._picked = []
        for each in picked:
            self._report(*each)

    cdef NoResult received(self, uint64_t connection, const char *data, Py_ssize_t size,
                           bint packed) except NoResult.EXC:
        """A client's message has come, as JSON or MessagePack; it is decoded once more for this."""
        cdef int error = 0, depth = 0, command = -1
        cdef dict message
        cdef object channel = None
        if not self.picks():
            return NoResult.OK
        message = unpacked(data, size, &error, &depth) if packed else decode(data, size, &error)
        if message is not None:
            command = command_of(message)
            channel = message.get("channel")
        return self.note("in", connection, NAME_OF_COMMAND.get(command),
                         channel if type(channel) is str and channel in NUMBER_OF_CHANNEL else None, size)

    cdef NoResult sent(self, object connection, int channel, Py_ssize_t size) except NoResult.EXC:
        """A data message is queued for a connection."""
        if self.picks():
            return self.note("out", connection.number, MESSAGE_TYPE[channel], NAME_OF_CHANNEL[channel], size)
        return NoResult.OK

    cdef NoResult answered(self, uint64_t connection, dict document, Py_ssize_t size) except NoResult.EXC:
        """An answer goes out; its type and channel are our own words."""
        if self.picks():
            return self.note("out", connection, document["type"], document.get("channel"), size)
        return NoResult.OK
