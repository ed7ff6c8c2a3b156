/* load.c: a load generator that is cheaper than what it measures.
 *
 *     load --port 6380 --fill                                      stores the keys
 *     load --port 6380 --read-all 2 --work get                     reads each key once; its reply has so many lines
 *     load --port 6380 --clients 50 --pipeline 16 --seconds 3      one line of JSON: rate and latencies
 *
 * Requests are composed once, into a ring of some hundred thousand with Zipf-distributed keys; a batch is a run of
 * that ring, sent as it lies there. Keys and values have a fixed length, so each reply has a known length, which a first request
 * finds out; a batch is answered when so many bytes have come, and none of its reads may begin with an error.
 * That is some hundred nanoseconds a request beside the system calls, which are one write and one read a batch.
 *
 * It shares no code with the server on purpose. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
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

enum { READ_BYTES = 256 * 1024, HISTOGRAM_SLOTS = 64 * 32, MGET_KEYS = 10, HASH_FIELDS = 6 };

enum work { WORK_GET, WORK_MGET, WORK_HGETALL, WORK_PING, WORK_SET };

static const char *const work_names[] = {"get", "mget", "hgetall", "ping", "set"};

struct options {
    const char *host;
    uint16_t port;
    uint32_t clients;
    uint32_t pipeline;
    double seconds;
    uint64_t keys;
    uint64_t first; /* number of the first key */
    uint32_t value_bytes;
    double zipf; /* 0: uniform */
    const char *prefix;
    enum work work;
    bool memcached;
    bool fill;
    uint32_t read_all;
    uint64_t requests;  /* 0: as many as the time allows */
    size_t reply_bytes; /* 0: found out by a first request */
    uint32_t ring;
    uint64_t seed;
};

/* Requests one behind the other: request i is bytes[ends[i - 1] .. ends[i]). */
struct ring {
    char *bytes;
    size_t len, cap;
    size_t *starts; /* n + 1 of them */
    uint32_t n;
};

struct connection {
    int fd;
    uint32_t at;        /* the ring's next request */
    const char *unsent; /* of this batch */
    size_t n_unsent;
    size_t awaited; /* reply bytes of this batch still to come */
    size_t seen;    /* reply bytes of this batch that came */
    int64_t sent_ns;
};

struct run {
    const struct options *options;
    struct ring ring;
    size_t reply_bytes; /* of one request */
    struct connection *connections;
    int epoll_fd;
    uint64_t done;
    uint64_t histogram[HISTOGRAM_SLOTS]; /* of batches, by 1/32 of a power of two of nanoseconds */
    int64_t longest_ns;
    char buffer[READ_BYTES];
};

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* --- keys --------------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Zipf by Gray et al., "Quickly generating billion-record synthetic databases" (as YCSB does it). */
struct zipf {
    uint64_t n;
    double theta, zeta_n, zeta_2, alpha, eta;
};

static void zipf_init(struct zipf *zipf, uint64_t n, double theta) {
    *zipf = (struct zipf){.n = n, .theta = theta};
    for (uint64_t i = 1; i <= n; i++)
        zipf->zeta_n += 1 / pow((double)i, theta);
    zipf->zeta_2 = 1 + 1 / pow(2, theta);
    zipf->alpha = 1 / (1 - theta);
    zipf->eta = (1 - pow(2.0 / (double)n, 1 - theta)) / (1 - zipf->zeta_2 / zipf->zeta_n);
}

static uint64_t zipf_next(const struct zipf *zipf, uint64_t *state) {
    double u = (double)(next_random(state) >> 11) / 9007199254740992.0;
    double uz = u * zipf->zeta_n;
    if (uz < 1) return 0;
    if (uz < zipf->zeta_2) return 1;
    uint64_t rank = (uint64_t)((double)zipf->n * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha));
    return rank < zipf->n ? rank : zipf->n - 1;
}

/* Spreads the ranks over the keys, so that hot ones are no neighbours. */
static uint64_t scatter(uint64_t rank, uint64_t n) {
    uint64_t state = rank;
    return next_random(&state) % n;
}

static int format_key(const struct options *options, uint64_t number, char *out, size_t size) {
    return snprintf(out, size, "%s%08" PRIu64, options->prefix, options->first + number);
}

/* --- requests ------------------------------------------------------------------------------------------------ */

static void put(struct ring *ring, const char *bytes, size_t len) {
    if (ring->len + len > ring->cap) {
        ring->cap = (ring->cap + len) * 2;
        ring->bytes = realloc(ring->bytes, ring->cap);
        if (!ring->bytes) die("memory");
    }
    memcpy(ring->bytes + ring->len, bytes, len);
    ring->len += len;
}

static void put_header(struct ring *ring, char type, size_t n) {
    char text[32];
    put(ring, text, (size_t)snprintf(text, sizeof text, "%c%zu\r\n", type, n));
}

