"""Checks of whole data structures, for tests: each looks at all there is and raises AssertionError with what is wrong.

They say what must be true between two calls from outside; `vfast_invariant` (types.pxd) says what must be true
within one. Nothing of a server calls them.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from .catchup cimport CatchUp
from .history cimport History
from .hub cimport Hub
from .index cimport Filter, Term
from .index_checks cimport check_filters, check_table, require
from .lanes cimport LANE_COUNT, PARTITIONS, Lanes, partition_of
from .latest cimport Cursor, LatestTable, Node, Values
from .outbox cimport Outbox, Turn
from .publication cimport Publication
from .queue cimport ANSWER, OutQueue, frame_at
from .session cimport Session
from .types cimport VFAST_INVARIANTS, VFAST_TEST_HOOKS, slot_t
from .wheel cimport SPOKES, TimerWheel
from .wire cimport CHANNEL_COUNT, Channel

from collections import Counter as _Counter

from .index_checks import check_index

# Whether this build aborts where an invariant is broken.
INVARIANTS = bool(VFAST_INVARIANTS)
TEST_HOOKS = bool(VFAST_TEST_HOOKS)


def check_wheel(TimerWheel wheel not None):
    """Check a timer wheel; return the armed slots."""
    cdef int32_t spoke, slot, previous
    cdef set armed = set()
    for spoke in range(SPOKES):
        previous = -1
        slot = wheel._spokes[spoke]
        while slot >= 0:
            require(slot < wheel._capacity, f"spoke {spoke} has slot {slot}, which is none")
            require(slot not in armed, f"slot {slot} stands in the wheel twice")
            require(wheel._previous[slot] == previous, f"slot {slot} does not know what is before it")
            require(wheel._due[slot] > wheel._now, f"slot {slot} is due and has not fired")
            require((wheel._due[slot] & (SPOKES - 1)) == spoke, f"slot {slot} stands in the wrong spoke")
            armed.add(slot)
            previous = slot
            slot = wheel._next[slot]
    require(len(armed) == wheel.armed, f"{wheel.armed} timers are counted, {len(armed)} are armed")
    for slot in range(wheel._capacity):
        require((wheel._due[slot] >= 0) == (slot in armed), f"slot {slot} is armed and in no spoke")
    return armed


cdef object check_queue(Outbox outbox, Turn turn):
    """Check what a connection has to send."""
    cdef OutQueue *queue = &outbox.queue
    cdef Py_ssize_t size = 0, answers = 0
    cdef uint32_t i
    require(queue.owner == <PyObject *>outbox, "a queue belongs to another connection")
    require(queue.head <= queue.tail <= queue.capacity, "a queue is larger than its memory")
    for i in range(queue.head, queue.tail):
        require(type(<object>frame_at(queue, i)) is bytes, "something that is no frame is queued")
        size += PyBytes_GET_SIZE(<object>frame_at(queue, i))
        answers += queue.entries[i] & ANSWER
    require(queue.bytes == <uint64_t>size, f"{queue.bytes} bytes are counted, {size} are queued")
    require(queue.answers == <uint32_t>answers, f"{queue.answers} answers are counted, {answers} are queued")
    for marked, listed in ((queue.dirty, turn._dirty), (queue.delayed, turn._delayed)):
        times = sum([other is outbox for other in listed])
        require(marked == times, f"a connection is to be written {times} times at once, not {marked}")
    require(size == 0 or queue.dirty or queue.delayed or queue.blocked, "what is queued is never sent")


cdef object check_history(History history):
    """Check a channel's history: its bounds, and that its publications are in order."""
    cdef uint64_t offset = history.lost
    cdef Py_ssize_t nbytes = 0, i
    require(history.lost <= history.last, "a history has lost what has not come yet")
    require(history.count <= history.max_messages, "a history has too many messages")
    require(history.count <= history._capacity, "a history is larger than its memory")
    for i in range(history.count):
        require(history.at(i).offset > offset, "a history is not in order")
        offset = history.at(i).offset
        nbytes += history.at(i).nbytes
        require((<Publication>history.at(i).publication).values is None, "a history keeps a producer's objects")
    require(offset <= history.last, "a history is ahead of itself")
    require(history.nbytes == nbytes, f"a history counts {history.nbytes} bytes, there are {nbytes}")
    require(not history.max_bytes or nbytes <= history.max_bytes, "a history has too many bytes")


