// load.h: what the load programs share: clocks, WebSocket handshakes and frames. Header only; one thread, epoll.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

#define UPGRADE "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

static inline void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static inline double seconds_of(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) < 0) fail("no such clock: the server has gone");
    return time.tv_sec + time.tv_nsec / 1e9;
}

static inline double now(void) { return seconds_of(CLOCK_MONOTONIC); }

// The clock of a process's CPU time, user and system: clock_getcpuclockid(3).
static inline clockid_t cpu_clock(int pid) { return (clockid_t)((~(unsigned)pid << 3) | 2); }

// The seconds that a process's main thread was ready to run and had no CPU so far.
static inline double waited(int pid) {
    char path[64];
    unsigned long long ran, delayed;
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%llu %llu", &ran, &delayed) != 2) fail("can't read %s", path);
    fclose(file);
    return delayed / 1e9;
}

// The seconds that a CPU has been busy so far, whoever with.
static inline double busy(int cpu) {
    char line[256], name[16];
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    snprintf(name, sizeof name, "cpu%d ", cpu);
    FILE *file = fopen("/proc/stat", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name))) continue;
        fclose(file);
        sscanf(line + strlen(name), "%llu %llu %llu %llu %llu %llu %llu %llu",
               &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
        return (double)(user + nice + system + irq + softirq + steal) / sysconf(_SC_CLK_TCK);
    }
    fail("can't read how busy %s is", name);
    return 0;
}

static inline void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) { usleep(500); continue; }
        if (sent < 0) fail("send: %s", strerror(errno));
        data += sent;
        size -= sent;
    }
}

// Writes a client's frame, up to 64 KiB, with a masking key of zeros, which leaves the payload as it is.
// Returns its size, at most 8 bytes more than the payload's.
static inline size_t put_frame(char *out, int opcode, const char *payload, size_t size) {
    size_t length = 2;
    out[0] = 0x80 | opcode;
    if (size < 126) out[1] = 0x80 | size;
    else { out[1] = 0x80 | 126; out[2] = size >> 8; out[3] = size & 255; length = 4; }
    memset(out + length, 0, 4);
    memcpy(out + length + 4, payload, size);
    return length + 4 + size;
}

static inline void send_frame(int fd, int opcode, const char *payload, size_t size) {
    char frame[1 << 16];
    if (size > sizeof frame - 8) fail("a frame is too long for this client");
    send_all(fd, frame, put_frame(frame, opcode, payload, size));
}

typedef struct {
    int opcode;
    const char *payload;
    size_t size;
} Frame;

// Reads the server's frame at the beginning of the data; returns how many bytes it takes, 0: more must come first.
static inline size_t get_frame(const char *data, size_t size, Frame *frame) {
    const uint8_t *head = (const uint8_t *)data;
    size_t length = 2;
    if (size < 2) return 0;
    frame->size = head[1] & 127;
    if (frame->size == 127) fail("a frame is too long for this client");
    if (frame->size == 126) {
        if (size < 4) return 0;
        frame->size = head[2] << 8 | head[3];
        length = 4;
    }
    if (size < length + frame->size) return 0;
    frame->opcode = head[0] & 15;
    frame->payload = data + length;
    return length + frame->size;
}

// Returns the size of the server's answer to the handshake, 0 when it has not come whole; ends on a refusal.
static inline size_t get_upgrade(const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (strncmp(data, "HTTP/1.1 101", 12)) fail("handshake: %.80s", data);
    return end + 4 - data;
}

// What has come on a connection. It stands first in a program's own struct, to which its functions cast it back.
typedef struct {
    int fd;                         // -1: the connection has ended
    int open;                       // the handshake is done
    char *rest;                     // the beginning of a frame whose end has not come yet
    size_t rest_size;
} Inbox;

enum { INBOX_CHUNK = 1 << 18, INBOX_REST = 1 << 16 };

static inline void inbox_end(Inbox *one) {
    close(one->fd);
    one->fd = -1;
}

// Takes the whole frames; returns how many bytes they are.
static inline size_t inbox_frames(
    Inbox *one, const char *data, size_t size, void (*text)(Inbox *, const char *, size_t)
) {
    size_t at = 0, length;
    Frame frame;
    while ((length = get_frame(data + at, size - at, &frame))) {
        at += length;
        if (frame.opcode == OP_TEXT) text(one, frame.payload, frame.size);
        else if (frame.opcode == OP_PING) send_frame(one->fd, OP_PONG, frame.payload, frame.size);
        else if (frame.opcode == OP_CLOSE) { inbox_end(one); break; }
    }
    return at;
}

// Reads what there is. Calls `opened` when the handshake is done, and `text` for each text message; when the server has
// closed or cut the connection, `fd` is -1.
static inline void inbox_take(Inbox *one, void (*opened)(Inbox *), void (*text)(Inbox *, const char *, size_t)) {
    static char buffer[INBOX_REST + INBOX_CHUNK];
    if (one->rest_size) memcpy(buffer, one->rest, one->rest_size);
    ssize_t size = recv(one->fd, buffer + one->rest_size, INBOX_CHUNK, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) { inbox_end(one); return; }
    size += one->rest_size;
    size_t done = 0;
    if (!one->open) {
        done = get_upgrade(buffer, size);
        one->open = done > 0;
        if (one->open) opened(one);
    }
    if (one->open) done += inbox_frames(one, buffer + done, size - done, text);
    one->rest_size = one->fd < 0 ? 0 : size - done;
    if (one->rest_size > INBOX_REST) fail("too much without the end of a frame");
    if (one->rest_size) {
        one->rest = realloc(one->rest, one->rest_size);
        memcpy(one->rest, buffer + done, one->rest_size);
    }
}

// Connects to 127.0.0.1 from one of its addresses, 127.0.0.1 + source; blocking, without delay.
static inline int connect_to(int port, int source) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);
    if (bind(fd, (void *)&address, sizeof address) < 0) fail("bind: %s", strerror(errno));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (connect(fd, (void *)&address, sizeof address) < 0) fail("connect: %s", strerror(errno));
    return fd;
}

static inline void set_nonblocking(int fd) { fcntl(fd, F_SETFL, O_NONBLOCK); }

static inline void allow_many_files(void) {
    struct rlimit limit = {1 << 20, 1 << 20};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}
