/* evict_drive: plays a trace against a server by RESP: GET, and SET where it was not there. Prints the share of misses.
 *
 *     evict_drive PORT TRACE KEYS REQUESTS VALUE_BYTES
 *
 * Requests go in batches, as a pipeline does; a key that misses twice in one batch counts twice, for every server alike. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/traces.h"

enum { BATCH = 16, BUFFER = 1 << 20 };

struct wire {
    int fd;
    char in[BUFFER];
    size_t at, len;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int next_byte(struct wire *wire) {
    if (wire->at == wire->len) {
        ssize_t n = read(wire->fd, wire->in, sizeof wire->in);
        if (n <= 0) fail("read");
        wire->len = (size_t)n;
        wire->at = 0;
    }
    return (unsigned char)wire->in[wire->at++];
}

/* The number behind the type of a reply's first line. */
static long line(struct wire *wire, char *type) {
    *type = (char)next_byte(wire);
    long number = 0;
    int sign = 1, byte;
    while ((byte = next_byte(wire)) != '\n')
        if (byte == '-')
            sign = -1;
        else if (byte >= '0' && byte <= '9')
            number = number * 10 + byte - '0';
    return sign * number;
}

static void send_all(struct wire *wire, const char *out, size_t len) {
    while (len > 0) {
        ssize_t n = write(wire->fd, out, len);
        if (n <= 0) fail("write");
        out += n;
        len -= (size_t)n;
    }
}

/* One batch; returns the misses. */
static uint32_t play(struct wire *wire, const uint32_t *keys, uint32_t n, uint32_t value_bytes) {
    static char out[BUFFER];
    uint32_t absent[BATCH], misses = 0;
    size_t len = 0;
    char type;
    for (uint32_t i = 0; i < n; i++)
        len += (size_t)sprintf(out + len, "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012u\r\n", keys[i]);
    send_all(wire, out, len);
    for (uint32_t i = 0; i < n; i++) {
        long bytes = line(wire, &type);
        if (bytes < 0)
            absent[misses++] = keys[i];
        else
            for (long b = 0; b < bytes + 2; b++)
                (void)next_byte(wire);
    }
    len = 0;
    for (uint32_t i = 0; i < misses; i++) {
        len += (size_t)sprintf(out + len, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012u\r\n$%u\r\n",
                               absent[i], value_bytes);
        memset(out + len, 'v', value_bytes);
        memcpy(out + len + value_bytes, "\r\n", 2);
        len += value_bytes + 2;
    }
    send_all(wire, out, len);
    for (uint32_t i = 0; i < misses; i++) {
        (void)line(wire, &type);
        if (type != '+') fail("SET was refused");
    }
    return misses;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    uint32_t value_bytes = (uint32_t)atoi(argv[5]);
    if (value_bytes > BUFFER / BATCH - 128) return 2;
    static struct wire wire;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    wire.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(wire.fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
    struct trace trace;
    trace_create(&trace, argv[2], (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
    uint64_t misses = 0;
    for (uint32_t i = 0; i < trace.n; i += BATCH)
        misses +=
            play(&wire, trace.keys + i, trace.n - i < BATCH ? trace.n - i : BATCH, value_bytes);
    printf("%.5f\n", (double)misses / trace.n);
    trace_destroy(&trace);
    return 0;
}
