/* listener.h: listens on an address and hands connections over.
 *
 *     struct listener *listener = listener_create("127.0.0.1:6380", err);   bound and listening, not yet accepting
 *     listener_start(listener, loop, log, on_connection, arg, err);         accepts on that loop's thread
 *     listener_stop(listener);                                              on that thread: accepts no more
 *     listener_destroy(&listener);
 *
 * Accepting is one loop's work, not SO_REUSEPORT's, which spreads connections by a hash of their addresses: ten connections
 * on two workers would often be eight and two. */
#ifndef FRESHET_CACHE_LISTENER_H
#define FRESHET_CACHE_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"

struct listener;

/* "host:port", "[::1]:6380", ":6380" or "*:6380" (every interface); a name is bound at each of its addresses. Port 0 picks one. */
struct listener *listener_create(const char *address, struct error *err);
/* A unix socket at `path` with that mode. What a process that has gone left there is taken away, as is ours at the end. */
struct listener *listener_create_unix(const char *path, uint32_t mode, struct error *err);
/* A socket that listens already (systemd's LISTEN_FDS); taken. */
struct listener *listener_adopt(int fd, struct error *err);
void listener_destroy(struct listener **listener);
/* 0: a unix socket. */
uint16_t listener_port(const struct listener *listener);

/* Takes the descriptor, which does not block. */
typedef void listener_fn(void *arg, int fd);
bool listener_start(struct listener *listener, struct loop *loop, struct log *log,
                    listener_fn *accepted, void *arg, struct error *err) MUST_CHECK;
void listener_stop(struct listener *listener);

#endif
