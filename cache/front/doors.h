/* doors.h: every way in for RESP clients: the plain port, the TLS port, a unix socket, sockets that systemd hands over.
 *
 *     struct doors *doors = doors_create(config, log, metrics, err);      bound and listening, not yet accepting
 *     doors_start(doors, loop, on_client, arg, err);                      accepts on that loop's thread
 *     doors_stop(doors);                                                  on that thread: accepts no more
 *     doors_destroy(&doors);                                              once the clients are gone: TLS is theirs too */
#ifndef FRESHET_CACHE_DOORS_H
#define FRESHET_CACHE_DOORS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metrics.h"

struct cache_config;
struct doors;
struct transport;

struct doors *doors_create(const struct cache_config *config, struct log *log,
                           struct metrics *metrics, struct error *err);
void doors_destroy(struct doors **doors);

/* Takes the descriptor; transport NULL: plain (stream.h). */
typedef void doors_fn(void *arg, int fd, const struct transport *transport);
bool doors_start(struct doors *doors, struct loop *loop, doors_fn *accepted, void *arg,
                 struct error *err) MUST_CHECK;
void doors_stop(struct doors *doors);

/* 0: there is none. */
uint16_t doors_port(const struct doors *doors);
uint16_t doors_tls_port(const struct doors *doors);
/* Any thread: reads the certificates again. True where there is no TLS. */
bool doors_reload(struct doors *doors, struct error *err) MUST_CHECK;

#endif
