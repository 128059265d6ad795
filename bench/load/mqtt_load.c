// mqtt_load: MQTT publisher and WebSocket subscriber in one, around a broker and a server (epoll, one thread).
//
//     mqtt_load BROKER_PORT BROKER_PID DEVICES SHAPE QOS RATE WINDOW SECONDS WARMUP [SERVER_PORT SERVER_PID TOKEN]
//
// Publishes telemetry of device 0, 1, ... DEVICES - 1, 0, 1, ... in turn at the broker and counts what the subscriber,
// who has authenticated and subscribed to all devices, receives of it. Each message carries the metric "n", which
// counts the messages of its device from 0: a higher n than the next is a loss, a lower one is out of order or came
// twice. SHAPE says what is published (docs/mqtt.md):
//
//     value   valtronics/devices/7/telemetry/n    123
//     list    valtronics/7/telemetry              {"metrics": [temperature, humidity, n], "timestamp": ...}
//     mixed   one after the other
//
// RATE messages a second, 0: as fast as possible. At most WINDOW messages are on their way (published, not received),
// so that saturation makes nobody drop anything. Without a server it forks one MQTT subscriber, on CPU 0 like the
// server, with the same subscriptions, which only counts and checks: what the broker and the publisher can do. It reads
// every millisecond, since a broker that wakes its reader for each message is slower.
//
// Prints one JSON object on stdout. CPU times are those of the processes between the window's two ends; "waited" is how
// long the server's main thread was ready to run and had no CPU, "foreign" how long CPU 1 was busy with anything else
// than broker and load.
#include "load.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { MAX_DEVICES = 1 << 16, MAX_MESSAGE = 512, ROOM = 1 << 16, CHUNK = 1 << 18, EVENTS = 8, MAX_PACKET = 1 << 17 };
enum { NAP = 1000 };     // microseconds
enum { CONNECT = 1, CONNACK, PUBLISH, PUBACK, SUBSCRIBE = 8, SUBACK };
enum { VALUE, LIST, MIXED, SHAPE_COUNT };
static const double READY_TIMEOUT = 30, STALLED = 5;
static const char *SHAPES[] = {"value", "list", "mixed"};

// What the server subscribes to (mapping.DEFAULT_TOPICS).
static const char *FILTERS[] = {
    "valtronics/+/telemetry", "valtronics/+/status", "valtronics/+/heartbeat", "valtronics/+/alert",
    "valtronics/devices/+/telemetry/+", "valtronics/devices/+/status/+", "valtronics/system/alerts/+",
};

typedef struct {                    // shared with the forked subscriber
    volatile uint64_t received, lost, disordered, strange;
    volatile int ready;
    uint32_t next[MAX_DEVICES];     // the n that a device's next message has
} Tally;

typedef struct {                    // a stream of packets or frames, and of the last one the beginning
    int fd;
    size_t size;
    char data[MAX_PACKET + CHUNK];
} Stream;

static Tally *tally;
static Stream broker, server;
static int devices, shape, qos, upgraded;
static uint64_t published;
static char out[ROOM + MAX_MESSAGE];
static size_t out_size, out_done;

// --- what is received, and what it should be

static void count(uint64_t device, uint64_t n) {
    if (device >= (uint64_t)devices) { tally->strange++; return; }
    tally->received++;
    if (n < tally->next[device]) { tally->disordered++; return; }
    tally->lost += n - tally->next[device];
    tally->next[device] = n + 1;
}

// Returns the number behind a mark, UINT64_MAX when there is none.
static uint64_t number_after(const char *text, size_t size, const char *mark) {
    const char *end = text + size, *at = memmem(text, size, mark, strlen(mark));
    uint64_t number = 0;
    if (!at) return UINT64_MAX;
    at += strlen(mark);
    if (at == end || *at < '0' || *at > '9') return UINT64_MAX;
    for (; at < end && *at >= '0' && *at <= '9'; at++) number = number * 10 + (*at - '0');
    return number;
}

