"""Token buckets; the struct and its functions are in bucket.pxd."""

cimport cython


@cython.final
cdef class Bucket:
    """A token bucket as a Python object, for tests.

    Args:
        rate: tokens a second; 0 limits nothing.
        burst: tokens that a full bucket holds.
        now: monotonic seconds.
    """
    cdef TokenBucket _bucket
    cdef double _rate
    cdef double _burst

    def __init__(self, double rate, double burst, double now):
        self._rate = rate
        self._burst = burst
        bucket_fill(&self._bucket, burst, now)

    def take(self, double now):
        """Take one token; say whether there was one."""
        return bucket_take(&self._bucket, self._rate, self._burst, now)

    def wait(self):
        """Return the seconds until the next token."""
        return bucket_wait(&self._bucket, self._rate)
