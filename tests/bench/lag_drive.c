/* lag_drive.c: how long after pg_recvlogical has printed a commit a row's entry is gone from Freshet.
 *
 *     lag_drive --resp 6380 --pg CONNINFO --slot NAME --recvlogical PROGRAM --rate 1000 --seconds 3 --first 1 [--prefix row:]
 *
 * A client reads the rows with CLIENT TRACKING on (RESP3), so that Freshet tells it of each entry that goes, in one process
 * with pg_recvlogical's output from a slot of test_decoding. Then each row is updated once, by a transaction of its own, at the rate. Both
 * ends are waited for by one epoll; what is ready in the same turn has the same time. The invalidation's way through a worker and a
 * socket counts against Freshet. Prints a line of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, WRITERS = 4, MAX_AHEAD = 64 };

struct options {
    uint16_t resp_port;
    const char *conninfo, *slot, *recvlogical, *prefix;
    double rate, seconds;
    uint64_t first;
};

struct stream {
    int fd;
    size_t len;
    char bytes[BUFFER_BYTES];
};

struct row {
    int64_t printed_ns, gone_ns;
};

struct run {
    const struct options *options;
    uint64_t n;
    struct row *rows;
    struct stream printed, told;
    uint64_t n_printed, n_gone;
    pid_t child;
    int64_t begin_ns;
    _Atomic int64_t last_sent_ns;
};

struct writer {
    pthread_t thread;
    struct run *run;
    uint32_t number;
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "lag_drive: %s: %s\n", what, why ? why : strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- the two ends ---- */

static void note(struct run *run, const char *number, bool gone, int64_t now) {
    uint64_t i = strtoull(number, NULL, 10) - run->options->first;
    if (i >= run->n) return;
    int64_t *at = gone ? &run->rows[i].gone_ns : &run->rows[i].printed_ns;
    if (*at) return;
    *at = now;
    (*(gone ? &run->n_gone : &run->n_printed))++;
}

/* The commit's line follows the row's: "table public.row: UPDATE: id[integer]:42 ..." and "COMMIT 1234". */
static void take_printed(struct run *run, const char *line, int64_t now) {
    static char row[64];
    const char *id = strstr(line, "id[integer]:");
    if (id) snprintf(row, sizeof row, "%.20s", id + 12);
    if (strncmp(line, "COMMIT", 6) == 0 && row[0]) {
        note(run, row, false, now);
        row[0] = '\0';
    }
}

static void take_told(struct run *run, const char *line, int64_t now) {
    size_t len = strlen(run->options->prefix);
    if (strncmp(line, run->options->prefix, len) == 0) note(run, line + len, true, now);
}

static void read_lines(struct run *run, struct stream *stream, int64_t now,
                       void (*take)(struct run *run, const char *line, int64_t now)) {
    ssize_t n = read(stream->fd, stream->bytes + stream->len, BUFFER_BYTES - 1 - stream->len);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("reading", n < 0 ? NULL : "an end was closed");
    stream->len += (size_t)n;
    stream->bytes[stream->len] = '\0';
    char *line = stream->bytes;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        take(run, line, now);
    }
    stream->len -= (size_t)(line - stream->bytes);
    memmove(stream->bytes, line, stream->len);
}

static void collect(struct run *run, int64_t until_ns) {
    int epoll_fd = epoll_create1(0);
    struct stream *streams[] = {&run->printed, &run->told};
    for (int i = 0; i < 2; i++) {
        fcntl(streams[i]->fd, F_SETFL, fcntl(streams[i]->fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = streams[i]};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, streams[i]->fd, &event);
    }
    while ((run->n_printed < run->n || run->n_gone < run->n) && now_ns() < until_ns) {
        struct epoll_event events[2];
        int n = epoll_wait(epoll_fd, events, 2, 100);
        int64_t now = now_ns();
        for (int i = 0; i < n; i++) {
            struct stream *stream = events[i].data.ptr;
            read_lines(run, stream, now, stream == &run->printed ? take_printed : take_told);
        }
    }
    close(epoll_fd);
}

/* ---- beginning ---- */

static void start_recvlogical(struct run *run) {
    int ends[2];
    if (pipe(ends) != 0) die("pipe", NULL);
    run->child = fork();
    if (run->child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execl(run->options->recvlogical, "pg_recvlogical", "-d", run->options->conninfo, "--slot",
              run->options->slot, "--start", "-f", "-", "-F", "0", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    run->printed.fd = ends[0];
}

static void send_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) die("send", NULL);
        bytes += n;
        len -= (size_t)n;
    }
}

/* Reads until so many replies that begin a line with '$', '%' or '+' have come. */
static void await_replies(int fd, uint64_t n) {
    static char bytes[BUFFER_BYTES];
    char before = '\n';
    while (n > 0) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) die("recv", NULL);
        for (ssize_t i = 0; i < got; i++) {
            if (before == '\n' && bytes[i] == '-') die("reply", bytes + i);
            if (before == '\n' && (bytes[i] == '$' || bytes[i] == '+') && n > 0) n--;
            before = bytes[i];
        }
    }
}