static void take_text(const char *text, size_t size) {
    uint64_t n = number_after(text, size, "\"n\":{\"value\":");
    if (n != UINT64_MAX) { count(number_after(text, size, "\"device_id\":"), n); return; }
    if (memmem(text, size, "subscribe_response", 18)) tally->ready = 1;
    else if (!memmem(text, size, "auth_response", 13)) tally->strange++;
}

// --- MQTT 3.1.1, as far as it is needed

static size_t put_packet(char *to, int type, int flags, size_t size) {
    size_t length = 1;
    to[0] = type << 4 | flags;
    do {
        to[length++] = (size & 127) | (size > 127 ? 128 : 0);
        size >>= 7;
    } while (size);
    return length;
}

static size_t put_text(char *to, const char *text, size_t size) {
    to[0] = size >> 8;
    to[1] = size & 255;
    memcpy(to + 2, text, size);
    return size + 2;
}

static size_t put_publish(char *to, uint64_t number) {
    char topic[64], payload[MAX_MESSAGE / 2];
    uint64_t device = number % devices, n = number / devices;
    int as_list = shape == LIST || (shape == MIXED && (device + n) % 2);
    int topic_size = snprintf(topic, sizeof topic, as_list ? "valtronics/%lu/telemetry"
                                                           : "valtronics/devices/%lu/telemetry/n", device);
    int payload_size = snprintf(payload, sizeof payload, as_list
        ? "{\"metrics\":[{\"name\":\"temperature\",\"value\":23.5,\"unit\":\"\u00b0C\"},"
          "{\"name\":\"humidity\",\"value\":45.2,\"unit\":\"%%\"},{\"name\":\"n\",\"value\":%lu}],"
          "\"timestamp\":\"2024-01-01T12:00:00Z\"}"
        : "%lu", n);
    size_t size = put_packet(to, PUBLISH, qos << 1, 2 + topic_size + (qos ? 2 : 0) + payload_size);
    size += put_text(to + size, topic, topic_size);
    if (qos) {
        uint16_t id = number % 65535 + 1;
        to[size++] = id >> 8;
        to[size++] = id & 255;
    }
    memcpy(to + size, payload, payload_size);
    return size + payload_size;
}

static void send_connect(int fd, const char *client_id) {
    char packet[128], body[100] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0};      // clean session, no keep-alive
    size_t size = 10 + put_text(body + 10, client_id, strlen(client_id));
    size_t head = put_packet(packet, CONNECT, 0, size);
    memcpy(packet + head, body, size);
    send_all(fd, packet, head + size);
}

static void send_subscribe(int fd) {
    char packet[512], body[480] = {0, 1};
    size_t size = 2;
    for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++) {
        size += put_text(body + size, FILTERS[i], strlen(FILTERS[i]));
        body[size++] = 1;
    }
    size_t head = put_packet(packet, SUBSCRIBE, 2, size);
    memcpy(packet + head, body, size);
    send_all(fd, packet, head + size);
}

static void take_publish(int fd, int flags, const char *body, size_t size) {
    size_t topic_size = (uint8_t)body[0] << 8 | (uint8_t)body[1], at = 2 + topic_size;
    const char *topic = body + 2, *mark = topic_size > 19 && !memcmp(topic + 11, "devices/", 8) ? "devices/" : "tronics/";
    uint64_t device = number_after(topic, topic_size, mark), n = 0;
    if (flags >> 1 & 3) {
        char ack[4] = {PUBACK << 4, 2, body[at], body[at + 1]};
        if (out_size > ROOM) fail("too many acknowledgements at once");
        memcpy(out + out_size, ack, sizeof ack);        // sent with the others, when all that came has been taken
        out_size += sizeof ack;
        at += 2;
    }
    if (body[at] == '{') n = number_after(body + at, size - at, "\"n\",\"value\":");
    else for (; at < size; at++) n = n * 10 + (body[at] - '0');
    count(device, n);
    if (out_size >= ROOM) { send_all(fd, out, out_size); out_size = 0; }
}

