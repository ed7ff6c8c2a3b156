#include "cache/front/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    SOCKETS_MAX = 8, /* a name with more addresses is bound at the first ones */
    BACKLOG = 511,
    ACCEPTS_A_TURN = 64,
    PAUSE_US = 100 * 1000, /* when descriptors have run out */
    HOST_MAX = 256,
};

struct bound_socket {
    struct listener *listener;
    struct loop_watch watch;
};

struct listener {
    struct bound_socket sockets[SOCKETS_MAX];
    uint32_t n_sockets;
    uint16_t port;
    char *path; /* of a unix socket; else NULL */
    bool accepting;

    struct loop *loop;
    struct log *log;
    listener_fn *accepted;
    void *arg;
    struct loop_timer pause;
};

uint16_t listener_port(const struct listener *listener) { return listener->port; }

/* --- binding ----------------------------------------------------------------------------------------------- */

/* Splits "host:port" at the last colon; brackets around the host are taken off. */
static bool split_address(const char *address, char host[HOST_MAX], char port[8]) {
    const char *colon = strrchr(address, ':');
    if (!colon || strlen(colon + 1) > 5 || !colon[1] ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)
        return false;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len)) {
        return false; /* an IPv6 address wants its brackets */
    }
    if (len >= HOST_MAX) return false;
    memcpy(host, address, len);
    host[len] = '\0';
    snprintf(port, 8, "%s", colon + 1);
    return true;
}

static void set_port(struct sockaddr *address, uint16_t port) {
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
}

static uint16_t bound_port(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    if (address.ss_family != AF_INET) return 0;
    return ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
}

