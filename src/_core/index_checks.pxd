"""Checks of the index and of what stands in it, for those of the whole (checks.pyx)."""
from .index cimport Index
from .subscriptions cimport SubscriptionTable


cdef object require(bint condition, str text)
# Terms and filters, but for who uses them; returns how often terms are used by filters.
cdef object check_filters(Index index)
# A connection's subscriptions; adds what it should have in the index, and the terms and filters that it uses.
cdef object check_table(SubscriptionTable table, dict found, object terms, object filters)