// Takes the packet at the beginning of the data; returns how many bytes it takes, 0: more must come first.
static size_t take_packet(int fd, const char *data, size_t size) {
    size_t length = 0, at = 1;
    for (int shift = 0; ; shift += 7) {
        if (at >= size) return 0;
        length |= (size_t)(data[at] & 127) << shift;
        if (!(data[at++] & 128)) break;
    }
    if (size < at + length) return 0;
    int type = (uint8_t)data[0] >> 4;
    if (type == CONNACK && data[at + 1]) fail("the broker refuses the connection");
    else if (type == PUBLISH) take_publish(fd, data[0] & 15, data + at, length);
    else if (type == SUBACK) tally->ready = 1;
    return at + length;
}

// --- streams

// Reads what has come, and takes what is whole of it.
static void take(Stream *from) {
    ssize_t size = recv(from->fd, from->data + from->size, CHUNK, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) fail("the %s has closed the connection", from == &server ? "server" : "broker");
    size_t at = 0, length;
    Frame frame;
    size += from->size;
    if (from == &server && !upgraded) {
        at = get_upgrade(from->data, size);
        upgraded = at > 0;
    }
    while (from == &broker || upgraded) {
        length = from == &broker ? take_packet(from->fd, from->data + at, size - at)
                                 : get_frame(from->data + at, size - at, &frame);
        if (!length) break;
        if (from == &server && frame.opcode == OP_TEXT) take_text(frame.payload, frame.size);
        else if (from == &server && frame.opcode == OP_CLOSE) fail("the server says that it closes");
        at += length;
    }
    from->size = size - at;
    if (from->size > MAX_PACKET) fail("too much without an end");
    memmove(from->data, from->data + at, from->size);
}

static void subscribe_at_server(int port, const char *token) {
    char text[2048];
    int size;
    server.fd = connect_to(port, 0);
    send_all(server.fd, UPGRADE "\r\n", strlen(UPGRADE "\r\n"));
    size = snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    send_frame(server.fd, OP_TEXT, text, size);
    size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\"}");
    send_frame(server.fd, OP_TEXT, text, size);
}

// The subscriber that stands in the server's place: until it is killed.
static int fork_subscriber(int port) {
    int pid = fork();
    if (pid < 0) fail("fork: %s", strerror(errno));
    if (pid) return pid;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    broker.fd = connect_to(port, 0);
    send_connect(broker.fd, "bare-subscriber");
    send_subscribe(broker.fd);
    for (;;) {
        usleep(NAP);
        take(&broker);
        if (out_size) send_all(broker.fd, out, out_size);
        out_size = 0;
    }
}

// --- the run

// Publishes what is due and has room, as far as the broker takes it now.
static void publish(double rate, uint64_t window) {
    static double began;
    uint64_t allowed = tally->received + tally->lost + window;
    if (!began) began = now();
    if (rate && (now() - began) * rate < allowed) allowed = (now() - began) * rate;
    for (;;) {
        if (out_done == out_size) {
            out_done = out_size = 0;
            while (out_size < ROOM && published < allowed) out_size += put_publish(out + out_size, published++);
            if (!out_size) return;
        }
        ssize_t sent = send(broker.fd, out + out_done, out_size - out_done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) fail("send to the broker: %s", strerror(errno));
        out_done += sent;
    }
}

// Publishes until a time; with window 0 it does not, and ends when everything has come or nothing comes any more.
static void run(int poller, double rate, uint64_t window, double until) {
    struct epoll_event events[EVENTS];
    uint64_t seen = 0;
    double moved = now(), time;
    while ((time = now()) < until) {
        if (window) publish(rate, window);
        uint64_t arrived = tally->received + tally->lost;
        if (!window && arrived >= published) return;
        if (arrived != seen || arrived == published) { seen = arrived; moved = time; }
        if (time - moved > STALLED) return;
        int found = epoll_wait(poller, events, EVENTS, 1);
        for (int i = 0; i < found; i++) take(events[i].data.ptr);
    }
}