static int bind_one(const struct addrinfo *info) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (info->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

/* This host has no such kind of address: no reason to fail where another one could be bound. */
static bool is_missing_family(int cause) {
    return cause == EAFNOSUPPORT || cause == EADDRNOTAVAIL || cause == EPROTONOSUPPORT;
}

static bool bind_all(struct listener *listener, const char *address, struct addrinfo *infos,
                     struct error *err) {
    int cause = 0;
    for (struct addrinfo *info = infos; info && listener->n_sockets < SOCKETS_MAX;
         info = info->ai_next) {
        if (listener->port) set_port(info->ai_addr, listener->port);
        int fd = bind_one(info);
        if (fd < 0) {
            cause = errno;
            if (is_missing_family(cause)) continue;
            break;
        }
        listener->sockets[listener->n_sockets++].watch.fd = fd;
        if (!listener->port) listener->port = bound_port(fd);
        cause = 0;
    }
    if (listener->n_sockets && (!cause || is_missing_family(cause))) return true;
    const char *advice = cause == EADDRINUSE ? ": another process listens there; choose another "
                                               "port or stop it (cache.listen)"
                         : cause == EACCES   ? ": not permitted (a port below 1024?)"
                                             : "";
    return error_set(err, cause == EADDRINUSE ? ERROR_CONFLICT : ERROR_SYSTEM, false,
                     "cannot listen on %s: %s%s", address, strerror(cause), advice);
}

struct listener *listener_create(const char *address, struct error *err) {
    char host[HOST_MAX], port[8];
    if (!split_address(address, host, port)) {
        error_set(err, ERROR_CONFIG, false,
                  "cannot listen on \"%s\": it has to be host:port or [ipv6]:port", address);
        return NULL;
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *infos = NULL;
    bool everywhere = !*host || strcmp(host, "*") == 0;
    int failure = getaddrinfo(everywhere ? NULL : host, port, &hints, &infos);
    if (failure) {
        error_set(err, ERROR_CONFIG, false, "cannot listen on %s: %s", address,
                  gai_strerror(failure));
        return NULL;
    }
    struct listener *listener = mem_zalloc(sizeof *listener);
    if (!bind_all(listener, address, infos, err)) listener_destroy(&listener);
    freeaddrinfo(infos);
    return listener;
}

/* Nobody answers there: a process that went without taking its socket away. */
static bool is_left_over(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool refused = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* The mode is set before the name is there, so that nobody comes in between; then again, whatever the umask is. */
static bool bind_unix(int fd, const struct sockaddr_un *address, uint32_t mode) {
    if (is_left_over(address)) unlink(address->sun_path);
    return fchmod(fd, mode) == 0 &&
           bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 &&
           chmod(address->sun_path, mode) == 0 && listen(fd, BACKLOG) == 0;
}

struct listener *listener_create_unix(const char *path, uint32_t mode, struct error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        error_set(err, ERROR_CONFIG, false,
                  "cannot listen on %s: the path is longer than %zu bytes", path,
                  sizeof address.sun_path - 1);
        return NULL;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !bind_unix(fd, &address, mode)) {
        error_set(err, errno == EADDRINUSE ? ERROR_CONFLICT : ERROR_SYSTEM, false,
                  "cannot listen on %s: %s (cache.unix_socket)", path, strerror(errno));
        if (fd >= 0) close(fd);
        return NULL;
    }
    struct listener *listener = mem_zalloc(sizeof *listener);
    listener->sockets[listener->n_sockets++].watch.fd = fd;
    listener->path = mem_printf("%s", path);
    return listener;
}

struct listener *listener_adopt(int fd, struct error *err) {
    int listens = 0;
    socklen_t len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens) {
        error_set(err, ERROR_CONFIG, false,
                  "descriptor %d was handed over (LISTEN_FDS) and is no listening socket", fd);
        return NULL;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    struct listener *listener = mem_zalloc(sizeof *listener);
    listener->sockets[listener->n_sockets++].watch.fd = fd;
    listener->port = bound_port(fd);
    return listener;
}

void listener_destroy(struct listener **listener) {
    if (!*listener) return;
    ASSERT(!(*listener)->accepting);
    for (uint32_t i = 0; i < (*listener)->n_sockets; i++)
        close((*listener)->sockets[i].watch.fd);
    if ((*listener)->path) unlink((*listener)->path);
    mem_free((*listener)->path);
    mem_free(*listener);
    *listener = NULL;
}

/* --- accepting --------------------------------------------------------------------------------------------- */

static void listen_for(struct listener *listener, unsigned events) {
    for (uint32_t i = 0; i < listener->n_sockets; i++)
        loop_watch_events(listener->loop, &listener->sockets[i].watch, events);
}

static void on_ready(void *arg, unsigned events) {
    (void)events;
    struct bound_socket *socket = arg;
    struct listener *listener = socket->listener;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(socket->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->accepted(listener->arg, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The connection stays in the backlog: without a pause the loop would spin on it. */
            log_warn(listener->log, "accept_paused", "cause=\"%s\"", strerror(errno));
            listen_for(listener, 0);
            loop_timer_set(listener->loop, &listener->pause,
                           loop_now_us(listener->loop) + PAUSE_US);
        }
        return;
    }
}

static void resume(void *arg, int64_t now_us) {
    (void)now_us;
    listen_for(arg, LOOP_READ);
}

bool listener_start(struct listener *listener, struct loop *loop, struct log *log,
                    listener_fn *accepted, void *arg, struct error *err) {
    listener->loop = loop;
    listener->log = log;
    listener->accepted = accepted;
    listener->arg = arg;
    listener->pause = (struct loop_timer){.fire = resume, .arg = listener};
    for (uint32_t i = 0; i < listener->n_sockets; i++) {
        struct bound_socket *socket = &listener->sockets[i];
        socket->listener = listener;
        socket->watch = (struct loop_watch){socket->watch.fd, LOOP_READ, on_ready, socket};
        if (!loop_watch(loop, &socket->watch, err)) {
            while (i-- > 0)
                loop_unwatch(loop, &listener->sockets[i].watch);
            return false;
        }
    }
    listener->accepting = true;
    return true;
}

void listener_stop(struct listener *listener) {
    if (!listener->accepting) return;
    listener->accepting = false;
    loop_timer_clear(listener->loop, &listener->pause);
    for (uint32_t i = 0; i < listener->n_sockets; i++)
        loop_unwatch(listener->loop, &listener->sockets[i].watch);
}
