"""All connections in one look: what they have sent and got, and what waits for them."""

from libc.stdint cimport uint64_t

from .clock cimport monotonic_seconds
from .connection cimport Connection
from .histogram cimport Histogram
from .hub cimport Hub


def census(Hub hub not None):
    """Return the figures of the connections that are attached: sums, and how much waits for how many.

    Returns:
        `connections`; `age` (seconds), `messages_in`, `messages_out`, `bytes_in`, `bytes_out` and `dropped`, in sum;
        `queues`, bytes that wait, as a Histogram's figures.
    """
    cdef Connection connection
    cdef uint64_t count = 0, messages_in = 0, messages_out = 0, bytes_in = 0, bytes_out = 0, dropped = 0
    cdef double age = 0, now = monotonic_seconds()
    cdef Histogram queues = Histogram(1024, 0, 14)
    for outbox in hub._outboxes:
        if outbox is None:
            continue
        connection = outbox
        count += 1
        age += now - connection.opened_at
        messages_in += connection.messages_in
        messages_out += connection.queue.messages_out
        bytes_in += connection.bytes_in
        bytes_out += connection.queue.bytes_out
        dropped += connection.dropped
        queues.add(<double>connection.queue.bytes)
    return {"connections": count, "age": age, "messages_in": messages_in, "messages_out": messages_out,
            "bytes_in": bytes_in, "bytes_out": bytes_out, "dropped": dropped, "queues": queues.figures()}
