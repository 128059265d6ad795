// live_load: WebSocket subscribers of live data at a frequency, some of which do not read (epoll, one thread).
//
//     live_load PORT TOKEN CONNECTIONS EACH FREQUENCY IDLE STOPPED SECONDS WARMUP SERVER_PID
//
// Every connection authenticates and subscribes to EACH of 1,000 devices at FREQUENCY ("real-time", "1s"), far apart so
// that their messages come in turns of their own, and at "1s" to IDLE devices from which nothing comes. STOPPED more
// connections subscribe to all devices in real time, and then read nothing any more.
//
// The server publishes device 0, 1, ... 999, 0, 1, ... in turn (live_driver.py); a message carries "n", its number, and
// "t", the clock (CLOCK_MONOTONIC, ns) when it was published. A subscription must get ever newer numbers ("late": it did
// not), in real time every thousandth ("gaps": messages between).
//
// Prints one JSON object on stdout. The server's CPU time is that of its process between the window's two ends; "waited"
// is how long its main thread, or this client, was ready to run and had no CPU. Latency is in microseconds, from
// publishing to this client's look at the message.
#include "load.h"

enum { DEVICES = 1000, EVENTS = 512, MAX_EACH = 100, MAX_US = 1 << 22 };
static const double READY_TIMEOUT = 60;

typedef struct {
    Inbox inbox;
    int answers;                    // to subscriptions
    int stops;
    uint32_t first;                 // of the devices that it has subscribed to; they are DEVICES / each apart
    int64_t newest[MAX_EACH];       // number that came last, by device
    uint32_t window[MAX_EACH];      // messages within the window
} Connection;

static Connection *connections;
static int count, stopped, each, idle, ready, closed, poller, measuring;
static const char *token, *frequency;
static uint64_t frames, bytes, strangers, late, gaps, delays;
static int64_t top;                             // the highest number seen
static uint32_t delay_us[MAX_US];               // messages by latency

static void subscribe(Inbox *inbox) {
    Connection *one = (Connection *)inbox;
    char text[8192];
    int size = snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    send_frame(one->inbox.fd, OP_TEXT, text, size);
    if (one->stops) {
        size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\"}");
        send_frame(one->inbox.fd, OP_TEXT, text, size);
        return;
    }
    for (int is_idle = 0; is_idle < 2; is_idle++) {
        int devices = is_idle ? idle : each;
        if (!devices) continue;
        uint32_t first = is_idle ? DEVICES + (one - connections) * idle : one->first;
        size = snprintf(text, sizeof text,
                        "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\",\"frequency\":\"%s\",\"device_id\":[",
                        is_idle ? "1s" : frequency);
        for (int i = 0; i < devices; i++) {
            uint32_t device = is_idle ? first + i : (first + i * (DEVICES / each)) % DEVICES;
            size += snprintf(text + size, sizeof text - size, "%u%s", device, i + 1 < devices ? "," : "]}");
        }
        send_frame(one->inbox.fd, OP_TEXT, text, size);
    }
}

static int64_t number_after(const char *text, size_t size, const char *key) {
    const char *at = memmem(text, size, key, strlen(key)), *end = text + size;
    int64_t number = 0;
    if (!at) return -1;
    for (at += strlen(key); at < end && *at >= '0' && *at <= '9'; at++) number = number * 10 + (*at - '0');
    return number;
}

static void take_data(Connection *one, const char *text, size_t size, int64_t number) {
    uint32_t distance = (number % DEVICES + DEVICES - one->first) % DEVICES;
    frames++;
    bytes += size;
    if (number > top) top = number;
    if (!each || distance % (DEVICES / each)) { strangers++; return; }
    uint32_t place = distance / (DEVICES / each);
    if (one->newest[place] >= number) late++;
    else if (one->newest[place] >= 0) gaps += (number - one->newest[place]) / DEVICES - 1;
    one->newest[place] = number;
    if (!measuring) return;
    one->window[place]++;
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t delay = (time.tv_sec * 1000000000ll + time.tv_nsec - number_after(text, size, "\"t\":")) / 1000;
    delay_us[delay < 0 ? 0 : delay >= MAX_US ? MAX_US - 1 : delay]++;
    delays++;
}

