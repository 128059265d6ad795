"""Checks of the index and of what stands in it: sets, hash tables, postings, subscriptions; see checks.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from .bitset cimport INLINE_SLOTS, MIN_DENSE, SetShape, SlotCursor, SlotSet, Slots
from .bitset cimport slotset_next, slotset_shape, slotset_start
from .coverage cimport NOTHING, ChannelTable, Coverage, Subscription
from .devices cimport DeviceKey, key_of
from .index cimport Filter, Index, Term
from .names cimport Names
from .pairs cimport Pairs, PairTable, pair_place, pairs_size
from .posting cimport Group, Posting, posting_groups
from .postings cimport PAGE_BITS, PAGE_POSTINGS, Page, PostingTable, posting_at
from .subscriptions cimport SubscriptionTable
from .types cimport slot_t
from .wire cimport CHANNEL_COUNT

from collections import Counter as _Counter


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


cdef object check_pairs(const PairTable *table):
    """Check a hash table; return (key, value) -> how often it is there."""
    cdef uint32_t i, place, size = pairs_size(table)
    cdef object found = _Counter()
    require((table.count == 0) == (size == 0), "an empty hash table has memory, or another has none")
    require(size <= 8 * table.count or size <= 4, "a hash table is too empty")
    require(4 * table.count <= 3 * size, "a hash table is too full")
    for i in range(size):
        if table.pairs[i].value == 0:
            continue
        found[table.pairs[i].key, table.pairs[i].value] += 1
        place = pair_place(table, table.pairs[i].key)
        while place != i:
            require(table.pairs[place].value != 0, "an entry of a hash table can't be found")
            place = (place + 1) & (size - 1)
    require(sum(found.values()) == table.count, f"a hash table counts {table.count} entries, not {sum(found.values())}")
    return found


def check_pair_table(Pairs pairs not None):
    """Check a hash table; return (key, value) -> how often it is there."""
    return check_pairs(&pairs._table)


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


cdef dict check_posting(Index index, Posting *posting):
    """Check a posting; return slot -> filter."""
    cdef dict found = {}
    cdef PyObject *previous = NULL
    cdef Group *groups = posting_groups(posting)
    cdef uint32_t i
    require(posting.count <= 1 or posting.count <= posting.storage.many.capacity, "a posting is larger than its memory")
    for i in range(posting.count):
        require(groups[i].filter > previous, "groups are not in order")
        previous = groups[i].filter
        filter = <object>previous
        require(type(filter) is Filter and index._filters.get((<Filter>filter).key) is filter, "a filter that is gone")
        slots = check_set(&groups[i].slots)
        require(len(slots) > 0, "a group of nobody")
        require(found.keys().isdisjoint(slots), "a slot stands in a posting twice")
        found.update(dict.fromkeys(slots, filter))
    return found


def check_postings(PostingTable table not None):
    """Check how postings are found, and their memory; return number -> device."""
    cdef uint32_t i, place, pages = 0, roomy = 0
    cdef Page *page
    cdef Page *previous = NULL
    cdef DeviceKey key
    cdef dict found = {}
    numbers = [number for _, number in check_pairs(&table._numbers)]
    require(len(numbers) == len(set(numbers)) == table.count, f"{table.count} postings are counted, not {len(numbers)}")
    for i in range(table._page_count):
        if table._pages[i] & 1:
            continue
        page = <Page *>table._pages[i]
        pages += 1
        require(page.number == i, "a page has the number of another one")
        for place in range(PAGE_POSTINGS):
            if not page.used >> place & 1 or (i == 0 and place == 0):
                continue
            device = found[i << PAGE_BITS | place] = table.device_of(i << PAGE_BITS | place)
            key = key_of(device)
            require(table.find(&key, table.hash_of(&key)) == (i << PAGE_BITS | place), f"{device!r} is not found")
    page = table._roomy
    while page != NULL:
        require(page.previous == previous, "a page does not know what is before it")
        require(~page.used != 0, "a full page is among those with room")
        roomy += 1
        previous = page
        page = page.next
    require(found.keys() == set(numbers), "a posting is in no page, or a page has one too many")
    require(len(set(found.values())) == len(found), "a device has two postings")
    require(pages * PAGE_POSTINGS <= table.count + 1 + roomy * (PAGE_POSTINGS - 1), "a page is empty, or not listed")
    require(table.count > 0 or table._pages == NULL, "a table without postings has memory")
    return found


def check_index(Index index not None):
    """Check an index; return (channel, device) -> {slot: filter}, the device None for all devices."""
    cdef int channel
    cdef uint32_t number, shadowed
    cdef Posting *posting
    cdef dict found = {}
    cdef Py_ssize_t entries = 0
    cdef set filters = set()
    check_filters(index)
    for channel in range(CHANNEL_COUNT):
        everywhere = found[channel, None] = check_posting(index, index.find_all(channel))
        for number, device in check_postings(index.postings(channel)).items():
            posting = posting_at(index.postings(channel), number)
            there = found[channel, device] = check_posting(index, posting)
            require(len(there) > 0, f"nobody is left at device {device!r}")
            shadowed = <uint32_t>len(there.keys() & everywhere.keys())
            require(posting.shadowed == shadowed, f"{posting.shadowed} slots are shadowed, not {shadowed}")
    for there in found.values():
        entries += len(there)
        filters.update(there.values())
    require(entries == index.entries, f"{index.entries} entries are counted, there are {entries}")
    require(filters == set(index._filters.values()), "nobody stands under a filter")
    return found


cdef dict check_coverages(SubscriptionTable table, int channel, object filters):
    """Check what covers a channel's devices by name; return device -> Coverage, and count the filters."""
    cdef ChannelTable part = table._channels[channel]
    cdef Coverage coverage
    cdef dict found = {}
    cdef object counted = _Counter()
    cdef uint32_t number
    for (posting, number), times in check_pairs(&part.devices).items():
        require(times == 1 and number != NOTHING, "a device is covered twice, or by nothing")
        found[table.index.postings(channel).device_of(posting)] = part.coverages[number]
        counted[number] += 1
    for number, coverage in enumerate(part.coverages or ()):
        if coverage is None:
            continue
        require(coverage.number == number and coverage.devices == <uint32_t>counted[number],
                f"{counted[number]} devices have a coverage that counts {coverage.devices}")
        require(coverage.devices > 0 and coverage.wanted is None and not coverage.noted, "a change has no end")
        require(len(set(coverage.subscriptions)) == len(coverage.subscriptions), "a subscription covers a device twice")
        require(part.obtain(coverage.subscriptions) is coverage, "two coverages are the same")
        filters[coverage.posted] += 1
    require(len(part._free or ()) == len(set(part._free or ())), "a number is free twice")
    return found


