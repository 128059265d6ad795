"""Token buckets: a rate with a burst. A value type; time is an argument, in monotonic seconds."""
from .types cimport vfast_invariant


cdef struct TokenBucket:
    double tokens                   # 0 <= tokens <= burst
    double updated                  # when `tokens` was right


cdef inline void bucket_fill(TokenBucket *bucket, double burst, double now) noexcept nogil:
    """Make the bucket full."""
    bucket.tokens = burst
    bucket.updated = now


cdef inline bint bucket_take_many(TokenBucket *bucket, double count, double rate, double burst,
                                  double now) noexcept nogil:
    """Take so many tokens, if they are there; count <= burst. A rate of 0 (tokens a second) limits nothing."""
    if rate <= 0:
        return True
    if now > bucket.updated:
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.updated) * rate)
        bucket.updated = now
        vfast_invariant(bucket.tokens <= burst)
    vfast_invariant(bucket.tokens >= 0)
    if bucket.tokens < count:
        return False
    bucket.tokens -= count
    return True


cdef inline bint bucket_take(TokenBucket *bucket, double rate, double burst, double now) noexcept nogil:
    """Take one token, if there is one."""
    return bucket_take_many(bucket, 1, rate, burst, now)


cdef inline void bucket_give_back(TokenBucket *bucket, double count) noexcept nogil:
    """Give back of what was just taken what was not needed."""
    vfast_invariant(count >= 0)
    bucket.tokens += count


cdef inline double bucket_wait(const TokenBucket *bucket, double rate) noexcept nogil:
    """Return the seconds until the next token, as of the last look."""
    return 0 if rate <= 0 or bucket.tokens >= 1 else (1 - bucket.tokens) / rate