static void put_bulk(struct ring *ring, const char *bytes, size_t len) {
    put_header(ring, '$', len);
    put(ring, bytes, len);
    put(ring, "\r\n", 2);
}

static void put_value(struct ring *ring, const struct options *options) {
    char *value = malloc(options->value_bytes + 1);
    memset(value, 'x', options->value_bytes);
    put_bulk(ring, value, options->value_bytes);
    free(value);
}

/* A row of six columns whose values make up value_bytes together. */
static void put_fields(struct ring *ring, const struct options *options) {
    char name[16], value[65536];
    size_t each = options->value_bytes / HASH_FIELDS;
    memset(value, 'x', sizeof value);
    for (int i = 0; i < HASH_FIELDS; i++) {
        put_bulk(ring, name, (size_t)snprintf(name, sizeof name, "column_%d", i));
        put_bulk(ring, value, each < sizeof value ? each : sizeof value);
    }
}

static void put_memcached(struct ring *ring, const struct options *options, const char *key) {
    char text[300];
    if (options->work != WORK_SET) {
        put(ring, text, (size_t)snprintf(text, sizeof text, "get %s\r\n", key));
        return;
    }
    put(ring, text,
        (size_t)snprintf(text, sizeof text, "set %s 0 0 %u\r\n", key, options->value_bytes));
    char *value = malloc(options->value_bytes + 1);
    memset(value, 'x', options->value_bytes);
    put(ring, value, options->value_bytes);
    put(ring, "\r\n", 2);
    free(value);
}

static void put_request(struct ring *ring, const struct options *options, enum work work,
                        const uint64_t *keys) {
    char key[256];
    size_t len = (size_t)format_key(options, keys[0], key, sizeof key);
    if (options->memcached) {
        put_memcached(ring, options, key);
        return;
    }
    switch (work) {
    case WORK_PING: put(ring, "*1\r\n$4\r\nPING\r\n", 14); break;
    case WORK_GET:
        put(ring, "*2\r\n$3\r\nGET\r\n", 13);
        put_bulk(ring, key, len);
        break;
    case WORK_HGETALL:
        put(ring, "*2\r\n$7\r\nHGETALL\r\n", 17);
        put_bulk(ring, key, len);
        break;
    case WORK_SET:
        put(ring, "*3\r\n$3\r\nSET\r\n", 13);
        put_bulk(ring, key, len);
        put_value(ring, options);
        break;
    case WORK_MGET:
        put(ring, "*11\r\n$4\r\nMGET\r\n", 15);
        for (int i = 0; i < MGET_KEYS; i++)
            put_bulk(ring, key, (size_t)format_key(options, keys[i], key, sizeof key));
        break;
    }
}

static void compose_ring(struct run *run) {
    const struct options *options = run->options;
    struct ring *ring = &run->ring;
    struct zipf zipf = {0};
    uint64_t state = options->seed;
    if (options->zipf > 0) zipf_init(&zipf, options->keys, options->zipf);
    ring->n = options->ring;
    ring->starts = malloc((ring->n + 1) * sizeof ring->starts[0]);
    for (uint32_t i = 0; i < ring->n; i++) {
        uint64_t keys[MGET_KEYS];
        for (int k = 0; k < (options->work == WORK_MGET ? MGET_KEYS : 1); k++)
            keys[k] = options->zipf > 0 ? scatter(zipf_next(&zipf, &state), options->keys)
                                        : next_random(&state) % options->keys;
        ring->starts[i] = ring->len;
        put_request(ring, options, options->work, keys);
    }
    ring->starts[ring->n] = ring->len;
}

/* --- replies ------------------------------------------------------------------------------------------------- */

static int connect_to(const struct options *options) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    inet_pton(AF_INET, options->host, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void send_all(int fd, const char *bytes, size_t len) {
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) die("send");
        bytes += n;
        len -= (size_t)n;
    }
}

/* Asks for the ring's first request, with a PING behind it that ends the reply, and so learns a reply's length. */
static void learn_reply(struct run *run) {
    const struct options *options = run->options;
    const char *end = options->memcached ? "VERSION" : "+PONG\r\n";
    int fd = connect_to(options);
    send_all(fd, run->ring.bytes, run->ring.starts[1]);
    if (options->memcached)
        send_all(fd, "version\r\n", 9);
    else
        send_all(fd, "PING\r\n", 6);
    size_t len = 0, cap = 1 << 22;
    char *bytes = malloc(cap + 1);
    for (;;) {
        ssize_t n = recv(fd, bytes + len, cap - len, 0);
        if (n <= 0) die("the first reply");
        len += (size_t)n;
        bytes[len] = '\0';
        char *at =
            len >= 7 ? memmem(len > 100 ? bytes + len - 100 : bytes, len > 100 ? 100 : len, end, 7)
                     : NULL;
        if (!at || bytes[len - 1] != '\n') continue;
        run->reply_bytes = (size_t)(at - bytes);
        break;
    }
    close(fd);
    if (run->options->work == WORK_PING) run->reply_bytes = 7;
    if (bytes[0] == '-' || run->reply_bytes == 0 || strncmp(bytes, "$-1", 3) == 0 ||
        strncmp(bytes, "*0", 2) == 0 || strncmp(bytes, "END", 3) == 0) {
        fprintf(stderr, "load: no such keys (run --fill first): %.80s\n", bytes);
        exit(1);
    }
    free(bytes);
}

