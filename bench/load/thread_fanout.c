// thread_fanout: one buffer written to many sockets, from several threads: the prototype beside which bench/
// fanout_compare.py puts processes. A shared library; whoever calls it through ctypes has released the GIL.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

enum { MAX_THREADS = 16 };

static pthread_barrier_t begin, end;
static int threads, count;
static const int *sockets;
static const char *data;
static size_t size;
static uint64_t refused[MAX_THREADS];

static void write_share(int number) {
    for (int i = number; i < count; i += threads)
        refused[number] += send(sockets[i], data, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size;
}

static void *serve(void *number) {
    for (;;) {
        pthread_barrier_wait(&begin);
        write_share((int)(intptr_t)number);
        pthread_barrier_wait(&end);
    }
    return NULL;
}

// Starts the threads; the caller of `fanout` is one of them.
int fanout_start(int wanted) {
    threads = wanted;
    pthread_barrier_init(&begin, NULL, threads);
    pthread_barrier_init(&end, NULL, threads);
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)i)) return -1;
    }
    return 0;
}

// Writes a buffer to each socket; returns how many writes were not taken whole so far.
uint64_t fanout(const int *all, int how_many, const char *bytes, size_t length) {
    uint64_t sum = 0;
    sockets = all;
    count = how_many;
    data = bytes;
    size = length;
    pthread_barrier_wait(&begin);
    write_share(0);
    pthread_barrier_wait(&end);
    for (int i = 0; i < threads; i++) sum += refused[i];
    return sum;
}
