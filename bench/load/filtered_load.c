// filtered_load: WebSocket subscribers of the filtered case, and what they make of what they get (epoll, one thread).
//
//     filtered_load PORT TOKEN CONNECTIONS SECONDS WARMUP SERVER_PID
//
// Every connection authenticates and subscribes to 10 of 1,000 devices and 2 of 8 metrics, which follow from its number.
// The server publishes 8 metrics of device 0, 1, ... 999, 0, 1, ... in turn; the publications are numbered, and each
// metric carries "n":8*publication+metric. From that alone a subscriber knows whether it asked for the value, and the
// values of a round over all devices can be counted: each connection gets 20 of them.
//
// Prints one JSON object on stdout. The server's CPU time is that of its process between the window's two ends; "waited"
// is how long its main thread, or this client, was ready to run and had no CPU: with that, rates mean nothing.
#include "load.h"

enum {
    DEVICES = 1000, METRICS = 8, DEVICES_EACH = 10, METRICS_EACH = 2,
    EVENTS = 512, MAX_ROUNDS = 1 << 20,
};
static const double READY_TIMEOUT = 60, DRAIN = 1.0;
static const char *NAMES[METRICS] = {
    "temperature", "humidity", "pressure", "vibration", "battery", "air_quality", "voltage", "current",
};

typedef struct {
    Inbox inbox;
    uint8_t metrics;                // bit mask
    uint8_t devices[DEVICES / 8];   // bit mask
} Connection;

static Connection *connections;
static const char *token;
static int count, subscribed, closed;
static uint64_t values, frames, strangers, top;     // top: the highest publication seen
static uint32_t round_values[MAX_ROUNDS];

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void subscribe(Inbox *inbox) {
    Connection *one = (Connection *)inbox;
    char text[4096];
    uint32_t state = 2463534242u + 7919u * (uint32_t)(one - connections);
    int size = snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    send_frame(one->inbox.fd, OP_TEXT, text, size);
    size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\",\"device_id\":[");
    for (int left = DEVICES_EACH; left;) {
        uint32_t device = next_random(&state) % DEVICES;
        if (one->devices[device / 8] >> (device % 8) & 1) continue;
        one->devices[device / 8] |= 1 << (device % 8);
        size += snprintf(text + size, sizeof text - size, "%u%s", device, --left ? "," : "],\"metrics\":[");
    }
    for (int left = METRICS_EACH; left;) {
        uint32_t metric = next_random(&state) % METRICS;
        if (one->metrics >> metric & 1) continue;
        one->metrics |= 1 << metric;
        size += snprintf(text + size, sizeof text - size, "\"%s\"%s", NAMES[metric], --left ? "," : "]}");
    }
    send_frame(one->inbox.fd, OP_TEXT, text, size);
}

static void take_value(Connection *one, uint64_t number) {
    uint64_t publication = number / METRICS, device = publication % DEVICES, metric = number % METRICS;
    values++;
    if (publication > top) top = publication;
    if (publication / DEVICES < MAX_ROUNDS) round_values[publication / DEVICES]++;
    if (!(one->metrics >> metric & 1) || !(one->devices[device / 8] >> (device % 8) & 1)) strangers++;
}

static void take_text(Inbox *inbox, const char *text, size_t size) {
    Connection *one = (Connection *)inbox;
    const char *end = text + size, *at = text;
    int found = 0;
    while ((at = memmem(at, end - at, "\"n\":", 4))) {
        uint64_t number = 0;
        for (at += 4; at < end && *at >= '0' && *at <= '9'; at++) number = number * 10 + (*at - '0');
        take_value(one, number);
        found = 1;
    }
    if (found) { frames++; return; }
    if (memmem(text, size, "subscribe_response", 18)) { subscribed++; return; }
    if (!memmem(text, size, "auth_response", 13)) fail("unexpected: %.*s", (int)size, text);
}

static void run(int poller, double until, int ready_is_enough) {
    struct epoll_event events[EVENTS];
    while (now() < until && !(ready_is_enough && subscribed == count)) {
        int found = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < found; i++) {
            Inbox *one = events[i].data.ptr;
            if (one->fd < 0) continue;
            inbox_take(one, subscribe, take_text);
            closed += one->fd < 0;
        }
    }
}

static void connect_all(int poller, int port) {
    for (int i = 0; i < count; i++) {
        Connection *one = &connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        one->inbox.fd = connect_to(port, 0);
        set_nonblocking(one->inbox.fd);
        send_all(one->inbox.fd, UPGRADE "\r\n", strlen(UPGRADE "\r\n"));
        epoll_ctl(poller, EPOLL_CTL_ADD, one->inbox.fd, &event);
        if (i % 64 == 63) run(poller, now() + 0.01, 1);
    }
    run(poller, now() + READY_TIMEOUT, 1);
    if (subscribed < count) fail("only %d of %d connections have subscribed", subscribed, count);
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: filtered_load PORT TOKEN CONNECTIONS SECONDS WARMUP SERVER_PID");
    token = argv[2];
    double seconds = atof(argv[4]), warmup = atof(argv[5]);
    int server = atoi(argv[6]);
    clockid_t server_clock = cpu_clock(server);
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);
    count = atoi(argv[3]);
    connections = calloc(count, sizeof *connections);
    int poller = epoll_create1(0);
    connect_all(poller, atoi(argv[1]));

    run(poller, now() + warmup, 0);
    uint64_t first_top = top, first_values = values, first_frames = frames;
    double started = now(), cpu = seconds_of(server_clock);
    double own = seconds_of(CLOCK_PROCESS_CPUTIME_ID), server_waited = waited(server), own_waited = waited(getpid());
    run(poller, started + seconds, 0);
    double elapsed = now() - started;
    cpu = seconds_of(server_clock) - cpu;
    own = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own;
    server_waited = waited(server) - server_waited;
    own_waited = waited(getpid()) - own_waited;
    uint64_t last_top = top, window_values = values - first_values, window_frames = frames - first_frames;
    run(poller, now() + DRAIN, 0);     // what the window's rounds have left over

    uint64_t checked = 0, bad = 0, expected = (uint64_t)count * DEVICES_EACH * METRICS_EACH;
    for (uint64_t i = first_top / DEVICES + 1; i < last_top / DEVICES && i < MAX_ROUNDS; i++) {
        checked++;
        if (round_values[i] != expected) bad++;
    }
    printf("{\"publications\":%lu,\"values\":%lu,\"frames\":%lu,\"seconds\":%.4f,\"cpu\":%.6f,\"client_cpu\":%.6f,"
           "\"waited\":%.4f,\"client_waited\":%.4f,"
           "\"closed\":%d,\"strangers\":%lu,\"rounds\":%lu,\"bad_rounds\":%lu,\"values_a_round\":%lu}\n",
           last_top - first_top, window_values, window_frames, elapsed, cpu, own, server_waited, own_waited, closed,
           strangers, checked, bad, expected);
    return 0;
}
