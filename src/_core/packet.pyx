"""Publications between nodes; packet.pxd has the form."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.math cimport isnan
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from .buffer cimport ByteBuffer, buffer_append, buffer_append_char, buffer_free
from .encode cimport payload_size
from .lanes cimport PARTITIONS, partition_of
from .latest cimport LatestTable, Values
from .publication cimport MAX_METRICS, Publication, number_of, publication_of
from .types cimport NoResult, vfast_guard
from .wire cimport CHANNEL_COUNT, MAX_NAME_BYTES, Channel

cdef enum:
    NO_DEVICE = 0
    NUMBER = 1
    TEXT = 2
    NO_NAME = 255
    MAX_DEVICE_BYTES = 64
    MAX_NAMES = 65536               # names of metrics that are kept for the next packets

cdef dict NAMES = {}                # UTF-8 -> the one str of it, so that a hash is worked out once


class PacketError(ValueError):
    """What came from another node is no packet."""


cdef inline NoResult put(ByteBuffer *out, const void *value, Py_ssize_t size) except NoResult.EXC:
    return buffer_append(out, <const char *>value, size)


cdef NoResult put_name(ByteBuffer *out, str name) except NoResult.EXC:
    """Append a name of at most MAX_NAME_BYTES; None: that there is none."""
    cdef Py_ssize_t size
    cdef const char *text
    if name is None:
        return buffer_append_char(out, <char>NO_NAME)
    text = PyUnicode_AsUTF8AndSize(name, &size)
    buffer_append_char(out, <char>size)
    return buffer_append(out, text, size)


cdef NoResult put_bytes(ByteBuffer *out, bytes data) except NoResult.EXC:
    cdef uint32_t size = <uint32_t>PyBytes_GET_SIZE(data)
    put(out, &size, sizeof(size))
    return buffer_append(out, PyBytes_AS_STRING(data), size)


cdef NoResult packet_write(ByteBuffer *out, Publication publication) except NoResult.EXC:
    cdef Py_ssize_t start = out.size, i
    cdef uint32_t size = 0
    cdef uint16_t count = <uint16_t>publication.count
    cdef int64_t number
    cdef double value
    put(out, &size, sizeof(size))
    buffer_append_char(out, <char>publication.channel)
    if publication.device is None:
        buffer_append_char(out, NO_DEVICE)
    elif type(publication.device) is str:
        buffer_append_char(out, TEXT)
        put_name(out, <str>publication.device)
    else:
        buffer_append_char(out, NUMBER)
        number = publication.device
        put(out, &number, sizeof(number))
    put(out, &count, sizeof(count))
    if count == 0:
        put_name(out, publication.first)
        put_name(out, publication.second)
        put_bytes(out, publication.text)
    else:
        put_bytes(out, publication.head)
        put_bytes(out, publication.tail)
        for i in range(count):
            put_name(out, <str>publication.names[i])
            put_bytes(out, <bytes>publication.pieces[i])
            value = number_of(publication.values[i])
            put(out, &value, sizeof(value))
    size = <uint32_t>(out.size - start - sizeof(size))
    memcpy(out.data + start, &size, sizeof(size))
    return NoResult.OK


cdef NoResult write_values(ByteBuffer *out, Values values) except NoResult.EXC:
    """Append a device's newest values, or its state, as one publication."""
    cdef Publication publication = Publication.__new__(Publication)
    cdef bytes frame
    cdef uint32_t i
    publication.channel = values.channel
    publication.device = values.device
    if values.state is not None:
        frame = <bytes>values.pieces[0]
        publication.first = values.state
        publication.text = frame[PyBytes_GET_SIZE(frame) - payload_size(frame):]
    else:
        publication.head = values.head
        publication.tail = values.tail
        publication.count = values.count
        publication.names = values.names
        publication.pieces = values.pieces
        publication.values = [values.metrics[i].number for i in range(values.count)]
    return packet_write(out, publication)