static void watch(int poller, Stream *stream) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    set_nonblocking(stream->fd);
    epoll_ctl(poller, EPOLL_CTL_ADD, stream->fd, &event);
}

static void wait_until_ready(int poller) {
    struct epoll_event events[EVENTS];
    double until = now() + READY_TIMEOUT;
    while (!tally->ready && now() < until) {
        int found = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < found; i++) take(events[i].data.ptr);
    }
    if (!tally->ready) fail("the subscriber is not ready");
}

typedef struct {
    double time, subscriber, broker, own, waited, foreign;
    uint64_t published, received;
} Figures;

static Figures figures(int subscriber_pid, int broker_pid) {
    Figures at = {now(), seconds_of(cpu_clock(subscriber_pid)), seconds_of(cpu_clock(broker_pid)),
                  seconds_of(CLOCK_PROCESS_CPUTIME_ID), waited(subscriber_pid), busy(1), published, tally->received};
    at.foreign -= at.broker + at.own;
    return at;
}

int main(int argc, char **argv) {
    if (argc != 10 && argc != 13)
        fail("usage: mqtt_load BROKER_PORT BROKER_PID DEVICES SHAPE QOS RATE WINDOW SECONDS WARMUP "
             "[SERVER_PORT SERVER_PID TOKEN]");
    int broker_port = atoi(argv[1]), broker_pid = atoi(argv[2]), poller = epoll_create1(0), bare = argc == 10;
    double rate = atof(argv[6]), seconds = atof(argv[8]), warmup = atof(argv[9]);
    uint64_t window = atoll(argv[7]);
    devices = atoi(argv[3]);
    while (strcmp(SHAPES[shape], argv[4])) if (++shape == SHAPE_COUNT) fail("no such shape: %s", argv[4]);
    qos = atoi(argv[5]);
    if (devices < 1 || devices > MAX_DEVICES || window < 1 || (qos & ~1)) fail("out of range");
    signal(SIGPIPE, SIG_IGN);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int subscriber_pid = bare ? fork_subscriber(broker_port) : atoi(argv[11]);
    if (!bare) {
        subscribe_at_server(atoi(argv[10]), argv[12]);
        watch(poller, &server);
    }
    broker.fd = connect_to(broker_port, 0);
    send_connect(broker.fd, "load");
    watch(poller, &broker);
    wait_until_ready(poller);

    run(poller, rate, window, now() + warmup);
    Figures first = figures(subscriber_pid, broker_pid);
    run(poller, rate, window, first.time + seconds);
    Figures last = figures(subscriber_pid, broker_pid);
    run(poller, 0, 0, now() + READY_TIMEOUT);     // what is still on its way
    if (bare) kill(subscriber_pid, SIGKILL);

    uint64_t missing = tally->lost;     // what the numbers skipped, and what never came at the end
    for (uint64_t i = 0; i < (uint64_t)devices; i++) missing += published / devices + (i < published % devices) - tally->next[i];
    printf("{\"seconds\":%.4f,\"published\":%lu,\"received\":%lu,\"cpu\":%.6f,\"broker_cpu\":%.6f,\"load_cpu\":%.6f,"
           "\"waited\":%.4f,\"foreign\":%.4f,\"all\":%lu,\"lost\":%lu,\"disordered\":%lu,\"strange\":%lu}\n",
           last.time - first.time, last.published - first.published, last.received - first.received,
           last.subscriber - first.subscriber, last.broker - first.broker, last.own - first.own,
           last.waited - first.waited, last.foreign - first.foreign, published, missing, tally->disordered,
           tally->strange);
    return 0;
}
