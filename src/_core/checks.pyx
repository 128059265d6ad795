"""Checks of whole data structures, for tests: each looks at all there is and raises AssertionError with what is wrong.

They say what must be true between two calls from outside; `vfast_invariant` (types.pxd) says what must be true
within one. Nothing of a server calls them.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from .bitset cimport INLINE_SLOTS, MIN_DENSE, SetShape, SlotCursor, SlotSet, Slots
from .bitset cimport slotset_next, slotset_shape, slotset_start
from .catchup cimport CatchUp
from .history cimport History
from .hub cimport Hub
from .index cimport Filter, Index, Term
from .lanes cimport LANE_COUNT, PARTITIONS, Lanes, partition_of
from .latest cimport Cursor, LatestTable, Node, Values
from .names cimport Names
from .outbox cimport Outbox, Turn
from .posting cimport Posting
from .publication cimport Publication
from .queue cimport ANSWER, OutQueue, frame_at
from .session cimport Session
from .subscriptions cimport ChannelTable, Coverage, Subscription, SubscriptionTable
from .types cimport VFAST_INVARIANTS, VFAST_TEST_HOOKS, slot_t
from .wheel cimport SPOKES, TimerWheel
from .wire cimport CHANNEL_COUNT, Channel

from collections import Counter as _Counter

# Whether this build aborts where an invariant is broken.
INVARIANTS = bool(VFAST_INVARIANTS)
TEST_HOOKS = bool(VFAST_TEST_HOOKS)


cdef object require(bint condition, str text):
    if not condition:
        raise AssertionError(text)


cdef list check_set(const SlotSet *slots):
    """Check a slot set; return what is in it."""
    cdef SlotCursor cursor
    cdef slot_t slot = 0
    cdef list found = []
    cdef uint32_t shape = slotset_shape(slots), size = slots.size >> 2
    if shape == SetShape.SHAPE_INLINE:
        require(slots.count <= INLINE_SLOTS and size == 0, "an inline set is too large")
    elif shape == SetShape.SHAPE_SPARSE:
        require(INLINE_SLOTS <= slots.count <= size, "a sparse set is too small, or larger than its memory")
    else:
        require(shape == SetShape.SHAPE_DENSE and slots.count >= MIN_DENSE // 2, "a dense set is too small")
        require(size <= slots.count + slots.count // 4 + 1, "a dense set is too thin")
    slotset_start(slots, &cursor)
    while slotset_next(slots, &cursor, &slot):
        require(not found or <object>found[len(found) - 1] < slot, "slots are not in rising order")
        found.append(slot)
    require(<uint32_t>len(found) == slots.count, f"a set counts {slots.count} slots and holds {len(found)}")
    return found


def check_slots(Slots slots not None):
    """Check a set of slots."""
    check_set(&slots._set)


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


cdef object check_names(Names names, object used):
    """Check interned names against how often their numbers are used."""
    cdef Py_ssize_t number
    cdef set free = set(names._free)
    require(len(free) == len(names._free), "a number is free twice")
    require(len(names._numbers) + len(free) == len(names._names), "a number is neither used nor free")
    require(len(names._names) == len(names._users) and len(names._numbers) <= names.limit, "too many names")
    for number in range(len(names._names)):
        name = names._names[number]
        require((name is None) == (number in free), f"{name!r} is free, or nothing is in use")
        require(name is None or names._numbers.get(name) == number, f"{name!r} is known under another number")
        require(names._users[number] == used[number], f"{name!r} has {used[number]} users, not {names._users[number]}")


cdef object check_filters(Index index):
    """Check terms and filters, but for who uses them; return how often terms are used by filters."""
    cdef Filter filter
    cdef Term term
    cdef uint32_t i
    cdef object names = _Counter(), terms = _Counter()
    for key, filter in index._filters.items():
        require(filter.key == key and len(filter.terms) == len(set(filter.terms)), "a filter under a wrong key")
        counts = dict(zip(filter.terms, filter.counts, strict=True))
        require(key == frozenset(counts.items()) or (counts == {key: 1}), "a filter is not what its key says")
        require((filter.only is None) == (len(counts) > 1), "a filter of one term does not say so")
        require(filter.only is None or counts == {filter.only: filter.only_count}, "a filter's only term is wrong")
        for term in filter.terms:
            require(index._terms.get(term.key) is term, "a filter has a term that is gone")
            terms[term] += 1
    for key, term in index._terms.items():
        require(term.key == key and key[0] == term.channel, "a term under a wrong key")
        require(term.users >= terms[term] and term.users > 0, "a term has fewer users than it is used")
        for values, numbers in ((key[1], [term.first[i] for i in range(term.first_count)]),
                                (key[2], [term.second[i] for i in range(term.second_count)])):
            known = [index.names._names[number] for number in numbers]
            require(known == list(values or ()), "a term has other names than its key says")
            names.update(numbers)
    check_names(index.names, names)
    return terms


cdef dict check_posting(Index index, Posting posting):
    """Check a posting; return slot -> filter."""
    cdef dict found = {}
    cdef PyObject *previous = NULL
    cdef uint32_t i
    require(posting.count <= posting.capacity, "a posting is larger than its memory")
    for i in range(posting.count):
        require(posting.groups[i].filter > previous, "groups are not in order")
        previous = posting.groups[i].filter
        filter = <object>previous
        require(type(filter) is Filter and index._filters.get((<Filter>filter).key) is filter, "a filter that is gone")
        slots = check_set(&posting.groups[i].slots)
        require(len(slots) > 0, "a group of nobody")
        require(found.keys().isdisjoint(slots), "a slot stands in a posting twice")
        found.update(dict.fromkeys(slots, filter))
    return found


def check_index(Index index not None):
    """Check an index; return (channel, device) -> {slot: filter}, the device None for all devices."""
    cdef int channel
    cdef Filter filter
    cdef Posting posting
    cdef dict found = {}
    cdef object users = _Counter()
    check_filters(index)
    for channel in range(CHANNEL_COUNT):
        everywhere = found[channel, None] = check_posting(index, index._all[channel])
        for device, posting in (<dict>index._devices[channel]).items():
            there = found[channel, device] = check_posting(index, posting)
            require(len(there) > 0, f"nobody is left at device {device!r}")
            shadowed = len(there.keys() & everywhere.keys())
            require(posting.shadowed == <uint32_t>shadowed, f"{posting.shadowed} slots are shadowed, not {shadowed}")
    for there in found.values():
        users.update(there.values())
    require(users.total() == index.entries, f"{index.entries} entries are counted, there are {users.total()}")
    for filter in index._filters.values():
        require(filter.users == users[filter], f"a filter has {users[filter]} users, not {filter.users}")
    return found


cdef object check_table(SubscriptionTable table, dict found, object terms):
    """Check a connection's subscriptions; add what it should have in the index and the terms that it uses."""
    cdef int channel
    cdef ChannelTable part
    cdef Subscription subscription
    cdef Coverage coverage
    cdef Py_ssize_t count = 0, devices = 0
    for channel in range(CHANNEL_COUNT):
        part = table._channels[channel]
        if part is None:
            continue
        everywhere, by_device = [], {}
        for subscription in part.subscriptions:
            count += 1
            devices += len(subscription.asked or ())
            terms[subscription.term] += 1
            covered = table.covered(subscription)
            if covered is None:
                everywhere.append(subscription)
            for device in covered or ():
                by_device.setdefault(device, []).append(subscription)
        require(_Counter(part.everywhere or ()) == _Counter(everywhere), "what covers all devices is wrong")
        require(part.by_device.keys() == by_device.keys(), "the covered devices are wrong")
        posted = {None: (part.posted, everywhere)} if everywhere else {}
        require(bool(everywhere) == (part.posted is not None), "all devices are posted, or should be")
        for device, coverage in part.by_device.items():
            own = coverage.subscriptions if type(coverage.subscriptions) is list else [coverage.subscriptions]
            require(_Counter(own) == _Counter(by_device[device]), f"what covers device {device!r} is wrong")
            posted[device] = (coverage.posted, everywhere + own)
        for device, (filter, covering) in posted.items():
            wanted = _Counter([(<Subscription>one).term for one in covering])
            there = dict(zip((<Filter>filter).terms, (<Filter>filter).counts, strict=True))
            require(there == wanted, f"the filter at {device!r} is not that of what covers it")
            found.setdefault((channel, device), {})[table.slot] = filter
    require((count, devices) == (table.count, table.devices),
            f"{count} subscriptions to {devices} devices are counted as {table.count} to {table.devices}")


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


