// publish_load: publishers over HTTP and WebSocket subscribers, and whether what was sent is what came (epoll, one thread).
//
//     publish_load PORT HTTP_PORT SERVER_PID TOKEN FORM METRICS BATCH PUBLISHERS SUBSCRIBERS SECONDS WARMUP
//
// Each publisher has a connection that is kept alive and publishes telemetry of device 0, 1, ... 99, 0, 1, ... in turn,
// each message with so many metrics. FORM says how:
//
//     ndjson   requests of BATCH lines, each with its size ahead; the next one when the last one is answered
//     json     the same, as {"messages": [...]}
//     stream   one request without an end, a chunk of BATCH lines after the other
//
// Subscriber 0, 1, ... is subscribed to device 0, 1, ... 99, 0, 1, ...: of 1,000 ten get each message. No more is sent
// while more than WINDOW deliveries are missing, so that no queue is conflated.
//
// Prints one JSON object on stdout: the answers' counts, and what the subscribers have got of what they should. The time
// is that from the first byte to the last answer and delivery, the CPU time that of the server's process within it;
// "waited" is how long its main thread, or this program, was ready to run and had no CPU.
#include "load.h"

enum { DEVICES = 100, ROUNDS = 4, MAX_LINE = 1024, CHUNK = 1 << 18, EVENTS = 512, MAX_REST = 1 << 16, WINDOW = 100000 };
static const double READY_TIMEOUT = 60, STALLED = 10;

enum { IDLE, SENDING, ANSWERED, ENDING };   // of a publisher: ANSWERED waits for the answer
enum { NDJSON, JSON, STREAM, FORM_COUNT };
static const char *FORMS[] = {"ndjson", "json", "stream"};

typedef struct {
    int fd;
    int is_publisher, state;
    size_t done;                        // of what is being sent
    int round;
    int open;                           // a subscriber's handshake is done; a publisher's request without an end is begun
    char *rest;
    size_t rest_size;
} Connection;

static Connection *connections;
static int form, metrics, batch, publishers, subscribers, subscribed;
static char *requests[ROUNDS], *head_of_stream;
static size_t request_sizes[ROUNDS], head_size;
static uint64_t sent, accepted, matched, rejected, answers, expected, delivered, strange;

// --- what is sent

static size_t put_message(char *to, int number) {
    static const char *NAMES[] = {"temperature", "humidity", "pressure", "vibration",
                                  "battery", "air_quality", "voltage", "current"};
    size_t size = sprintf(to, "{\"type\":\"telemetry_update\",\"device_id\":%d,\"telemetry\":{", number % DEVICES);
    for (int i = 0; i < metrics; i++)
        size += sprintf(to + size, "%s\"%s\":{\"value\":%d.5,\"unit\":\"V\"}", i ? "," : "", NAMES[i], number % 1000);
    return size + sprintf(to + size, "}}");
}

static void prepare(const char *token) {
    char head[4096];
    const char *type = form == JSON ? "json" : "x-ndjson";
    int size = snprintf(head, sizeof head, "POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
                        "Content-Type: application/%s\r\n", token, type);
    for (int round = 0; round < ROUNDS; round++) {
        char *body = malloc((size_t)batch * MAX_LINE + 64);
        size_t length = form == JSON ? sprintf(body, "{\"messages\":[") : 0;
        for (int i = 0; i < batch; i++) {
            length += put_message(body + length, round * batch + i);
            if (form != JSON || i + 1 < batch) body[length++] = form == JSON ? ',' : '\n';
        }
        if (form == JSON) length += sprintf(body + length, "]}");
        char *request = requests[round] = malloc(size + length + 128);
        size_t at = form == STREAM ? (size_t)sprintf(request, "%zx\r\n", length)
                                   : (size_t)sprintf(request, "%sContent-Length: %zu\r\n\r\n", head, length);
        memcpy(request + at, body, length);
        request_sizes[round] = at + length;
        if (form == STREAM) request_sizes[round] += sprintf(request + at + length, "\r\n");
        free(body);
    }
    head_of_stream = malloc(size + 64);
    head_size = sprintf(head_of_stream, "%sTransfer-Encoding: chunked\r\n\r\n", head);
}