/* --- filling ------------------------------------------------------------------------------------------------- */

static void fill(const struct options *options) {
    enum { CHUNK = 500 };
    int fd = connect_to(options);
    struct ring ring = {0};
    char buffer[65536];
    /* Hashes for HGETALL; strings for everything else. */
    for (uint64_t key = 0; key < options->keys; key += CHUNK) {
        ring.len = 0;
        uint64_t n = options->keys - key < CHUNK ? options->keys - key : CHUNK;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t number = key + i;
            char name[256];
            struct options set = *options;
            set.work = WORK_SET;
            if (options->read_all) {
                put_request(&ring, options, options->work, &number);
                continue;
            }
            if (options->work != WORK_HGETALL) {
                put_request(&ring, &set, WORK_SET, &number);
                continue;
            }
            put_header(&ring, '*', 2 + 2 * HASH_FIELDS);
            put_bulk(&ring, "HSET", 4);
            put_bulk(&ring, name, (size_t)format_key(options, number, name, sizeof name));
            put_fields(&ring, options);
        }
        send_all(fd, ring.bytes, ring.len);
        uint64_t awaited = options->read_all ? n * options->read_all : n;
        for (uint64_t lines = 0; lines < awaited;) {
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got <= 0) die("fill");
            if (buffer[0] == '-') {
                fprintf(stderr, "load: %.*s\n", (int)got, buffer);
                exit(1);
            }
            for (ssize_t i = 0; i < got; i++)
                lines += buffer[i] == '\n';
        }
    }
    close(fd);
    free(ring.bytes);
}

/* --- the run --------------------------------------------------------------------------------------------------- */

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