@cython.final
cdef class LatestDump:
    """The newest values and states of lanes, looked at bit by bit: nothing has to wait until all have been.

    What there is of them when it is made is in it, as new as then or newer.

    Args:
        tables: channel -> LatestTable, or None where a channel has none.
        lanes: which ones.
    """

    def __init__(self, list tables not None, lanes):
        cdef int channel, lane
        self._lanes = {lane: [] for lane in lanes}
        self._unseen = []
        for channel in range(CHANNEL_COUNT):
            if tables[channel] is not None and any(lane // PARTITIONS == channel for lane in self._lanes):
                self._unseen.append(list((<LatestTable>tables[channel])._values.values()))

    def look(self, Py_ssize_t count):
        """Find out which lanes so many more devices are in; return whether that is known of all."""
        cdef list values
        cdef Values one
        cdef PyObject *found
        while self._unseen and count > 0:
            values = self._unseen[0]
            while values and count > 0:
                one = values.pop()
                count -= 1
                found = PyDict_GetItem(self._lanes, one.channel * PARTITIONS + partition_of(one.device))
                if found != NULL:
                    (<list>found).append(one)
            if not values:
                del self._unseen[0]
        return not self._unseen

    def take(self, int lane, Py_ssize_t size):
        """Return the next packets of a lane, at least so many bytes if there are as many; b"" behind the last one."""
        cdef list values = self._lanes[lane]
        cdef ByteBuffer out
        memset(&out, 0, sizeof(out))
        try:
            while values and out.size < size:
                write_values(&out, values.pop())
            return PyBytes_FromStringAndSize(out.data, out.size)
        finally:
            buffer_free(&out)


def cut(bytes packets not None, Py_ssize_t size):
    """Return packets in pieces that are as short as possible, but at least so many bytes; the last one may be shorter.

    Raises:
        PacketError: they are none, as far as their sizes tell.
    """
    cdef PacketReader reader
    cdef const char *start = PyBytes_AS_STRING(packets)
    cdef const char *begin = start
    cdef list pieces = []
    reader.data = start
    reader.size = PyBytes_GET_SIZE(packets)
    while reader.size:
        take(&reader, take_u32(&reader))
        if reader.data - begin >= size or not reader.size:
            pieces.append(packets[begin - start:reader.data - start])
            begin = reader.data
    return pieces


cdef const char *take(PacketReader *reader, Py_ssize_t size) except NULL:
    """Return where the next bytes are."""
    cdef const char *data = reader.data
    if vfast_guard(b"packet.end", size > reader.size):
        raise PacketError("a packet ends too early")
    reader.data += size
    reader.size -= size
    return data


cdef uint8_t take_byte(PacketReader *reader) except? 255:
    return <uint8_t>take(reader, 1)[0]


cdef uint16_t take_u16(PacketReader *reader) except? 0xFFFF:
    cdef uint16_t value
    memcpy(&value, take(reader, sizeof(value)), sizeof(value))
    return value


cdef uint32_t take_u32(PacketReader *reader) except? 0xFFFFFFFF:
    cdef uint32_t value
    memcpy(&value, take(reader, sizeof(value)), sizeof(value))
    return value


cdef bytes take_bytes(PacketReader *reader, Py_ssize_t size):
    return PyBytes_FromStringAndSize(take(reader, size), size)


cdef str take_name(PacketReader *reader, bint optional):
    cdef uint8_t size = take_byte(reader)
    cdef bytes text
    cdef PyObject *known
    cdef str name
    if optional and size == NO_NAME:
        return None
    if vfast_guard(b"packet.name", size == 0 or size > MAX_NAME_BYTES):
        raise PacketError("a packet has a name of the wrong length")
    text = take_bytes(reader, size)
    known = PyDict_GetItem(NAMES, text)
    if known != NULL:
        return <str>known
    name = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(text), size, NULL)
    if vfast_guard(b"packet.names", len(NAMES) >= MAX_NAMES):
        NAMES.clear()
    NAMES[text] = name
    return name


