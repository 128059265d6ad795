"""What a token permits, and the canonical form of a device id."""

cimport cython
from cpython.long cimport PyLong_CheckExact
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t

from .types cimport VFAST_INVARIANTS, vfast_invariant

cdef uint8_t ALL_CHANNELS = 0b1111

cdef Py_ssize_t MAX_DEVICE_BYTES = 64
cdef object MIN_INT64 = -(1 << 63)
cdef object MAX_INT64 = (1 << 63) - 1


cdef inline bint is_canonical_decimal(const char *text, Py_ssize_t size) noexcept:
    """Say whether the bytes are what str(int) of a number of up to 19 digits would give."""
    cdef Py_ssize_t i = 0
    if size and text[0] == c"-":
        i = 1
    if size - i < 1 or size - i > 19:
        return False
    if text[i] == c"0" and (size > 1):      # "01", "-0"
        return False
    while i < size:
        if text[i] < c"0" or text[i] > c"9":
            return False
        i += 1
    return True


cdef object canonical_device(object value):
    """Return the one form of a device id that tables are keyed with, or None when it is none.

    "1" and 1 are the same device; "01" and "1.0" are names. Borrowed by everything that takes an id from
    outside: subscriptions, tokens, publications.
    """
    cdef Py_ssize_t size = 0
    cdef const char *text
    if PyLong_CheckExact(value):
        return value if MIN_INT64 <= value <= MAX_INT64 else None
    if not isinstance(value, str):
        return None
    try:
        text = PyUnicode_AsUTF8AndSize(value, &size)
    except UnicodeEncodeError:              # a lone surrogate
        return None
    if size == 0 or size > MAX_DEVICE_BYTES or "\0" in <str>value:
        return None
    if is_canonical_decimal(text, size):
        number = int(value)
        if MIN_INT64 <= number <= MAX_INT64:
            return number
    return value


cdef bint is_canonical_device(object value) noexcept:
    """Say whether a device id is what tables are keyed with, for invariants: another form of it matches nothing."""
    cdef object key = canonical_device(value)
    return type(key) is type(value) and key == value


def device_key(value):
    """Return the canonical form of a device id (protocol.md, section 3).

    An integer of 64 bits stays itself, a string of 1 to 64 UTF-8 bytes (no NUL) too, unless it is a canonical decimal
    (`"7"`), which is the integer. Raises ValueError for anything else.
    """
    key = canonical_device(value)
    if key is None:
        raise ValueError("a device id is an integer of 64 bits or a string of 1 to 64 bytes")
    return key


@cython.final
cdef class Grant:
    """What a verified token permits (protocol.md, section 2). Immutable.

    Args:
        user: the token's `sub`.
        expires_at: the token's `exp`, in Unix seconds.
        channels: bit mask (1 << Channel) of the channels that may be subscribed to.
        publish: bit mask of the channels that may be published on.
        devices: canonical ids of the devices in scope; None: every device.
        min_interval: seconds between two updates of a device, at least.
        monitor: whether the server's own figures may be read.
        admin: whether the admin functions of the HTTP side are permitted.
    """

    def __init__(self, str user not None, double expires_at, *, uint8_t channels=ALL_CHANNELS,
                 uint8_t publish=0, frozenset devices=None, double min_interval=0,
                 bint monitor=False, bint admin=False):
        self.user = user
        self.expires_at = expires_at
        self.channels = channels
        self.publish = publish
        self.devices = devices
        if VFAST_INVARIANTS and devices is not None:
            for device in devices:
                vfast_invariant(is_canonical_device(device))
        self.min_interval = min_interval
        self.monitor = monitor
        self.admin = admin

    cdef bint allows_device(self, object device):
        """Say whether a device is in scope; `device` is canonical, or None for "no device at all"."""
        if device is not None:
            vfast_invariant(is_canonical_device(device))
        return self.devices is None or device in self.devices
