// fanout_load: WebSocket subscribers that all get the same (epoll, one thread).
//
//     fanout_load PORT TOKEN CONNECTIONS SECONDS WARMUP
//
// Every connection authenticates, and subscribes to the telemetry of device 1. Prints "begin" when the window begins, and
// one JSON object at its end. A message carries "t", the clock (CLOCK_MONOTONIC, ns) when it was published; latency, in
// microseconds, is from then to this client's look at it, of the last message of each read. "waited" is how long this
// client was ready to run and had no CPU.
#include "load.h"

enum { EVENTS = 512, CHUNK = 1 << 18, MAX_REST = 1 << 16, MAX_US = 1 << 22 };
static const double READY_TIMEOUT = 60;

typedef struct {
    int fd;
    int open;
    uint64_t frames;                // data messages
    char *rest;                     // the beginning of a frame whose end has not come yet
    size_t rest_size;
} Connection;

static Connection *connections;
static int count, ready, closed, poller, measuring;
static const char *token;
static uint64_t frames, bytes, delays;
static uint32_t delay_us[MAX_US];

static void subscribe(Connection *one) {
    char text[4096];
    int size = snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    send_frame(one->fd, OP_TEXT, text, size);
    size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\",\"device_id\":1}");
    send_frame(one->fd, OP_TEXT, text, size);
}

static void note_delay(const Frame *frame) {
    const char *at = memmem(frame->payload, frame->size, "\"t\":", 4), *end = frame->payload + frame->size;
    int64_t published = 0;
    struct timespec time;
    if (!at) return;
    for (at += 4; at < end && *at >= '0' && *at <= '9'; at++) published = published * 10 + (*at - '0');
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t delay = (time.tv_sec * 1000000000ll + time.tv_nsec - published) / 1000;
    delay_us[delay < 0 ? 0 : delay >= MAX_US ? MAX_US - 1 : delay]++;
    delays++;
}

// Takes the whole frames; returns how many bytes they are.
static size_t take_frames(Connection *one, const char *data, size_t size) {
    size_t at = 0, length;
    Frame frame, last = {0};
    while ((length = get_frame(data + at, size - at, &frame))) {
        at += length;
        if (frame.opcode == OP_PING) send_frame(one->fd, OP_PONG, frame.payload, frame.size);
        if (frame.opcode != OP_TEXT) continue;
        if (!one->frames && memmem(frame.payload, frame.size, "subscribe_response", 18)) { ready++; continue; }
        if (!one->frames && memmem(frame.payload, frame.size, "auth_response", 13)) continue;
        one->frames++;
        frames++;
        bytes += length;
        last = frame;
    }
    if (measuring && last.payload) note_delay(&last);
    return at;
}

static void take(Connection *one) {
    static char buffer[MAX_REST + CHUNK];
    memcpy(buffer, one->rest, one->rest_size);
    ssize_t size = recv(one->fd, buffer + one->rest_size, CHUNK, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) { close(one->fd); one->fd = -1; closed++; return; }
    size += one->rest_size;
    size_t done = 0;
    if (!one->open) {
        done = get_upgrade(buffer, size);
        one->open = done > 0;
        if (one->open) subscribe(one);
    }
    if (one->open) done += take_frames(one, buffer + done, size - done);
    one->rest_size = size - done;
    if (one->rest_size > MAX_REST) fail("too much without the end of a frame");
    if (one->rest_size) {
        one->rest = realloc(one->rest, one->rest_size);
        memcpy(one->rest, buffer + done, one->rest_size);
    }
}

static void run(double until, int ready_is_enough) {
    struct epoll_event events[EVENTS];
    while (now() < until && !(ready_is_enough && ready == count)) {
        int found = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < found; i++) {
            Connection *one = events[i].data.ptr;
            if (one->fd >= 0) take(one);
        }
    }
}

static void connect_all(int port) {
    for (int i = 0; i < count; i++) {
        Connection *one = &connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        one->fd = connect_to(port, 0);
        set_nonblocking(one->fd);
        send_all(one->fd, UPGRADE "\r\n", strlen(UPGRADE "\r\n"));
        epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event);
        if (i % 64 == 63) run(now() + 0.01, 1);
    }
    run(now() + READY_TIMEOUT, 1);
    if (ready < count) fail("only %d of %d connections have subscribed", ready, count);
}

static double delay_of(double share) {
    uint64_t seen = 0;
    for (int us = 0; us < MAX_US; us++) {
        seen += delay_us[us];
        if (seen && seen >= share * delays) return us;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 6) fail("usage: fanout_load PORT TOKEN CONNECTIONS SECONDS WARMUP");
    token = argv[2];
    count = atoi(argv[3]);
    double seconds = atof(argv[4]), warmup = atof(argv[5]);
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);
    connections = calloc(count, sizeof *connections);
    poller = epoll_create1(0);
    connect_all(atoi(argv[1]));
    run(now() + warmup, 0);
    puts("begin");
    fflush(stdout);
    uint64_t first_frames = frames, first_bytes = bytes;
    double started = now(), own = seconds_of(CLOCK_PROCESS_CPUTIME_ID), own_waited = waited(getpid());
    for (int i = 0; i < count; i++) connections[i].frames = 1;
    measuring = 1;
    run(started + seconds, 0);
    double elapsed = now() - started;
    uint64_t fewest = UINT64_MAX, most = 0;
    for (int i = 0; i < count; i++) {
        if (connections[i].frames < fewest) fewest = connections[i].frames;
        if (connections[i].frames > most) most = connections[i].frames;
    }
    printf("{\"frames\":%lu,\"bytes\":%lu,\"seconds\":%.4f,\"client_cpu\":%.6f,\"waited\":%.4f,\"p50\":%.0f,\"p99\":%.0f,"
           "\"fewest\":%lu,\"most\":%lu,\"closed\":%d}\n",
           frames - first_frames, bytes - first_bytes, elapsed, seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own,
           waited(getpid()) - own_waited, delay_of(0.5), delay_of(0.99), fewest - 1, most - 1, closed);
    return 0;
}