static void take_text(Inbox *inbox, const char *text, size_t size) {
    Connection *one = (Connection *)inbox;
    int64_t number = number_after(text, size, "\"n\":");
    if (one->stops && number >= 0) return;
    if (number >= 0) { take_data(one, text, size, number); return; }
    if (memmem(text, size, "subscribe_response", 18)) {
        one->answers++;
        if (one->answers < (one->stops ? 1 : !!each + !!idle)) return;
        ready++;
        if (one->stops) epoll_ctl(poller, EPOLL_CTL_DEL, one->inbox.fd, NULL);
        return;
    }
    if (!memmem(text, size, "auth_response", 13)) fail("unexpected: %.*s", (int)size, text);
}

static void run(double until, int ready_is_enough) {
    struct epoll_event events[EVENTS];
    while (now() < until && !(ready_is_enough && ready == count + stopped)) {
        int found = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < found; i++) {
            Inbox *one = events[i].data.ptr;
            if (one->fd < 0) continue;
            inbox_take(one, subscribe, take_text);
            closed += one->fd < 0;
        }
    }
}

static void connect_all(int port) {
    int small = 1 << 14;
    for (int i = 0; i < count + stopped; i++) {
        Connection *one = &connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        one->stops = i >= count;
        one->first = i % DEVICES;
        for (int k = 0; k < MAX_EACH; k++) one->newest[k] = -1;
        one->inbox.fd = connect_to(port, 0);
        if (one->stops) setsockopt(one->inbox.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        set_nonblocking(one->inbox.fd);
        send_all(one->inbox.fd, UPGRADE "\r\n", strlen(UPGRADE "\r\n"));
        epoll_ctl(poller, EPOLL_CTL_ADD, one->inbox.fd, &event);
        if (i % 64 == 63) run(now() + 0.01, 1);
    }
    run(now() + READY_TIMEOUT, 1);
    if (ready < count + stopped) fail("only %d of %d connections have subscribed", ready, count + stopped);
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
    if (argc != 11) fail("usage: live_load PORT TOKEN CONNECTIONS EACH FREQUENCY IDLE STOPPED SECONDS WARMUP SERVER_PID");
    token = argv[2];
    count = atoi(argv[3]);
    each = atoi(argv[4]);
    frequency = argv[5];
    idle = atoi(argv[6]);
    stopped = atoi(argv[7]);
    double seconds = atof(argv[8]), warmup = atof(argv[9]);
    int server = atoi(argv[10]);
    if (each > MAX_EACH || idle > MAX_EACH || (each && DEVICES % each)) fail("a divisor up to %d each", MAX_EACH);
    clockid_t server_clock = cpu_clock(server);
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);
    connections = calloc(count + stopped, sizeof *connections);
    poller = epoll_create1(0);
    connect_all(atoi(argv[1]));

    run(now() + warmup, 0);
    int64_t first_top = top;
    uint64_t first_frames = frames, first_bytes = bytes, first_gaps = gaps;
    double started = now(), cpu = seconds_of(server_clock);
    double own = seconds_of(CLOCK_PROCESS_CPUTIME_ID), server_waited = waited(server), own_waited = waited(getpid());
    measuring = 1;
    run(started + seconds, 0);
    double elapsed = now() - started;
    cpu = seconds_of(server_clock) - cpu;
    own = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own;
    server_waited = waited(server) - server_waited;
    own_waited = waited(getpid()) - own_waited;

    uint32_t fewest = each ? UINT32_MAX : 0, most = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < each; k++) {
            if (connections[i].window[k] < fewest) fewest = connections[i].window[k];
            if (connections[i].window[k] > most) most = connections[i].window[k];
        }
    }
    printf("{\"publications\":%ld,\"frames\":%lu,\"bytes\":%lu,\"seconds\":%.4f,\"cpu\":%.6f,\"client_cpu\":%.6f,"
           "\"waited\":%.4f,\"client_waited\":%.4f,\"p50\":%.0f,\"p99\":%.0f,\"max\":%.0f,\"fewest\":%u,\"most\":%u,"
           "\"closed\":%d,\"strangers\":%lu,\"late\":%lu,\"gaps\":%lu}\n",
           top - first_top, frames - first_frames, bytes - first_bytes, elapsed, cpu, own, server_waited, own_waited,
           delay_of(0.5), delay_of(0.99), delay_of(1), fewest, most, closed, strangers, late, gaps - first_gaps);
    return 0;
}