static void read_rows(struct run *run) {
    enum { CHUNK = 200 };
    const struct options *options = run->options;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options->resp_port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect", NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    send_all(fd, "HELLO 3\r\n", 9);
    usleep(200000);
    static char ignored[65536];
    if (recv(fd, ignored, sizeof ignored, 0) <= 0) die("HELLO", NULL);
    send_all(fd, "CLIENT TRACKING ON\r\n", 20);
    await_replies(fd, 1);
    for (uint64_t at = 0; at < run->n; at += CHUNK) {
        char text[CHUNK * 64];
        size_t len = 0;
        uint64_t n = run->n - at < CHUNK ? run->n - at : CHUNK;
        for (uint64_t i = 0; i < n; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "STRLEN %s%" PRIu64 "\r\n",
                                    options->prefix, options->first + at + i);
        send_all(fd, text, len);
        for (uint64_t lines = 0; lines < n;) {
            static char bytes[65536];
            ssize_t got = recv(fd, bytes, sizeof bytes, 0);
            if (got <= 0 || bytes[0] == '-') die("reading rows", got > 0 ? bytes : NULL);
            for (ssize_t i = 0; i < got; i++)
                lines += bytes[i] == '\n';
        }
    }
    run->told.fd = fd;
}

/* ---- writing ---- */

/* One connection's share of the updates, each in a transaction of its own, up to MAX_AHEAD of them under way. */
static void *write_rows(void *arg) {
    struct writer *writer = arg;
    struct run *run = writer->run;
    PGconn *conn = PQconnectdb(run->options->conninfo);
    if (PQstatus(conn) != CONNECTION_OK) die("connect", PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET synchronous_commit = off"));
    PQclear(PQprepare(conn, "u", "UPDATE row SET v = v + 1 WHERE id = $1::int", 1, NULL));
    if (!PQenterPipelineMode(conn)) die("pipeline", PQerrorMessage(conn));
    uint32_t ahead = 0;
    for (uint64_t i = writer->number; i < run->n; i += WRITERS) {
        int64_t due = run->begin_ns + (int64_t)((double)i * 1e9 / run->options->rate);
        while (now_ns() < due) {
            struct timespec rest = {0, due - now_ns() > 50000 ? due - now_ns() - 30000 : 0};
            if (rest.tv_nsec > 0) nanosleep(&rest, NULL);
        }
        char id[24];
        const char *params[] = {id};
        snprintf(id, sizeof id, "%" PRIu64, run->options->first + i);
        if (!PQsendQueryPrepared(conn, "u", 1, params, NULL, NULL, 0) || !PQpipelineSync(conn))
            die("update", PQerrorMessage(conn));
        PQflush(conn);
        ahead++;
        while (ahead > 0 && (ahead >= MAX_AHEAD || (PQconsumeInput(conn) && !PQisBusy(conn)))) {
            PGresult *result = PQgetResult(conn);
            if (result && PQresultStatus(result) == PGRES_PIPELINE_SYNC) ahead--;
            if (result && PQresultStatus(result) == PGRES_FATAL_ERROR)
                die("update", PQresultErrorMessage(result));
            PQclear(result);
        }
        atomic_store(&run->last_sent_ns, now_ns());
    }
    while (ahead > 0) {
        PGresult *result = PQgetResult(conn);
        if (result && PQresultStatus(result) == PGRES_PIPELINE_SYNC) ahead--;
        PQclear(result);
    }
    PQfinish(conn);
    return NULL;
}

/* ---- the figures ---- */

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void report(struct run *run) {
    double *lags = calloc(run->n + 1, sizeof *lags);
    uint64_t n = 0;
    for (uint64_t i = 0; i < run->n; i++) {
        struct row *row = &run->rows[i];
        if (row->printed_ns && row->gone_ns)
            lags[n++] = (double)(row->gone_ns - row->printed_ns) / 1e3;
    }
    qsort(lags, n, sizeof *lags, by_size);
    if (n == 0) die("result", "nothing was seen");
    printf("{\"transactions\": %" PRIu64 ", \"missed\": %" PRIu64
           ", \"per_second\": %.0f, \"p1_us\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
           run->n, run->n - n,
           (double)run->n * 1e9 / (double)(atomic_load(&run->last_sent_ns) - run->begin_ns),
           lags[n / 100], lags[n / 2], lags[n * 99 / 100], lags[n * 999 / 1000], lags[n - 1]);
    free(lags);
}

static void drive(const struct options *options) {
    struct run *run = calloc(1, sizeof *run);
    struct writer writers[WRITERS];
    run->options = options;
    run->n = (uint64_t)(options->rate * options->seconds);
    run->rows = calloc(run->n, sizeof *run->rows);
    read_rows(run);
    start_recvlogical(run);
    usleep(500000); /* until it streams */
    run->begin_ns = now_ns();
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.run = run, .number = i};
        pthread_create(&writers[i].thread, NULL, write_rows, &writers[i]);
    }
    collect(run, run->begin_ns + (int64_t)((options->seconds * 4 + 10) * 1e9));
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    report(run);
    kill(run->child, SIGTERM);
    waitpid(run->child, NULL, 0);
}

static const struct option names[] = {
    {"resp", 1, NULL, 'r'},   {"pg", 1, NULL, 'g'},      {"slot", 1, NULL, 's'},
    {"prefix", 1, NULL, 'x'}, {"rate", 1, NULL, 'R'},    {"recvlogical", 1, NULL, 'p'},
    {"first", 1, NULL, 'f'},  {"seconds", 1, NULL, 'S'}, {NULL, 0, NULL, 0},
};

int main(int argc, char **argv) {
    struct options options = {.rate = 1000, .seconds = 3, .first = 1, .prefix = "row:"};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'r': options.resp_port = (uint16_t)atoi(optarg); break;
        case 'g': options.conninfo = optarg; break;
        case 's': options.slot = optarg; break;
        case 'p': options.recvlogical = optarg; break;
        case 'x': options.prefix = optarg; break;
        case 'R': options.rate = atof(optarg); break;
        case 'S': options.seconds = atof(optarg); break;
        case 'f': options.first = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (!options.resp_port || !options.conninfo || !options.slot || !options.recvlogical) return 2;
    drive(&options);
    return 0;
}
