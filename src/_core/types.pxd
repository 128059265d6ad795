"""Shared C types of the core, and its invariants: no Python object, no dependency."""
from libc.stdint cimport uint32_t


# What a cdef function without a result returns: EXC tells the C caller to look for an exception, which is
# cheaper than `except *` and than handing None around.
cdef enum NoResult:
    EXC = -1
    OK = 0


# Number of a connection in the hub's tables; handed out densely and used again after a disconnect.
ctypedef uint32_t slot_t


cdef extern from *:
    """
    #define vfast_prefetch(address) __builtin_prefetch(address)
    """
    void vfast_prefetch(const void *address) noexcept nogil     # any address: a wrong one is ignored


# What must be true of a data structure, where a wrong state would be silent. A release compiles nothing for it; a
# build with VFAST_INVARIANTS (make sanitize) says where it is broken and aborts. The condition has no effects and
# raises nothing; it is one C expression: Cython would work out `and`, `or` and a < b < c before it, in every build.
cdef extern from *:
    """
    #if VFAST_INVARIANTS
    #include <stdio.h>
    #include <stdlib.h>
    #define vfast_invariant(condition) \\
        ((condition) ? (void)0 \\
                     : (fprintf(stderr, "%s:%d: invariant broken: %s\\n", __FILE__, __LINE__, #condition), abort()))
    #else
    #define vfast_invariant(condition) ((void)0)
    #endif
    """
    bint VFAST_INVARIANTS           # 0 or 1: to guard what takes more than an expression
    void vfast_invariant(bint condition) noexcept nogil


# Whether there is what a guard looks for: the condition, and nothing else, in a release. A build with VFAST_TEST_HOOKS
# (make guards) is blind to what the guard named by VFAST_GUARD_OFF looks for, so that its test can be seen to fail.
cdef extern from *:
    """
    #if VFAST_TEST_HOOKS
    #include <stdlib.h>
    #include <string.h>
    static inline int vfast_sees(const char *guard) {
        const char *off = getenv("VFAST_GUARD_OFF");
        return off == NULL || strcmp(off, guard) != 0;
    }
    #define vfast_guard(guard, condition) ((condition) && vfast_sees(guard))
    #else
    #define vfast_guard(guard, condition) (condition)
    #endif
    """
    bint VFAST_TEST_HOOKS           # 0 or 1
    bint vfast_guard(const char *guard, bint condition) noexcept nogil
