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

    def take(self, double now, double count=1):
        """Take tokens; say whether so many were there."""
        return bucket_take_many(&self._bucket, count, self._rate, self._burst, now)

    def give_back(self, double count):
        """Give back some of those that were just taken."""
        bucket_give_back(&self._bucket, count)

    def wait(self):
        """Return the seconds until the next token."""
        return bucket_wait(&self._bucket, self._rate)