cdef object check_lanes(Lanes lanes, dict posted):
    """Check that the lanes count what the index has: (channel, device) -> who stands there."""
    cdef int lane
    cdef object counts = _Counter([
        <int>channel * PARTITIONS + partition_of(device) for channel, device in posted if device is not None])
    for lane in range(LANE_COUNT):
        require(lanes.devices[lane] == counts[lane], f"lane {lane} counts {lanes.devices[lane]} devices")
        require(lanes.everywhere[lane // PARTITIONS] == ((lane // PARTITIONS, None) in posted),
                "all devices are wanted, or are not")


cdef object check_latest(LatestTable table, int channel, uint64_t last):
    """Check a channel's newest values: that the list has them all in the order of their offsets, and the readers."""
    cdef void *node = table._oldest
    cdef void *previous = NULL
    cdef Values values
    cdef Cursor cursor
    cdef uint64_t offset = 0
    cdef uint32_t i
    cdef Py_ssize_t nbytes = 0
    cdef list found = [], cursors = []
    while node != NULL:
        require((<Node>node).older == previous, "a place in a list does not know what is before it")
        if (<Node>node).is_cursor:
            cursor = <Cursor>node
            cursors.append(cursor)
            require(cursor.place >= offset, "a reader stands behind values that it has not passed")
            require(cursor.owner is not None and cursor.floor <= cursor.began <= last, "a reader is ahead of its time")
            require(cursor.place <= last, "a reader is ahead of everything")
            offset = cursor.place
        else:
            values = <Values>node
            found.append(values)
            require(table._values.get(values.device) is values, f"device {values.device!r} is listed and unknown")
            require(values.channel == channel, f"device {values.device!r} stands in the wrong channel")
            require(values.offset > offset, "values are not in order")
            require(values.offset <= last, f"device {values.device!r} is ahead of everything")
            require(values.count == len(values.names) == len(values.pieces) == len(values.positions) <= values.capacity,
                    f"device {values.device!r} has metrics without a place")
            for i in range(values.count):
                require(values.positions.get(values.names[i]) == i, "a metric is not where it should be")
                require(0 < values.metrics[i].offset <= values.offset, "a metric is newer than its device")
            offset = values.offset
            nbytes += values.nbytes
        previous = node
        node = (<Node>node).newer
    require(table._newest == previous, "a list does not know its end")
    require(len(found) == len(table._values), f"{len(found)} devices are listed, {len(table._values)} known")
    require(sorted([values.slot for values in found] + table._free) == list(range(table.slots)),
            "a slot of newest values is taken twice, or by nobody")
    require(table.nbytes == nbytes, f"{table.nbytes} bytes of newest values are counted, there are {nbytes}")
    require(not table.limit or nbytes <= table.limit or len(found) == 1, "the newest values take too much")
    require(len(cursors) == len(table.cursors) and set(cursors) == set(table.cursors), "who is behind is not listed")


cdef object check_catch_up(Session session):
    """Check what a connection is behind with; return whether it is."""
    cdef CatchUp catch_up = session.catch_up
    cdef Cursor cursor
    cdef Values values
    cdef int channel
    cdef uint8_t withheld = 0
    cdef bint behind = False
    for channel in range(CHANNEL_COUNT if catch_up is not None else 0):
        cursor = catch_up.cursors[channel]
        if cursor is None:
            continue
        behind = True
        require(cursor.owner is session, "a reader is another connection")
        require(cursor in session.hub.table_of(channel).cursors, "a reader stands in no list")
        withheld |= 0 if channel == Channel.DEVICES else 1 << channel
    require(session.behind == behind, "a connection is behind, or does not know it")
    require(session.queue.withheld == withheld, "what is kept back is not what the connection is behind with")
    if catch_up is None:
        return behind
    require(session.queue.kept_back >= catch_up.replaced, "more was sent than was kept back")
    require(behind or not (catch_up.pending or catch_up.waiting or catch_up.kept),
            "something is noted for a connection that is not behind")
    require(catch_up.waiting <= set(catch_up.pending[catch_up.next_pending:]), "what waits is not pending")
    for channel in range(CHANNEL_COUNT):
        require(behind or catch_up.known[channel] == 0, "devices are noted for a connection that is not behind")
        for slot in (<LatestTable>session.hub.table_of(channel))._free if catch_up.known[channel] else ():
            require(slot >= catch_up.known[channel] or catch_up.since[channel][<uint32_t>slot] == 0,
                    "a forgotten device is noted")
    for values in catch_up.kept:
        require(session.hub.table_of(values.channel).find(values.device) is values, "a forgotten device is noted")
    return behind


def check_hub(Hub hub not None):
    """Check a hub with all that is attached to it: slots, timers, queues, subscriptions, index, newest values."""
    cdef Outbox outbox
    cdef Py_ssize_t slot
    cdef dict found = {}
    cdef Term term
    cdef Filter filter
    cdef object filters = _Counter(), terms = check_filters(hub.index)
    cdef uint64_t backlog = 0
    cdef int channel
    cdef Py_ssize_t behind = 0
    cdef set free = set(hub._free)
    require(len(free) == len(hub._free), "a slot is free twice")
    armed = check_wheel(hub.wheel)
    for slot in range(len(hub._outboxes)):
        require((hub._outboxes[slot] is None) == (slot in free), f"slot {slot} is neither used nor free")
        require((hub._queues[slot] == NULL) == (slot in free), f"slot {slot} has a queue and no connection")
        if slot in free:
            require(slot not in armed, f"slot {slot} has a timer and no connection")
            continue
        outbox = hub._outboxes[slot]
        require(hub._queues[slot] == &outbox.queue, f"slot {slot} has the queue of another connection")
        check_queue(outbox, hub.turn)
        backlog += outbox.counted
        require(outbox.counted == 0 or outbox.queue.blocked, "what waits for a connection that writes is counted")
        if isinstance(outbox, Session):
            require((<Session>outbox).slot == <slot_t>slot, f"slot {slot} is not the one that its connection knows")
            require((<Session>outbox).table.slot == <slot_t>slot, f"slot {slot} is not the one of its subscriptions")
            check_table((<Session>outbox).table, found, terms, filters)
            behind += check_catch_up(<Session>outbox)
    require(hub.turn.backlog == backlog, f"a backlog of {hub.turn.backlog} bytes is counted, there are {backlog}")
    require(hub.behind == <uint32_t>behind, f"{hub.behind} connections count as behind, {behind} are")
    for channel in range(CHANNEL_COUNT):
        check_history(hub.history_of(channel))
        if hub.table_of(channel) is not None:
            check_latest(hub.table_of(channel), channel, hub.taken[channel])
    posted = {key: there for key, there in check_index(hub.index).items() if there}
    require(posted == found, "the index is not what the connections are subscribed to")
    if hub.lanes is not None:
        check_lanes(hub.lanes, posted)
    for term in hub.index._terms.values():
        require(term.users == terms[term], f"a term has {terms[term]} users, not {term.users}")
    for filter in hub.index._filters.values():
        require(filter.users == filters[filter], f"a filter has {filters[filter]} users, not {filter.users}")