// Sends what is due, as far as the server takes it now.
static void publish(Connection *one, int going_on) {
    for (;;) {
        if (one->state == ANSWERED) return;
        if (one->state == IDLE) {
            int has_room = expected - delivered <= WINDOW || !subscribers;
            if (form == STREAM && !one->open && going_on) { send_all(one->fd, head_of_stream, head_size); one->open = 1; }
            if (form == STREAM && !going_on) {
                if (!one->open) return;
                one->open = 0;
                one->state = ENDING;
                one->done = 0;
            } else if (going_on && has_room) {
                one->round = (one->round + 1) % ROUNDS;
                one->state = SENDING;
                one->done = 0;
                sent += batch;
                expected += (uint64_t)batch * subscribers / DEVICES;
            } else return;
        }
        const char *data = one->state == ENDING ? "0\r\n\r\n" : requests[one->round];
        size_t size = one->state == ENDING ? 5 : request_sizes[one->round];
        ssize_t done = send(one->fd, data + one->done, size - one->done, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) return;
        if (done < 0) fail("send to the server: %s", strerror(errno));
        one->done += done;
        if (one->done == size) one->state = one->state == SENDING && form == STREAM ? IDLE : ANSWERED;
    }
}

// --- what comes

static uint64_t number_after(const char *text, size_t size, const char *mark) {
    const char *at = memmem(text, size, mark, strlen(mark));
    if (!at) fail("not the answer that was expected: %.*s", (int)size, text);
    return strtoull(at + strlen(mark), NULL, 10);
}

static size_t take_answer(Connection *one, const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (strncmp(data, "HTTP/1.1 200", 12)) fail("answered: %.*s", (int)size, data);
    size_t head = end + 4 - data, length = number_after(data, head, "Content-Length: ");
    if (size < head + length) return 0;
    accepted += number_after(data + head, length, "\"accepted\":");
    matched += number_after(data + head, length, "\"matched\":");
    rejected += number_after(data + head, length, "\"rejected_total\":");
    answers++;
    if (one->state != ANSWERED) fail("an answer to what was not sent whole");
    one->state = IDLE;
    return head + length;
}

static void take_text(const char *text, size_t size) {
    static const char UPDATE[] = "{\"type\":\"telemetry_update\"";
    if (size > sizeof UPDATE && !memcmp(text, UPDATE, sizeof UPDATE - 1)) delivered++;
    else if (memmem(text, size, "\"subscribe_response\"", 20)) subscribed++;
    else if (!memmem(text, size, "auth_response", 13)) strange++;
}

static void take(Connection *one) {
    static char chunk[MAX_REST + CHUNK];
    for (;;) {
        memcpy(chunk, one->rest, one->rest_size);
        ssize_t got = recv(one->fd, chunk + one->rest_size, CHUNK, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) fail("the server has closed a connection");
        size_t size = one->rest_size + got, at = 0, length;
        Frame frame = {0};
        if (!one->is_publisher && !one->open) {
            at = get_upgrade(chunk, size);
            one->open = at > 0;
        }
        while (one->is_publisher || one->open) {
            length = one->is_publisher ? take_answer(one, chunk + at, size - at) : get_frame(chunk + at, size - at, &frame);
            if (!length) break;
            if (!one->is_publisher && frame.opcode == OP_TEXT) take_text(frame.payload, frame.size);
            else if (!one->is_publisher && frame.opcode == OP_CLOSE) fail("the server says that it closes");
            at += length;
        }
        one->rest_size = size - at;
        if (one->rest_size > MAX_REST) fail("too much without an end");
        one->rest = realloc(one->rest, one->rest_size + 1);
        memcpy(one->rest, chunk + at, one->rest_size);
    }
}

// --- the run

