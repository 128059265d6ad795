"""The postings of a channel, by device; postings.pxd has the overview."""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_Compare
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from .bitset cimport vfast_ctz64
from .devices cimport DeviceKey, key_of
from .pairs cimport Pair, pair_place, pairs_add, pairs_clear, pairs_next, pairs_remove, pairs_size
from .posting cimport Posting, posting_bytes, posting_clear
from .types cimport NoResult, vfast_invariant

from os import urandom as _urandom

cdef uint64_t ALL = ~<uint64_t>0


cdef extern from *:
    """
    /* Both halves of the product: each bit of the key moves all others. */
    static inline uint64_t vfast_fold(uint64_t one, uint64_t other) {
        unsigned __int128 product = (unsigned __int128)one * other;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t vfast_fold(uint64_t one, uint64_t other) noexcept nogil


cdef inline uint64_t reserved(const Page *page) noexcept nogil:
    """Return the bits of a page that are never free: number 0 is none."""
    return 1 if page.number == 0 else 0


@cython.final
cdef class PostingTable:
    """Postings by device; made by the index."""

    def __cinit__(self):
        cdef object secret = int.from_bytes(_urandom(16), "little")
        self._secret[0] = secret & ALL
        self._secret[1] = (secret >> 64) | 1

    def __dealloc__(self):
        cdef uint32_t i, place
        cdef Page *page
        for i in range(self._page_count):
            if self._pages[i] & 1:
                continue
            page = <Page *>self._pages[i]
            for place in range(PAGE_POSTINGS):
                if (page.used & ~reserved(page)) >> place & 1:
                    posting_clear(&page.postings[place])
                    if page.texts >> place & 1:
                        Py_DECREF(<object>page.postings[place].key.text)
            free(page)
        free(self._pages)
        pairs_clear(&self._numbers)

    cdef uint32_t hash_of(self, const DeviceKey *key) except? 0:
        cdef uint64_t number = <uint64_t>key.number
        if key.text != NULL:
            number = <uint64_t><Py_ssize_t>hash(<object>key.text)
        return <uint32_t>vfast_fold(vfast_fold(number ^ self._secret[0], self._secret[1]) ^ self._secret[1],
                                    <uint64_t>0x9E3779B97F4A7C15)

    cdef uint32_t find(self, const DeviceKey *key, uint32_t hash) except? 0:
        cdef uint32_t place, number
        cdef uint64_t bit
        cdef const Page *page
        cdef const Posting *posting
        if self.count == 0:
            return 0
        place = pair_place(&self._numbers, hash)
        while True:
            number = pairs_next(&self._numbers, hash, &place)
            if number == 0:
                return 0
            page = <const Page *>self._pages[number >> PAGE_BITS]
            bit = (<uint64_t>1) << (number & (PAGE_POSTINGS - 1))
            posting = &page.postings[number & (PAGE_POSTINGS - 1)]
            vfast_invariant((page.used & bit) != 0)
            if key.text == NULL:
                if not page.texts & bit and posting.key.number == key.number:
                    return number
            elif page.texts & bit and PyUnicode_Compare(<object>posting.key.text, <object>key.text) == 0:
                return number

    cdef uint32_t acquire(self, const DeviceKey *key) except 0:
        cdef uint32_t hash = self.hash_of(key)
        cdef uint32_t number = self.find(key, hash)
        cdef uint32_t place
        cdef Page *page
        if number:
            return number
        if self._roomy == NULL:
            self.add_page()
        page = self._roomy
        place = vfast_ctz64(~page.used)
        number = page.number << PAGE_BITS | place
        pairs_add(&self._numbers, hash, number)
        memset(&page.postings[place], 0, sizeof(Posting))
        page.postings[place].key.number = key.number
        page.used |= (<uint64_t>1) << place
        if key.text != NULL:
            page.texts |= (<uint64_t>1) << place
            page.postings[place].key.text = key.text
            Py_INCREF(<object>key.text)
        if page.used == ALL:
            self._roomy = page.next
            if page.next != NULL:
                page.next.previous = NULL
            page.next = NULL
        self.count += 1
        return number

    cdef NoResult release(self, uint32_t number) except NoResult.EXC:
        cdef Page *page = <Page *>self._pages[number >> PAGE_BITS]
        cdef uint32_t place = number & (PAGE_POSTINGS - 1)
        cdef uint64_t bit = (<uint64_t>1) << place
        cdef DeviceKey key
        cdef bint known
        vfast_invariant((page.used & bit) != 0)
        vfast_invariant(page.postings[place].count == 0)
        vfast_invariant(page.postings[place].shadowed == 0)
        key.number = page.postings[place].key.number
        key.text = page.postings[place].key.text if page.texts & bit else NULL
        known = pairs_remove(&self._numbers, self.hash_of(&key), number)
        vfast_invariant(known)
        if page.used == ALL:
            page.next = self._roomy
            if page.next != NULL:
                page.next.previous = page
            self._roomy = page
        page.used &= ~bit
        page.texts &= ~bit
        self.count -= 1
        if page.used == reserved(page):
            self.drop_page(page)
        if key.text != NULL:
            Py_DECREF(<object>key.text)
        return NoResult.OK

    cdef object device_of(self, uint32_t number):
        """Return the device of a posting."""
        cdef const Page *page = <const Page *>self._pages[number >> PAGE_BITS]
        cdef const Posting *posting = &page.postings[number & (PAGE_POSTINGS - 1)]
        if page.texts >> (number & (PAGE_POSTINGS - 1)) & 1:
            return <object>posting.key.text
        return posting.key.number

    cdef NoResult add_page(self) except NoResult.EXC:
        """Make room where there is none."""
        cdef Page *page
        cdef uintptr_t *pages
        cdef uint32_t capacity
        cdef uint32_t number = self._free - 1 if self._free else self._page_count
        vfast_invariant(self._roomy == NULL)
        if number == self._page_capacity:
            capacity = self._page_capacity + (self._page_capacity >> 1) + 4
            if capacity >= <uint32_t>1 << (32 - PAGE_BITS):
                raise MemoryError
            pages = <uintptr_t *>realloc(self._pages, capacity * sizeof(uintptr_t))
            if pages == NULL:
                raise MemoryError
            self._pages = pages
            self._page_capacity = capacity
        page = <Page *>malloc(sizeof(Page))
        if page == NULL:
            raise MemoryError
        if self._free == 0:
            self._page_count += 1
        else:
            self._free = <uint32_t>(self._pages[number] >> 1)
        self._pages[number] = <uintptr_t>page
        page.number = number
        page.used = reserved(page)
        page.texts = 0
        page.previous = page.next = NULL
        self._roomy = page
        return NoResult.OK

    cdef void drop_page(self, Page *page) noexcept:
        """Give an empty page back, and all there is with the last one."""
        if page.previous != NULL:
            page.previous.next = page.next
        else:
            self._roomy = page.next
        if page.next != NULL:
            page.next.previous = page.previous
        self._pages[page.number] = ((<uintptr_t>self._free) << 1) | 1
        self._free = page.number + 1
        free(page)
        if self.count == 0:
            free(self._pages)
            self._pages = NULL
            self._page_count = self._page_capacity = self._free = 0

    cdef Py_ssize_t nbytes(self) noexcept:
        """Return the bytes that the table owns."""
        cdef Py_ssize_t nbytes = pairs_size(&self._numbers) * sizeof(Pair) + self._page_capacity * sizeof(uintptr_t)
        cdef uint32_t i, place
        cdef Page *page
        for i in range(self._page_count):
            if self._pages[i] & 1:
                continue
            page = <Page *>self._pages[i]
            nbytes += sizeof(Page)
            for place in range(PAGE_POSTINGS):
                if (page.used & ~reserved(page)) >> place & 1:
                    nbytes += posting_bytes(&page.postings[place])
        return nbytes

    # For tests.

    def add(self, device not None):
        """Return the number of a canonical device's posting, which is made if there is none."""
        cdef DeviceKey key = key_of(device)
        return self.acquire(&key)

    def remove(self, uint32_t number):
        """Forget a posting."""
        self.release(number)

    def number(self, device not None):
        """Return the number of a canonical device's posting; 0: there is none."""
        cdef DeviceKey key = key_of(device)
        return self.find(&key, self.hash_of(&key))

    def devices(self):
        """Return number -> device of all postings."""
        cdef dict found = {}
        cdef uint32_t number
        for number in self.numbers():
            found[number] = self.device_of(number)
        return found

    @property
    def size(self):
        """Bytes that the table owns."""
        return self.nbytes()

    cdef list numbers(self):
        """Return the numbers of all postings."""
        cdef list found = []
        cdef uint32_t i
        for i in range(pairs_size(&self._numbers)):
            if self._numbers.pairs[i].value:
                found.append(self._numbers.pairs[i].value)
        return found
