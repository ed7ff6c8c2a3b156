/* miss_drive.c: clients that read rows, each of them once: from Freshet by GET, or from PostgreSQL or PgBouncer by one SELECT each.
 *
 *     miss_drive --resp 6380 --clients 64 --seconds 2 --keys 1000000 --first 1
 *     miss_drive --pg "host=127.0.0.1 port=6432" --sql "SELECT * FROM users WHERE id = $1" [--prepared] --clients 64 ...
 *
 * A client sends a request, waits for its reply and sends the next. The rows are those of a permutation, so no row is asked for
 * twice before all were. When all clients are connected it prints "ready" and waits for a line; when the time is over it prints
 * a line of JSON and waits for a line again, so that who measures CPU sees the same work without connecting and closing.
 *
 * Requests to PostgreSQL are what libpq sends for PQexecPrepared and PQexecParams, composed here, and their replies are only
 * walked through: the generator is as cheap for the peers as for Freshet. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, HISTOGRAM_SLOTS = 64 * 32 };

struct options {
    uint16_t resp_port; /* 0: PostgreSQL */
    const char *conninfo;
    const char *sql;
    bool prepared;
    const char *prefix;
    uint32_t clients;
    double seconds;
    uint64_t keys, first, seed;
};

struct client {
    int fd;
    PGconn *conn;
    int64_t sent_ns;
    /* A reply that has come in part. RESP: what is left of it, once its header was seen. PostgreSQL: of a message. */
    char header[32];
    uint32_t n_header;
    size_t left;
    char type;
};

struct run {
    const struct options *options;
    struct client *clients;
    int epoll_fd;
    uint64_t next, done, empty;
    uint64_t histogram[HISTOGRAM_SLOTS];
    char buffer[READ_BYTES];
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "miss_drive: %s: %s\n", what, why ? why : strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- requests ---- */

/* A multiplier that shares no factor with the number of keys makes i -> i * m mod keys a permutation. */
static uint64_t next_key(struct run *run) {
    const struct options *options = run->options;
    uint64_t multiplier = UINT64_C(2654435761);
    while (options->keys % multiplier == 0)
        multiplier += 2;
    uint64_t i = (options->seed + run->next++) % options->keys;
    return options->first + (uint64_t)((__uint128_t)i * multiplier % options->keys);
}

static char *put_u16(char *at, uint16_t value) {
    value = htons(value);
    memcpy(at, &value, 2);
    return at + 2;
}

static char *put_u32(char *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, 4);
    return at + 4;
}

static char *put_text(char *at, const char *text) {
    size_t len = strlen(text) + 1;
    memcpy(at, text, len);
    return at + len;
}

/* The message's length, itself included, goes where it was left out. */
static void end_message(char *type, const char *end) {
    put_u32(type + 1, (uint32_t)(end - type - 1));
}

static size_t compose_pg(const struct options *options, const char *value, char *out) {
    char *at = out;
    char *message = at;
    if (!options->prepared) {
        *at = 'P';
        at = put_text(put_text(at + 5, ""), options->sql);
        at = put_u16(at, 0);
        end_message(message, at);
    }
    message = at;
    *at = 'B';
    at = put_text(put_text(at + 5, ""), options->prepared ? "q" : "");
    at = put_u16(at, 0);
    at = put_u16(at, 1);
    at = put_u32(at, (uint32_t)strlen(value));
    memcpy(at, value, strlen(value));
    at += strlen(value);
    at = put_u16(put_u16(at, 1), 0);
    end_message(message, at);
    message = at;
    *at = 'D';
    at[5] = 'P';
    at = put_text(at + 6, "");
    end_message(message, at);
    message = at;
    *at = 'E';
    at = put_u32(put_text(at + 5, ""), 0);
    end_message(message, at);
    message = at;
    *at = 'S';
    at += 5;
    end_message(message, at);
    return (size_t)(at - out);
}

static void send_next(struct run *run, struct client *c, int64_t now) {
    char request[4096], value[32], key[256];
    size_t len;
    snprintf(value, sizeof value, "%" PRIu64, next_key(run));
    if (run->options->resp_port) {
        snprintf(key, sizeof key, "%s%s", run->options->prefix, value);
        len = (size_t)snprintf(request, sizeof request, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
                               strlen(key), key);
    } else {
        len = compose_pg(run->options, value, request);
    }
    c->sent_ns = now;
    if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) die("send", NULL);
}

/* ---- replies: true when the last byte of one was among these ---- */

static bool walk_resp(struct run *run, struct client *c, const char *bytes, size_t n) {
    while (n > 0) {
        if (c->left > 0) {
            size_t some = n < c->left ? n : c->left;
            c->left -= some;
            bytes += some;
            n -= some;
            if (c->left == 0) return true;
            continue;
        }
        char byte = *bytes++;
        n--;
        if (c->n_header < sizeof c->header - 1) c->header[c->n_header++] = byte;
        if (byte != '\n') continue;
        c->header[c->n_header] = '\0';
        c->n_header = 0;
        if (c->header[0] != '$') die("reply", c->header);
        if (c->header[1] == '-') {
            run->empty++;
            return true;
        }
        c->left = strtoull(c->header + 1, NULL, 10) + 2;
    }
    return false;
}

static bool walk_pg(struct run *run, struct client *c, const char *bytes, size_t n) {
    while (n > 0) {
        if (c->left > 0) {
            size_t some = n < c->left ? n : c->left;
            c->left -= some;
            bytes += some;
            n -= some;
        } else {
            c->header[c->n_header++] = *bytes++;
            n--;
            if (c->n_header < 5) continue;
            uint32_t len;
            memcpy(&len, c->header + 1, 4);
            c->left = ntohl(len) - 4;
            c->type = c->header[0];
            c->n_header = 0;
            if (c->type == 'E') die("reply", "the server answers an error");
            if (c->type == 'D') run->empty--; /* of the one that each reply counts */
        }
        if (c->left == 0 && c->type == 'Z') {
            run->empty++;
            c->type = 0;
            return true;
        }
    }
    return false;
}