static void push(struct run *run, struct connection *c) {
    while (c->n_unsent) {
        ssize_t n = send(c->fd, c->unsent, c->n_unsent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) die("send");
        c->unsent += n;
        c->n_unsent -= (size_t)n;
    }
    static const uint32_t both = EPOLLIN | EPOLLOUT;
    if (c->n_unsent == 0) return;
    struct epoll_event event = {.events = both, .data.ptr = c};
    epoll_ctl(run->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void begin_batch(struct run *run, struct connection *c, int64_t now) {
    uint32_t depth = run->options->pipeline;
    if (c->at + depth > run->ring.n) c->at = 0;
    c->unsent = run->ring.bytes + run->ring.starts[c->at];
    c->n_unsent = run->ring.starts[c->at + depth] - run->ring.starts[c->at];
    c->at += depth;
    c->awaited = run->reply_bytes * depth;
    c->seen = 0;
    c->sent_ns = now;
    push(run, c);
}

static void on_reply(struct run *run, struct connection *c) {
    ssize_t n = recv(c->fd, run->buffer, READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the server closed a connection");
    if (c->seen == 0 && run->buffer[0] == '-') {
        fprintf(stderr, "load: %.*s\n", (int)(n < 200 ? n : 200), run->buffer);
        exit(1);
    }
    if ((size_t)n > c->awaited) {
        fprintf(stderr, "load: a reply is longer than the first one was\n");
        exit(1);
    }
    c->seen += (size_t)n;
    c->awaited -= (size_t)n;
    if (c->awaited) return;
    int64_t now = now_ns();
    int64_t took = now - c->sent_ns;
    run->histogram[histogram_slot(took)]++;
    if (took > run->longest_ns) run->longest_ns = took;
    run->done += run->options->pipeline;
    begin_batch(run, c, now);
}

static void on_event(struct run *run, const struct epoll_event *event) {
    struct connection *c = event->data.ptr;
    if (event->events & EPOLLOUT) {
        push(run, c);
        struct epoll_event only_read = {.events = EPOLLIN, .data.ptr = c};
        if (!c->n_unsent) epoll_ctl(run->epoll_fd, EPOLL_CTL_MOD, c->fd, &only_read);
    }
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_reply(run, c);
}

static void connect_all(struct run *run) {
    const struct options *options = run->options;
    uint64_t state = options->seed + 1;
    run->epoll_fd = epoll_create1(0);
    run->connections = calloc(options->clients, sizeof run->connections[0]);
    for (uint32_t i = 0; i < options->clients; i++) {
        struct connection *c = &run->connections[i];
        c->fd = connect_to(options);
        c->at = (uint32_t)(next_random(&state) % (run->ring.n - options->pipeline));
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) die("epoll");
    }
}

static double percentile(const struct run *run, double share) {
    uint64_t total = 0, sum = 0;
    for (uint32_t i = 0; i < HISTOGRAM_SLOTS; i++)
        total += run->histogram[i];
    for (uint32_t i = 0; i < HISTOGRAM_SLOTS; i++) {
        sum += run->histogram[i];
        if ((double)sum >= share * (double)total) return slot_us(i);
    }
    return 0;
}

static void run_load(const struct options *options) {
    struct run *run = calloc(1, sizeof *run);
    run->options = options;
    compose_ring(run);
    run->reply_bytes = options->reply_bytes;
    if (!run->reply_bytes) learn_reply(run);
    connect_all(run);
    int64_t begin = now_ns();
    int64_t end = begin + (int64_t)(options->seconds * 1e9);
    for (uint32_t i = 0; i < options->clients; i++)
        begin_batch(run, &run->connections[i], begin);
    int64_t now = begin;
    while (options->requests ? run->done < options->requests : now < end) {
        struct epoll_event events[256];
        int n = epoll_wait(run->epoll_fd, events, 256, 100);
        for (int i = 0; i < n; i++)
            on_event(run, &events[i]);
        now = now_ns();
    }
    double seconds = (double)(now - begin) / 1e9;
    printf("{\"work\": \"%s\", \"clients\": %u, \"pipeline\": %u, \"requests\": %" PRIu64
           ", \"seconds\": %.3f, \"per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
           work_names[options->work], options->clients, options->pipeline, run->done, seconds,
           (double)run->done / seconds, percentile(run, 0.5), percentile(run, 0.99),
           percentile(run, 0.999), (double)run->longest_ns / 1000);
}

/* --- options --------------------------------------------------------------------------------------------------- */

static const struct option names[] = {
    {"host", 1, NULL, 'h'},   {"port", 1, NULL, 'p'},     {"clients", 1, NULL, 'c'},
    {"work", 1, NULL, 'w'},   {"pipeline", 1, NULL, 'P'}, {"seconds", 1, NULL, 's'},
    {"keys", 1, NULL, 'k'},   {"value", 1, NULL, 'v'},    {"zipf", 1, NULL, 'z'},
    {"prefix", 1, NULL, 'x'}, {"first", 1, NULL, 'f'},    {"memcached", 0, NULL, 'm'},
    {"fill", 0, NULL, 'F'},   {"seed", 1, NULL, 'S'},     {"reply-bytes", 1, NULL, 'r'},
    {"ring", 1, NULL, 'R'},   {"read-all", 1, NULL, 'A'}, {"requests", 1, NULL, 'n'},
    {NULL, 0, NULL, 0},
};

static enum work parse_work(const char *name) {
    for (size_t i = 0; i < sizeof work_names / sizeof work_names[0]; i++)
        if (strcmp(name, work_names[i]) == 0) return (enum work)i;
    fprintf(stderr, "load: --work is one of get, mget, hgetall, ping, set\n");
    exit(2);
}

int main(int argc, char **argv) {
    struct options options = {.host = "127.0.0.1",
                              .port = 6380,
                              .clients = 50,
                              .pipeline = 1,
                              .seconds = 3,
                              .keys = 1000000,
                              .value_bytes = 100,
                              .zipf = 0.99,
                              .prefix = "key:",
                              .ring = 1 << 18,
                              .seed = 42};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'h': options.host = optarg; break;
        case 'p': options.port = (uint16_t)atoi(optarg); break;
        case 'c': options.clients = (uint32_t)atoi(optarg); break;
        case 'P': options.pipeline = (uint32_t)atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'k': options.keys = strtoull(optarg, NULL, 10); break;
        case 'v': options.value_bytes = (uint32_t)atoi(optarg); break;
        case 'z': options.zipf = atof(optarg); break;
        case 'x': options.prefix = optarg; break;
        case 'f': options.first = strtoull(optarg, NULL, 10); break;
        case 'w': options.work = parse_work(optarg); break;
        case 'S': options.seed = strtoull(optarg, NULL, 10); break;
        case 'r': options.reply_bytes = strtoull(optarg, NULL, 10); break;
        case 'm': options.memcached = true; break;
        case 'F': options.fill = true; break;
        case 'R': options.ring = (uint32_t)atoi(optarg); break;
        case 'A': options.read_all = (uint32_t)atoi(optarg); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (options.fill || options.read_all)
        fill(&options);
    else
        run_load(&options);
    return 0;
}
