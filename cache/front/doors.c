#include "cache/front/doors.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "cache/front/listener.h"
#include "cache/front/tls.h"

enum { DOORS_MAX = 16 };

struct door {
    struct doors *doors;
    struct listener *listener;
    const struct transport *transport; /* NULL: plain */
};

struct doors {
    struct log *log;
    struct tls *tls; /* NULL: none */
    struct door all[DOORS_MAX];
    uint32_t n;
    doors_fn *accepted;
    void *arg;
};

/* Takes the listener, which may be NULL: it could not be made. */
static bool add_door(struct doors *doors, struct listener *listener, bool speaks_tls) {
    if (!listener) return false;
    ASSERT(doors->n < DOORS_MAX);
    doors->all[doors->n++] = (struct door){
        .doors = doors,
        .listener = listener,
        .transport = speaks_tls ? tls_transport(doors->tls) : NULL,
    };
    return true;
}

static bool open_handed_over(struct doors *doors, const struct cache_config *config,
                             struct error *err) {
    bool tls_alone = doors->tls && !config->tls.listen;
    for (uint32_t i = 0; i < config->n_sockets; i++) {
        const struct cache_socket *socket = &config->sockets[i];
        if (socket->speaks_tls && !doors->tls)
            return error_set(err, ERROR_CONFIG, false,
                             "socket %d that was handed over is to speak TLS, and there is no "
                             "certificate: set cache.tls.certificate",
                             socket->fd);
        if (doors->n == DOORS_MAX)
            return error_set(err, ERROR_LIMIT, false, "more than %d sockets were handed over",
                             DOORS_MAX);
        struct listener *listener = listener_adopt(socket->fd, err);
        bool is_tls = socket->speaks_tls || (tls_alone && listener && listener_port(listener));
        if (!add_door(doors, listener, is_tls)) return false;
    }
    return true;
}

static bool open_all(struct doors *doors, const struct cache_config *config, struct error *err) {
    bool tls_alone = doors->tls && !config->tls.listen;
    /* Who starts us by socket activation has bound the addresses himself. */
    if (config->n_sockets) return open_handed_over(doors, config, err);
    if (!add_door(doors, listener_create(config->listen, err), tls_alone)) return false;
    if (doors->tls && config->tls.listen &&
        !add_door(doors, listener_create(config->tls.listen, err), true))
        return false;
    return !config->unix_socket ||
           add_door(doors, listener_create_unix(config->unix_socket, config->unix_mode, err),
                    false);
}

struct doors *doors_create(const struct cache_config *config, struct log *log,
                           struct metrics *metrics, struct error *err) {
    struct doors *doors = mem_zalloc(sizeof *doors);
    doors->log = log;
    if (config->tls.certificate) doors->tls = tls_create(&config->tls, log, metrics, err);
    if ((config->tls.certificate && !doors->tls) || !open_all(doors, config, err))
        doors_destroy(&doors);
    return doors;
}

void doors_destroy(struct doors **doors) {
    if (!*doors) return;
    for (uint32_t i = 0; i < (*doors)->n; i++)
        listener_destroy(&(*doors)->all[i].listener);
    tls_destroy(&(*doors)->tls);
    mem_free(*doors);
    *doors = NULL;
}

static void hand_on(void *arg, int fd) {
    struct door *door = arg;
    door->doors->accepted(door->doors->arg, fd, door->transport);
}

bool doors_start(struct doors *doors, struct loop *loop, doors_fn *accepted, void *arg,
                 struct error *err) {
    doors->accepted = accepted;
    doors->arg = arg;
    for (uint32_t i = 0; i < doors->n; i++) {
        struct door *door = &doors->all[i];
        if (listener_start(door->listener, loop, doors->log, hand_on, door, err)) continue;
        doors_stop(doors);
        return false;
    }
    return true;
}

void doors_stop(struct doors *doors) {
    for (uint32_t i = 0; i < doors->n; i++)
        listener_stop(doors->all[i].listener);
}

static uint16_t port_of(const struct doors *doors, bool speaks_tls) {
    for (uint32_t i = 0; i < doors->n; i++)
        if ((doors->all[i].transport != NULL) == speaks_tls &&
            listener_port(doors->all[i].listener))
            return listener_port(doors->all[i].listener);
    return 0;
}

uint16_t doors_port(const struct doors *doors) { return port_of(doors, false); }
uint16_t doors_tls_port(const struct doors *doors) { return port_of(doors, true); }

bool doors_reload(struct doors *doors, struct error *err) {
    return !doors->tls || tls_reload(doors->tls, err);
}
