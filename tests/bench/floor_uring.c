/* floor_uring.c: floor.c over io_uring: multishot accept and receive into provided buffers, one enter a turn for all clients.
 *
 *     floor_uring PORT NEWLINES_A_REQUEST REPLY_BYTES queued|direct
 *
 * queued: replies are sent by the ring; direct: by send(2), as a server does whose reply buffer is shared by its clients. It
 * shows what io_uring could save the cache at the most; tests/bench/README.md has the figures. */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFERS = 1024,
    BUFFER = 16 * 1024,
    GROUP = 1,
    FDS = 65536,
    ENTRIES = 4096,
    COMPLETIONS = 16384,
    REPLIES = 4 * 1024 * 1024,
};
enum operation { ACCEPT = 1, RECEIVE, SEND };

struct floor {
    struct io_uring ring;
    struct io_uring_buf_ring *group;
    char *buffers;
    int given_back; /* buffers of this turn */
    bool queued;
    uint32_t per_request;
    size_t reply_bytes;
    char *replies;
    uint32_t newlines_left[FDS]; /* of the request that is being read */
};

static void die(const char *what, int cause) {
    fprintf(stderr, "floor_uring: %s: %s\n", what, strerror(cause));
    exit(1);
}

static struct io_uring_sqe *next_entry(struct floor *f) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&f->ring);
    if (!sqe) {
        io_uring_submit(&f->ring);
        sqe = io_uring_get_sqe(&f->ring);
    }
    return sqe;
}

/* The prep functions of liburing clear user_data. */
static void tag(struct io_uring_sqe *sqe, enum operation operation, int fd) {
    sqe->user_data = (uint64_t)operation << 32 | (uint32_t)fd;
}

static void receive(struct floor *f, int fd) {
    struct io_uring_sqe *sqe = next_entry(f);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    tag(sqe, RECEIVE, fd);
}

static void give_back(struct floor *f, int number) {
    io_uring_buf_ring_add(f->group, f->buffers + (size_t)number * BUFFER, BUFFER,
                          (unsigned short)number, io_uring_buf_ring_mask(BUFFERS), f->given_back++);
}

static void answer(struct floor *f, int fd, size_t requests) {
    if (!f->queued) {
        (void)!send(fd, f->replies, requests * f->reply_bytes, MSG_NOSIGNAL);
        return;
    }
    struct io_uring_sqe *sqe = next_entry(f);
    io_uring_prep_send(sqe, fd, f->replies, requests * f->reply_bytes, MSG_NOSIGNAL);
    tag(sqe, SEND, fd);
}

static void serve(struct floor *f, int fd, const struct io_uring_cqe *cqe) {
    if (cqe->res == -ENOBUFS) {
        receive(f, fd);
        return;
    }
    if (cqe->res <= 0) {
        close(fd);
        return;
    }
    int number = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    const char *at = f->buffers + (size_t)number * BUFFER;
    const char *end = at + cqe->res;
    uint32_t left = f->newlines_left[fd];
    size_t requests = 0;
    for (; (at = memchr(at, '\n', (size_t)(end - at))); at++) {
        if (--left) continue;
        requests++;
        left = f->per_request;
    }
    f->newlines_left[fd] = left;
    give_back(f, number);
    if (requests) answer(f, fd, requests);
    if (!(cqe->flags & IORING_CQE_F_MORE)) receive(f, fd);
}

static void complete(struct floor *f, const struct io_uring_cqe *cqe) {
    int fd = (int)(uint32_t)cqe->user_data;
    enum operation operation = (enum operation)(cqe->user_data >> 32);
    if (operation == RECEIVE) {
        serve(f, fd, cqe);
    } else if (operation == ACCEPT && cqe->res >= 0 && cqe->res < FDS) {
        setsockopt(cqe->res, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        f->newlines_left[cqe->res] = f->per_request;
        receive(f, cqe->res);
    }
}

static int listen_on(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 511))
        die("cannot listen", errno);
    return fd;
}

static void *map(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) die("memory", errno);
    return at;
}

static void setup(struct floor *f) {
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};
    int cause = io_uring_queue_init_params(ENTRIES, &f->ring, &params);
    if (cause) die("io_uring is not to be had", -cause);
    f->buffers = map((size_t)BUFFERS * BUFFER);
    f->group = map(BUFFERS * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)f->group, .ring_entries = BUFFERS, .bgid = GROUP};
    cause = io_uring_register_buf_ring(&f->ring, &reg, 0);
    if (cause) die("no provided buffers", -cause);
    io_uring_buf_ring_init(f->group);
    for (int i = 0; i < BUFFERS; i++)
        give_back(f, i);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    struct floor *f = calloc(1, sizeof *f);
    f->per_request = (uint32_t)atoi(argv[2]);
    f->reply_bytes = (size_t)atoi(argv[3]);
    f->queued = strcmp(argv[4], "queued") == 0;
    f->replies = map(REPLIES);
    memset(f->replies, 'x', REPLIES);
    setup(f);
    int listener = listen_on((uint16_t)atoi(argv[1]));
    struct io_uring_sqe *sqe = next_entry(f);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
    tag(sqe, ACCEPT, 0);
    for (;;) {
        io_uring_buf_ring_advance(f->group, f->given_back);
        f->given_back = 0;
        io_uring_submit_and_wait(&f->ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;
        io_uring_for_each_cqe(&f->ring, head, cqe) {
            complete(f, cqe);
            n++;
        }
        io_uring_cq_advance(&f->ring, n);
    }
}