cdef object check_lanes(Lanes lanes, Index index):
    """Check that the lanes count the devices that the index has."""
    cdef int channel, lane
    cdef object counts = _Counter()
    for channel in range(CHANNEL_COUNT):
        for device in <dict>index._devices[channel]:
            counts[channel * PARTITIONS + partition_of(device)] += 1
        require(lanes.everywhere[channel] == (index.find_all(channel).count > 0), "all devices are wanted, or are not")
    for lane in range(LANE_COUNT):
        require(lanes.devices[lane] == counts[lane], f"lane {lane} counts {lanes.devices[lane]} devices")


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
    cdef object terms = check_filters(hub.index)
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
            check_table((<Session>outbox).table, found, terms)
            behind += check_catch_up(<Session>outbox)
    require(hub.turn.backlog == backlog, f"a backlog of {hub.turn.backlog} bytes is counted, there are {backlog}")
    require(hub.behind == <uint32_t>behind, f"{hub.behind} connections count as behind, {behind} are")
    for channel in range(CHANNEL_COUNT):
        check_history(hub.history_of(channel))
        if hub.table_of(channel) is not None:
            check_latest(hub.table_of(channel), channel, hub.taken[channel])
    if hub.lanes is not None:
        check_lanes(hub.lanes, hub.index)
    posted = {key: there for key, there in check_index(hub.index).items() if there}
    require(posted == found, "the index is not what the connections are subscribed to")
    for term in hub.index._terms.values():
        require(term.users == terms[term], f"a term has {terms[term]} users, not {term.users}")