static void subscribe(Connection *one, const char *token) {
    char text[2048];
    send_all(one->fd, UPGRADE "\r\n", strlen(UPGRADE "\r\n"));
    int size = snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    send_frame(one->fd, OP_TEXT, text, size);
    size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\",\"device_id\":%d}",
                    (int)(one - connections - publishers) % DEVICES);
    send_frame(one->fd, OP_TEXT, text, size);
}

static int is_done(void) {
    for (int i = 0; i < publishers; i++) if (connections[i].state != IDLE || connections[i].open) return 0;
    return delivered >= expected;
}

// Publishes until a time, and then waits for what is missing.
static void run(int poller, double until) {
    struct epoll_event events[EVENTS];
    uint64_t seen = 0;
    double moved = now(), time;
    for (;;) {
        time = now();
        int going_on = time < until;
        for (int i = 0; i < publishers; i++) publish(&connections[i], going_on);
        if (!going_on && is_done()) return;
        if (answers + delivered != seen) { seen = answers + delivered; moved = time; }
        if (!going_on && time - moved > STALLED) return;
        int found = epoll_wait(poller, events, EVENTS, 5);
        for (int i = 0; i < found; i++) if (events[i].events & ~EPOLLOUT) take(events[i].data.ptr);
    }
}

int main(int argc, char **argv) {
    if (argc != 12)
        fail("usage: publish_load PORT HTTP_PORT SERVER_PID TOKEN FORM METRICS BATCH PUBLISHERS SUBSCRIBERS SECONDS WARMUP");
    int port = atoi(argv[1]), http_port = atoi(argv[2]), pid = atoi(argv[3]), poller = epoll_create1(0);
    while (strcmp(FORMS[form], argv[5])) if (++form == FORM_COUNT) fail("no such form: %s", argv[5]);
    metrics = atoi(argv[6]);
    batch = atoi(argv[7]);
    publishers = atoi(argv[8]);
    subscribers = atoi(argv[9]);
    if (metrics < 1 || metrics > 8 || batch < 1 || subscribers % DEVICES) fail("out of range");
    if (subscribers && batch % DEVICES) fail("with subscribers a batch is for all devices alike: a multiple of 100");
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);
    prepare(argv[4]);
    connections = calloc(publishers + subscribers, sizeof *connections);
    for (int i = 0; i < publishers + subscribers; i++) {
        Connection *one = &connections[i];
        one->is_publisher = i < publishers;
        one->fd = connect_to(one->is_publisher ? http_port : port, 0);
        if (!one->is_publisher) subscribe(one, argv[4]);
        set_nonblocking(one->fd);
        struct epoll_event event = {.events = EPOLLIN | EPOLLET | (one->is_publisher ? EPOLLOUT : 0), .data.ptr = one};
        epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event);
    }
    struct epoll_event events[EVENTS];
    for (double until = now() + READY_TIMEOUT; subscribed < subscribers && now() < until;) {
        int found = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < found; i++) take(events[i].data.ptr);
    }
    if (subscribed < subscribers) fail("only %d are subscribed", subscribed);

    run(poller, now() + atof(argv[11]));
    if (!is_done()) fail("%lu of %lu deliveries came, with %lu answers", delivered, expected, answers);
    sent = accepted = matched = rejected = answers = expected = delivered = 0;
    double began = now(), server_began = seconds_of(cpu_clock(pid)), own_began = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    double waited_began = waited(pid), own_waited_began = waited(getpid());
    run(poller, began + atof(argv[10]));
    double own_waited = waited(getpid()) - own_waited_began, server_waited = waited(pid) - waited_began;
    printf("{\"seconds\":%.4f,\"cpu\":%.6f,\"load_cpu\":%.6f,\"waited\":%.4f,\"sent\":%lu,\"accepted\":%lu,\"matched\":%lu,"
           "\"rejected\":%lu,\"answers\":%lu,\"expected\":%lu,\"delivered\":%lu,\"strange\":%lu}\n",
           now() - began, seconds_of(cpu_clock(pid)) - server_began, seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own_began,
           server_waited > own_waited ? server_waited : own_waited, sent, accepted, matched, rejected, answers, expected,
           delivered, strange);
    return 0;
}