static uint32_t histogram_slot(int64_t ns) {
    if (ns < 32) return (uint32_t)(ns < 0 ? 0 : ns);
    uint32_t power = 63 - (uint32_t)__builtin_clzll((uint64_t)ns);
    return (power - 4) * 32 + (uint32_t)((ns >> (power - 5)) & 31);
}

static double slot_us(uint32_t slot) {
    if (slot < 32) return slot / 1000.0;
    uint32_t power = slot / 32 + 4;
    return (double)((UINT64_C(32) + slot % 32) << (power - 5)) / 1000.0;
}

static double percentile(const struct run *run, double share) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < HISTOGRAM_SLOTS; i++) {
        sum += run->histogram[i];
        if ((double)sum >= share * (double)run->done) return slot_us(i);
    }
    return 0;
}

static void on_readable(struct run *run, struct client *c, bool again) {
    ssize_t n = recv(c->fd, run->buffer, READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("a connection", n < 0 ? NULL : "the server closed it");
    bool whole = run->options->resp_port ? walk_resp(run, c, run->buffer, (size_t)n)
                                         : walk_pg(run, c, run->buffer, (size_t)n);
    if (!whole) return;
    int64_t now = now_ns();
    run->histogram[histogram_slot(now - c->sent_ns)]++;
    run->done++;
    c->sent_ns = 0;
    if (again) send_next(run, c, now);
}

/* ---- connections ---- */

static void connect_resp(const struct options *options, struct client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options->resp_port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect", NULL);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void connect_pg(const struct options *options, struct client *c) {
    c->conn = PQconnectdb(options->conninfo);
    if (PQstatus(c->conn) != CONNECTION_OK) die("connect", PQerrorMessage(c->conn));
    if (options->prepared) {
        PGresult *result = PQprepare(c->conn, "q", options->sql, 0, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) die("prepare", PQerrorMessage(c->conn));
        PQclear(result);
    }
    c->fd = PQsocket(c->conn);
}

static void connect_all(struct run *run) {
    run->epoll_fd = epoll_create1(0);
    run->clients = calloc(run->options->clients, sizeof run->clients[0]);
    for (uint32_t i = 0; i < run->options->clients; i++) {
        struct client *c = &run->clients[i];
        if (run->options->resp_port)
            connect_resp(run->options, c);
        else
            connect_pg(run->options, c);
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) die("epoll", NULL);
    }
}

static void await_line(void) {
    for (int c = getchar(); c != '\n' && c != EOF;)
        c = getchar();
}

static void turn(struct run *run, bool again) {
    struct epoll_event events[256];
    int n = epoll_wait(run->epoll_fd, events, 256, 100);
    for (int i = 0; i < n; i++)
        on_readable(run, events[i].data.ptr, again);
}

static void drive(const struct options *options) {
    struct run *run = calloc(1, sizeof *run);
    run->options = options;
    connect_all(run);
    printf("ready\n");
    fflush(stdout);
    await_line();
    int64_t begin = now_ns();
    int64_t end = begin + (int64_t)(options->seconds * 1e9);
    int64_t now = begin;
    for (uint32_t i = 0; i < options->clients; i++)
        send_next(run, &run->clients[i], now_ns());
    while (now < end && run->done + options->clients < options->keys) {
        turn(run, true);
        now = now_ns();
    }
    double seconds = (double)(now - begin) / 1e9;
    uint64_t done = run->done;
    double p50 = percentile(run, 0.5), p99 = percentile(run, 0.99);
    while (run->done < done + options->clients && now_ns() < now + INT64_C(5000000000))
        turn(run, false);
    printf("{\"clients\": %u, \"rows\": %" PRIu64 ", \"seconds\": %.3f, \"per_second\": %.0f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"empty\": %" PRIu64 "}\n",
           options->clients, run->done, seconds, (double)done / seconds, p50, p99, run->empty);
    fflush(stdout);
    await_line();
}

static const struct option names[] = {
    {"resp", 1, NULL, 'r'},     {"pg", 1, NULL, 'g'},     {"sql", 1, NULL, 'q'},
    {"prepared", 0, NULL, 'p'}, {"prefix", 1, NULL, 'x'}, {"clients", 1, NULL, 'c'},
    {"seconds", 1, NULL, 's'},  {"keys", 1, NULL, 'k'},   {"first", 1, NULL, 'f'},
    {"seed", 1, NULL, 'S'},     {NULL, 0, NULL, 0},
};

int main(int argc, char **argv) {
    struct options options = {
        .clients = 64, .seconds = 2, .keys = 1000000, .first = 1, .prefix = "row:"};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'r': options.resp_port = (uint16_t)atoi(optarg); break;
        case 'g': options.conninfo = optarg; break;
        case 'q': options.sql = optarg; break;
        case 'p': options.prepared = true; break;
        case 'x': options.prefix = optarg; break;
        case 'c': options.clients = (uint32_t)atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'k': options.keys = strtoull(optarg, NULL, 10); break;
        case 'f': options.first = strtoull(optarg, NULL, 10); break;
        case 'S': options.seed = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (!options.resp_port && !(options.conninfo && options.sql)) {
        fprintf(stderr, "miss_drive: --resp PORT, or --pg CONNINFO with --sql\n");
        return 2;
    }
    drive(&options);
    return 0;
}
