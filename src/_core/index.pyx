"""The subscription index; index.pxd has the overview."""

cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from .devices cimport DeviceKey, key_of
from .latest cimport Values
from .names cimport Names, find_name
from .posting cimport Posting, posting_add, posting_bytes, posting_clear, posting_remove
from .postings cimport PostingTable, posting_at
from .publication cimport MASK_WORDS, MetricMask, Publication, mask_add, mask_any
from .throttle cimport Cohort, Pace, Throttle, is_throttled
from .types cimport NoResult, slot_t, vfast_invariant
from .wire cimport CHANNEL_COUNT


@cython.final
cdef class Term:
    """One subscription's conditions apart from devices; fields in index.pxd."""

    def __dealloc__(self):
        free(self.first)
        free(self.second)


cdef Pace pace_of(list terms):
    """Return the pace of overlapping subscriptions: the fastest, and a deadband only where all have the same."""
    cdef Term term = <Term>terms[0]
    cdef Pace pace = term.pace
    for term in terms:
        pace.interval = min(pace.interval, term.pace.interval)
        if term.pace.deadband != pace.deadband or term.pace.relative != pace.relative:
            pace.deadband = 0
            pace.relative = False
    return pace


@cython.final
cdef class Filter:
    """The terms of a connection at one posting; fields in index.pxd."""


cdef inline bint holds(const uint32_t *numbers, uint32_t count, uint32_t number) noexcept nogil:
    """Say whether one of a handful of numbers is `number`."""
    cdef uint32_t i
    for i in range(count):
        if numbers[i] == number:
            return True
    return False


