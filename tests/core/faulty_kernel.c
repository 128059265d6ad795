/*
 * Puts the test between the server and the kernel: preloaded, it lets the next writes to a connection end as the
 * test has said. Everything else goes through, and what is taken is really sent.
 *
 * A connection is known by the peer's port. It has two ways out: send() and sendmsg(), which the outbox calls, and
 * write() and writev(), which the event loop's transport calls. For each there may be a list of outcomes; a call takes
 * one and does it, the last one stays if the list says so:
 *
 *     n > 0     at most n bytes are taken
 *     0         nothing is: EAGAIN
 *     -e        the call fails with errno e
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WAYS = 2, PORTS = 65536, MAX_VECTORS = 1024 };

struct way {
    const long *outcomes; /* the test keeps them while they are in use */
    size_t count;
    size_t next;
    int repeats;
    unsigned long calls;
};

static struct way ways[PORTS][WAYS];
static int in_use;

/* Set what the next writes on a way end like; repeats: the last outcome is that of all that follow. */
void faulty_set(int port, int way, const long *outcomes, size_t count, int repeats)
{
    struct way *it = &ways[port][way];
    in_use = 1;
    it->outcomes = outcomes;
    it->count = count;
    it->next = 0;
    it->repeats = repeats;
    it->calls = 0;
}

/* Return the outcomes that have not been used. */
size_t faulty_left(int port, int way)
{
    return ways[port][way].count - ways[port][way].next;
}

/* Return the writes since faulty_set(). */
unsigned long faulty_calls(int port, int way)
{
    return ways[port][way].calls;
}

/* Give the outcome of a write of `size` bytes: how many to offer, or -1 with errno. */
static ssize_t outcome_of(int fd, int way, size_t size)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int saved = errno;
    struct way *it;
    long outcome;

    if (!in_use)
        return (ssize_t)size;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) != 0 || peer.sin_family != AF_INET) {
        errno = saved;
        return (ssize_t)size;
    }
    it = &ways[ntohs(peer.sin_port)][way];
    it->calls++;
    if (it->next == it->count)
        return (ssize_t)size;
    outcome = it->outcomes[it->next];
    if (!(it->repeats && it->next + 1 == it->count))
        it->next++;
    if (outcome > 0)
        return (size_t)outcome < size ? (ssize_t)outcome : (ssize_t)size;
    errno = outcome ? (int)-outcome : EAGAIN;
    return -1;
}

static size_t size_of(const struct iovec *vectors, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += vectors[i].iov_len;
    return size;
}

/* Copy as many vectors as cover `size` bytes, the last one cut; return how many. */
static size_t cut(struct iovec *to, const struct iovec *from, size_t count, size_t size)
{
    size_t i;
    for (i = 0; i < count && i < MAX_VECTORS && size > 0; i++) {
        to[i] = from[i];
        if (to[i].iov_len > size)
            to[i].iov_len = size;
        size -= to[i].iov_len;
    }
    return i;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    static ssize_t (*next)(int, const void *, size_t, int);
    ssize_t taken = outcome_of(fd, 0, size);
    if (!next)
        next = (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    return taken < 0 ? -1 : next(fd, data, (size_t)taken, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    static ssize_t (*next)(int, const struct msghdr *, int);
    struct iovec vectors[MAX_VECTORS];
    struct msghdr less = *message;
    ssize_t taken = outcome_of(fd, 0, size_of(message->msg_iov, message->msg_iovlen));
    if (!next)
        next = (ssize_t(*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
    if (taken < 0)
        return -1;
    less.msg_iovlen = cut(vectors, message->msg_iov, message->msg_iovlen, (size_t)taken);
    less.msg_iov = vectors;
    return next(fd, &less, flags);
}

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*next)(int, const void *, size_t);
    ssize_t taken = outcome_of(fd, 1, size);
    if (!next)
        next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return taken < 0 ? -1 : next(fd, data, (size_t)taken);
}

ssize_t writev(int fd, const struct iovec *from, int count)
{
    static ssize_t (*next)(int, const struct iovec *, int);
    struct iovec vectors[MAX_VECTORS];
    ssize_t taken = outcome_of(fd, 1, size_of(from, (size_t)count));
    if (!next)
        next = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    return taken < 0 ? -1 : next(fd, vectors, (int)cut(vectors, from, (size_t)count, (size_t)taken));
}