cdef object check_table(SubscriptionTable table, dict found, object terms, object filters):
    """Check a connection's subscriptions; add what it should have in the index, and the terms and filters it uses."""
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
        posted = {None: (part.posted, everywhere)} if everywhere else {}
        require(bool(everywhere) == (part.posted is not None), "all devices are posted, or should be")
        filters.update([part.posted] if everywhere else [])
        coverages = check_coverages(table, channel, filters)
        require(coverages.keys() == by_device.keys(), "the covered devices are wrong")
        for device, coverage in coverages.items():
            own = coverage.subscriptions
            require(_Counter(own) == _Counter(by_device[device]), f"what covers device {device!r} is wrong")
            require(table.filter_at(channel, device) is coverage.posted, f"device {device!r} is not found")
            posted[device] = (coverage.posted, everywhere + list(own))
        for device, (filter, covering) in posted.items():
            wanted = _Counter([(<Subscription>one).term for one in covering])
            there = dict(zip((<Filter>filter).terms, (<Filter>filter).counts, strict=True))
            require(there == wanted, f"the filter at {device!r} is not that of what covers it")
            found.setdefault((channel, device), {})[table.slot] = filter
    require((count, devices) == (table.count, table.devices),
            f"{count} subscriptions to {devices} devices are counted as {table.count} to {table.devices}")