@cython.final
cdef class Index:
    """The subscription index of a hub.

    Args:
        names: distinct names of metrics, severities, types and statuses that subscriptions may use at a time.
    """

    def __cinit__(self, Py_ssize_t names=65536):
        self.names = Names(names)
        self._devices = [PostingTable.__new__(PostingTable) for _ in range(CHANNEL_COUNT)]
        self._terms = {}
        self._filters = {}
        self.left = []
        self.abandoned = []

    def __dealloc__(self):
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            posting_clear(&self._all[channel])
        free(self._positions)
        free(self._stamps)

    cdef PostingTable postings(self, int channel):
        """Return the postings of a channel's devices."""
        return <PostingTable>self._devices[channel]

    cdef Posting *find(self, int channel, object device) except? NULL:
        cdef PostingTable table = self.postings(channel)
        cdef DeviceKey key
        cdef uint32_t number
        if table.count == 0:
            return NULL
        key = key_of(device)
        number = table.find(&key, table.hash_of(&key))
        return NULL if number == 0 else posting_at(table, number)

    cdef Posting *find_all(self, int channel) noexcept:
        """Return the posting of "all devices"."""
        return &self._all[channel]

    cdef Posting *posting_of(self, int channel, uint32_t number) noexcept:
        """Return the posting of a number; 0: that of "all devices"."""
        return posting_at(self.postings(channel), number) if number else &self._all[channel]

    cdef Term acquire_term(self, int channel, tuple first, tuple second, tuple pace, bint recovers):
        """Return the interned term, counting one more user; TooManyNamesError at the bound.

        pace: (interval, deadband, relative); None: real-time. recovers: it wants to know offsets.
        """
        key = (channel, first, second, pace, recovers)
        cdef Term term = self._terms.get(key)
        if term is None:
            term = Term.__new__(Term)
            term.key = key
            term.channel = channel
            term.recovers = recovers
            if pace is not None:
                term.pace = Pace(pace[0], pace[1], pace[2])
            try:
                if first is not None:
                    term.first = self.names.acquire_all(first)
                    term.first_count = <uint32_t>len(first)
                if second is not None:
                    term.second = self.names.acquire_all(second)
                    term.second_count = <uint32_t>len(second)
                self._terms[key] = term
            except BaseException:
                self.release_names(term)
                raise
        term.users += 1
        return term

    cdef NoResult release_names(self, Term term) except NoResult.EXC:
        cdef uint32_t i
        for i in range(term.first_count):
            self.names.release(term.first[i])
        for i in range(term.second_count):
            self.names.release(term.second[i])
        return NoResult.OK

    cdef NoResult release_term(self, Term term) except NoResult.EXC:
        """Count one user less; the last one takes the term and its names with it."""
        vfast_invariant(term.users > 0)
        term.users -= 1
        if term.users == 0:
            del self._terms[term.key]
            self.release_names(term)
        return NoResult.OK

    cdef Filter acquire_filter(self, list terms):
        """Return the interned filter of a list of terms (repeats count), counting one more user."""
        cdef Filter filter
        cdef Term term
        cdef dict counts
        if len(terms) == 1:
            key = terms[0]
        else:
            counts = {}
            for term in terms:
                counts[term] = counts.get(term, 0) + 1
            key = frozenset(counts.items())
        filter = self._filters.get(key)
        if filter is None:
            filter = Filter.__new__(Filter)
            filter.key = key
            if len(terms) == 1:
                filter.terms = terms[:]
                filter.counts = [1]
            else:
                filter.terms = list(counts)
                filter.counts = list(counts.values())
            if len(filter.terms) == 1:
                filter.only = <Term>filter.terms[0]
                filter.only_count = filter.counts[0]
            filter.pace = pace_of(filter.terms)
            if is_throttled(&filter.pace):
                filter.throttles = {}
                filter.throttles_everywhere = {}
            self._filters[key] = filter
            for term in filter.terms:
                term.users += 1
                filter.recovers |= term.recovers
        filter.users += 1
        return filter

    cdef NoResult release_filter(self, Filter filter) except NoResult.EXC:
        """Count one user less; the last one takes the filter with it."""
        cdef Term term
        vfast_invariant(filter.users > 0)
        filter.users -= 1
        if filter.users == 0:
            del self._filters[filter.key]
            for term in filter.terms:
                self.release_term(term)
        return NoResult.OK

    cdef NoResult add(self, int channel, uint32_t number, Filter filter, slot_t slot) except NoResult.EXC:
        """Post a slot; number 0: for all devices. The slot must not stand there already."""
        cdef Posting *posting = self.posting_of(channel, number)
        cdef bint is_first = posting.count == 0
        posting_add(posting, filter, slot)
        self.entries += 1
        if is_first and self.lanes is not None:
            self.count_lane(channel, number)
        return NoResult.OK

    cdef NoResult count_lane(self, int channel, uint32_t number) except NoResult.EXC:
        """Have the lanes know whether anybody stands at a posting, of which that has just changed."""
        cdef object device = None if number == 0 else self.postings(channel).device_of(number)
        if self.posting_of(channel, number).count:
            self.lanes.enter(channel, device)
        else:
            self.lanes.leave(channel, device)
        return NoResult.OK

    cdef NoResult remove(self, int channel, uint32_t number, Filter filter, slot_t slot) except NoResult.EXC:
        """Take back what add() did, with the same arguments. The posting stays, even of nobody."""
        cdef Posting *posting = self.posting_of(channel, number)
        posting_remove(posting, filter, slot)
        self.entries -= 1
        vfast_invariant(self.entries >= 0)
        if self.lanes is not None and posting.count == 0:
            self.count_lane(channel, number)
        return self.leave(filter, channel, number, number == 0, slot)

    cdef NoResult leave(self, Filter filter, int channel, uint32_t number, bint everywhere,
                        slot_t slot) except NoResult.EXC:
        """Take a slot out of the filter's cohorts, and note them in `left`: at a device, or (number 0) at all."""
        cdef Throttle throttle
        cdef Cohort cohort
        cdef dict throttles = filter.throttles_everywhere if everywhere else filter.throttles
        if not throttles:
            return NoResult.OK
        for throttle in throttles.values() if number == 0 else (
                throttles.get(self.postings(channel).device_of(number)),):
            if throttle is not None:
                cohort = throttle.discard(slot)
                if cohort is not None:
                    self.left.append(cohort)
        return NoResult.OK

    cdef bint owed(self, Cohort cohort, Filter heir, MetricMask *mask) except -1:
        """Set the mask to what a cohort is owed, or what of that `heir` asks for; say whether it is anything."""
        cdef Throttle throttle = cohort.throttle
        cdef Filter filter = <Filter>throttle.filter
        cdef MetricMask inherited
        cdef int w
        self.wanted(filter, throttle.values, mask)
        throttle.values.since(cohort.since, mask)
        if cohort.sent_count:
            cohort.drop_unmoved(&filter.pace, mask)
        if heir is not None:
            self.wanted(heir, throttle.values, &inherited)
            for w in range(MASK_WORDS):
                mask.words[w] &= inherited.words[w]
        return mask_any(mask)

    cdef void shadow(self, int channel, uint32_t number, int by) noexcept:
        """Count a slot at a device that stands under "all devices" too (by 1), or no longer does (by -1)."""
        cdef Posting *posting = self.posting_of(channel, number)
        posting.shadowed += by
        vfast_invariant(posting.shadowed <= <uint64_t>self.entries)     # below zero it would be huge

    cdef NoResult reserve_positions(self) except NoResult.EXC:
        cdef Py_ssize_t size = len(self.names._names)
        cdef void *memory
        if size <= self._positions_size:
            return NoResult.OK
        size += 256
        memory = realloc(self._positions, size * sizeof(uint32_t))
        if memory == NULL:
            raise MemoryError
        self._positions = <uint32_t *>memory
        memory = realloc(self._stamps, size * sizeof(uint64_t))
        if memory == NULL:
            raise MemoryError
        self._stamps = <uint64_t *>memory
        memset(self._stamps + self._positions_size, 0, (size - self._positions_size) * sizeof(uint64_t))
        self._positions_size = size
        return NoResult.OK

    cdef NoResult prepare(self, Publication publication, Probe *probe) except NoResult.EXC:
        """Work out what filters will look at; matches() is about the last prepared publication."""
        cdef Py_ssize_t i, number
        memset(probe, 0, sizeof(Probe))
        probe.channel = publication.channel
        probe.metrics = publication.count
        for i in range(publication.count >> 6):
            probe.all.words[i] = ~<uint64_t>0
        if publication.count & 63:
            probe.all.words[publication.count >> 6] = ((<uint64_t>1) << (publication.count & 63)) - 1
        if not self.names._numbers:
            return NoResult.OK
        if publication.count == 0:
            probe.first = <uint32_t>(find_name(self.names, publication.first) + 1)
            if publication.second is not None:
                probe.second = <uint32_t>(find_name(self.names, publication.second) + 1)
            return NoResult.OK
        self.reserve_positions()
        self._probe += 1
        for i in range(publication.count):
            number = find_name(self.names, <str>publication.names[i])
            if number >= 0:
                self._positions[number] = <uint32_t>i
                self._stamps[number] = self._probe
        return NoResult.OK

    cdef bint term_matches(self, Term term, const Probe *probe, MetricMask *mask) noexcept:
        """Say whether one term matches; its metrics are added to the mask."""
        cdef uint32_t i, position
        cdef bint any_metric = False
        if probe.metrics == 0:
            if term.first != NULL and not (probe.first and holds(term.first, term.first_count, probe.first - 1)):
                return False
            return term.second == NULL or (probe.second and holds(term.second, term.second_count, probe.second - 1))
        if term.first == NULL:
            mask[0] = probe.all
            return True
        for i in range(term.first_count):
            vfast_invariant(term.first[i] < <size_t>self._positions_size)
            if self._stamps != NULL and self._stamps[term.first[i]] == self._probe:
                position = self._positions[term.first[i]]
                mask_add(mask, position)
                any_metric = True
        return any_metric

    cdef void wanted(self, Filter filter, Values values, MetricMask *mask) noexcept:
        """Set the mask to those of a device's metrics that the filter asks for."""
        cdef Term term
        cdef PyObject *known
        cdef uint32_t i, position
        memset(mask, 0, sizeof(MetricMask))
        for term in filter.terms:
            if values.state is not None:            # the status, as if it were a metric
                mask.words[0] |= term.first == NULL or holds(term.first, term.first_count,
                                                             <uint32_t>find_name(self.names, values.state))
                continue
            if term.first == NULL:
                for i in range(values.count):
                    mask_add(mask, i)
                return
            for i in range(term.first_count):
                known = PyDict_GetItem(values.positions, self.names._names[term.first[i]])
                if known != NULL:
                    position = <uint32_t><object>known
                    mask_add(mask, position)

    cdef uint32_t matches(self, Filter filter, const Probe *probe, MetricMask *mask) noexcept:
        """Return how many of a connection's subscriptions match; `mask` is what it gets of a publication of values."""
        cdef uint32_t total = 0
        cdef Py_ssize_t i
        memset(mask, 0, sizeof(MetricMask))
        if filter.only is not None:
            return filter.only_count if self.term_matches(filter.only, probe, mask) else 0
        for i in range(len(filter.terms)):
            if self.term_matches(<Term>filter.terms[i], probe, mask):
                total += <uint32_t>filter.counts[i]
        return total

    def stats(self):
        """Return the sizes of the index's tables and the bytes that its postings own."""
        cdef PostingTable table
        cdef Py_ssize_t nbytes = 0
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            nbytes += self.postings(channel).nbytes() + posting_bytes(&self._all[channel])
        return {"entries": self.entries, "devices": sum([table.count for table in self._devices]),
                "names": len(self.names), "terms": len(self._terms), "filters": len(self._filters), "bytes": nbytes}
