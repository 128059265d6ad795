// connect_load: WebSocket clients that connect, authenticate and subscribe, as many a second as it goes (epoll, one thread).
//
//     connect_load PORT SERVER_PID TOKENS STEPS CONNECTIONS WINDOW WARMUP
//
// Each client takes the steps one after the other, and waits for the answer of each: TCP, the handshake, `auth` with a
// line of the file TOKENS (the first client the first line, and so on, again from the top when they are used up) and
// `subscribe` to a device of its own. A client that got its last answer stays connected, and the next one begins; WINDOW
// are at it at a time. STEPS says which steps there are:
//
//     handshake    only the handshake, without a token
//     message      handshake, auth, subscribe
//     header       handshake with the token in its header, subscribe
//
// The first WARMUP clients are not measured. Prints one JSON object on stdout; the server's CPU time is that of its
// process from the last of the warm-up to the last of all, "waited" how long its main thread was ready to run and had no
// CPU, "foreign" how long CPU 1 was busy with anything else than this load.
#include "load.h"

enum { EVENTS = 256, MAX_TOKEN = 8192, SOURCES = 16, MAX_REST = 4096 };
enum { HANDSHAKE, MESSAGE, HEADER, STEPS_COUNT };
static const char *STEPS[] = {"handshake", "message", "header"};
static const double TIMEOUT = 60;

typedef struct {
    int fd, number;
    enum { OPENING, AUTHENTICATING, SUBSCRIBING, READY, GONE } at;
    int rest_size;
    char rest[MAX_REST];        // what has come of an answer that is not whole
} Client;

static Client **clients;
static char **tokens;
static int token_count, steps, count, started, ready, gone, poller;

static void read_tokens(const char *path) {
    char line[MAX_TOKEN + 2];
    FILE *file = fopen(path, "r");
    if (!file) fail("can't read %s", path);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        tokens = realloc(tokens, (token_count + 1) * sizeof *tokens);
        tokens[token_count++] = strdup(line);
    }
    fclose(file);
    if (!token_count) fail("there is no token in %s", path);
}

static const char *token_of(const Client *one) { return tokens[one->number % token_count]; }

static void begin(int port) {
    char request[sizeof UPGRADE + MAX_TOKEN + 64] = UPGRADE;
    Client *one = clients[started] = calloc(1, sizeof *one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    one->number = started++;
    one->fd = connect_to(port, one->number % SOURCES);
    set_nonblocking(one->fd);
    epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event);
    char *end = request + strlen(request);
    if (steps == HEADER) end += sprintf(end, "Authorization: Bearer %s\r\n", token_of(one));
    end += sprintf(end, "\r\n");
    send_all(one->fd, request, end - request);
}

static void finish(Client *one) {
    one->at = READY;
    ready++;
}

static void subscribe(Client *one) {
    char text[256];
    int size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"telemetry\",\"device_id\":%d}",
                        one->number);
    send_frame(one->fd, OP_TEXT, text, size);
    one->at = SUBSCRIBING;
}

static void authenticate(Client *one) {
    char text[MAX_TOKEN + 64];
    int size = snprintf(text, sizeof text, "{\"type\":\"auth\",\"token\":\"%s\"}", token_of(one));
    send_frame(one->fd, OP_TEXT, text, size);
    one->at = AUTHENTICATING;
}

static void take_text(Client *one, const char *text, size_t size) {
    int good = memmem(text, size, "\"success\":true", 14) != NULL;
    if (one->at == AUTHENTICATING && good && memmem(text, size, "auth_response", 13)) subscribe(one);
    else if (one->at == SUBSCRIBING && good && memmem(text, size, "subscribe_response", 18)) finish(one);
    else fail("unexpected: %.*s", (int)size, text);
}

static void take(Client *one) {
    ssize_t size = recv(one->fd, one->rest + one->rest_size, MAX_REST - one->rest_size, 0);
    size_t at = 0, length = 1;
    Frame frame;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        close(one->fd);
        one->at = GONE;
        gone++;
        return;
    }
    one->rest_size += size;
    if (one->at == OPENING && (at = get_upgrade(one->rest, one->rest_size))) {
        if (steps == HANDSHAKE) finish(one);
        else if (steps == HEADER) subscribe(one);
        else authenticate(one);
    }
    while (one->at != OPENING && (length = get_frame(one->rest + at, one->rest_size - at, &frame))) {
        if (frame.opcode == OP_TEXT) take_text(one, frame.payload, frame.size);
        at += length;
    }
    one->rest_size -= at;
    memmove(one->rest, one->rest + at, one->rest_size);
}

// Goes on until so many clients are ready (or gone).
static void run(int port, int until, int window) {
    struct epoll_event events[EVENTS];
    double deadline = now() + TIMEOUT;
    while (ready + gone < until) {
        while (started < count && started - ready - gone < window) begin(port);
        int found = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < found; i++) take(events[i].data.ptr);
        if (now() > deadline) fail("%d of %d clients are ready after %.0f s", ready, until, TIMEOUT);
    }
}

int main(int argc, char **argv) {
    if (argc != 8) fail("usage: connect_load PORT SERVER_PID TOKENS STEPS CONNECTIONS WINDOW WARMUP");
    int port = atoi(argv[1]), server = atoi(argv[2]), window = atoi(argv[6]), warmup = atoi(argv[7]);
    read_tokens(argv[3]);
    while (strcmp(STEPS[steps], argv[4])) if (++steps == STEPS_COUNT) fail("no such steps: %s", argv[4]);
    count = atoi(argv[5]) + warmup;
    clients = calloc(count, sizeof *clients);
    poller = epoll_create1(0);
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);

    run(port, warmup, window);
    int before = ready;
    double time = now(), cpu = seconds_of(cpu_clock(server)), own = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    double server_waited = waited(server), foreign = busy(1);
    run(port, count, window);
    time = now() - time;
    cpu = seconds_of(cpu_clock(server)) - cpu;
    own = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own;
    server_waited = waited(server) - server_waited;
    foreign = busy(1) - foreign - own;
    printf("{\"seconds\":%.4f,\"connections\":%d,\"failed\":%d,\"cpu\":%.6f,\"load_cpu\":%.6f,\"waited\":%.4f,"
           "\"foreign\":%.4f}\n", time, ready - before, count - ready, cpu, own, server_waited, foreign);
    return 0;
}