cdef object take_device(PacketReader *reader):
    cdef int kind = take_byte(reader)
    cdef int64_t number
    cdef uint8_t size
    if kind == NO_DEVICE:
        return None
    if kind == NUMBER:
        memcpy(&number, take(reader, sizeof(number)), sizeof(number))
        return number
    if vfast_guard(b"packet.device-kind", kind != TEXT):
        raise PacketError("a packet has a device of an unknown kind")
    size = take_byte(reader)
    if vfast_guard(b"packet.device-size", size == 0 or size > MAX_DEVICE_BYTES):
        raise PacketError("a packet has a device of the wrong length")
    return PyUnicode_DecodeUTF8(take(reader, size), size, NULL)


cdef Publication read_body(PacketReader *reader):
    """Return the publication of a packet whose size has been read."""
    cdef Publication publication = Publication.__new__(Publication)
    cdef uint16_t count
    cdef double number
    publication.channel = take_byte(reader)
    if vfast_guard(b"packet.channel", publication.channel >= CHANNEL_COUNT):
        raise PacketError("a packet has an unknown channel")
    publication.device = take_device(reader)
    if vfast_guard(b"packet.device", publication.device is None and publication.channel != Channel.SYSTEM and
                   publication.channel != Channel.ALERTS):
        raise PacketError("a packet has no device")
    count = take_u16(reader)
    if vfast_guard(b"packet.metrics", count > MAX_METRICS):
        raise PacketError("a packet has too many metrics")
    if vfast_guard(b"packet.content", (count > 0) != (publication.channel == Channel.TELEMETRY or
                                                      publication.channel == Channel.SYSTEM)):
        raise PacketError("a packet has the wrong content for its channel")
    if count == 0:
        publication.first = take_name(reader, False)
        publication.second = take_name(reader, True)
        publication.text = take_bytes(reader, take_u32(reader))
        return publication
    publication.head = take_bytes(reader, take_u32(reader))
    publication.tail = take_bytes(reader, take_u32(reader))
    publication.count = count
    publication.names = []
    publication.pieces = []
    publication.values = []
    for _ in range(count):
        publication.names.append(take_name(reader, False))
        publication.pieces.append(take_bytes(reader, take_u32(reader)))
        memcpy(&number, take(reader, sizeof(number)), sizeof(number))
        publication.values.append(None if isnan(number) else number)
    return publication


cdef Publication packet_read(PacketReader *reader):
    cdef uint32_t size = take_u32(reader)
    cdef PacketReader body
    cdef Publication publication
    body.data = take(reader, size)
    body.size = size
    try:
        publication = read_body(&body)
    except UnicodeDecodeError:
        raise PacketError("a packet has a name that is no UTF-8") from None
    if vfast_guard(b"packet.rest", body.size != 0):
        raise PacketError("a packet is longer than what it holds")
    return publication


cdef bytes packet_of(list publications):
    """Return the packets of publications, all of which are serialised."""
    cdef ByteBuffer out
    memset(&out, 0, sizeof(out))
    try:
        for publication in publications:
            packet_write(&out, <Publication>publication)
        return PyBytes_FromStringAndSize(out.data, out.size)
    finally:
        buffer_free(&out)


cdef list publications_of(bytes packets):
    cdef PacketReader reader
    cdef list found = []
    reader.data = PyBytes_AS_STRING(packets)
    reader.size = PyBytes_GET_SIZE(packets)
    while reader.size:
        found.append(packet_read(&reader))
    return found


def pack(message):
    """Return the packet of a data message, for tests and benchmarks."""
    cdef Publication publication = publication_of(message)
    publication.finish()
    return packet_of([publication])


def repack(bytes packets not None):
    """Return packets that were read, written anew, for tests.

    Raises:
        PacketError: they are none.
    """
    return packet_of(publications_of(packets))


def unpack(bytes packets not None):
    """Return channel, device and metrics, or the event's text, of each packet, for tests.

    Raises:
        PacketError: they are none.
    """
    cdef Publication publication
    cdef list found = []
    for publication in publications_of(packets):
        found.append((publication.channel, publication.device, publication.text if publication.count == 0 else
                      dict(zip(publication.names, publication.values, strict=True))))
    return found
