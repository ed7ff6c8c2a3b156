/* link.h: one connection to a Redis, through which commands go in pipelines.
 *
 *     struct link *link = link_create(&config, err);
 *     if (!link_open(link, err)) ...                           connected, TLS, AUTH, SELECT
 *     struct replies replies = {0};
 *     if (!link_exchange(link, commands, n, &replies, err)) ...    sends them all, waits for n answers
 *     replies_deinit(&replies);
 *
 * One thread. Answers are read while commands are still being written, so that neither side can fill the other's
 * buffers and wait for ever. hiredis reads the answers; the socket is ours, since a wait must end when `stop` is
 * set, and since the hiredis of Debian 12 (0.14) knows no TLS. After a failure the link is closed, and
 * whatever was under way has an unknown outcome. */
#ifndef FRESHET_CONNECTORS_REDIS_LINK_H
#define FRESHET_CONNECTORS_REDIS_LINK_H

#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

enum {
    LINK_CONNECT_TIMEOUT_MS = 5000, /* for all of link_open */
    LINK_STALL_TIMEOUT_MS = 30000,  /* with no byte from or to the server */
};

struct link_config {
    const char *url;      /* redis://[user[:password]@]host[:port][/database], rediss:// for TLS */
    const char *user;     /* NULL: the URL's, or none */
    const char *password; /* NULL: the URL's, or none */
    const char *ca;       /* PEM: who signs the server's certificate; NULL: the system's */
    const char *certificate; /* our own, with `key`: PEM; NULL: none */
    const char *key;
    const _Atomic bool *stop; /* while it is set, calls are given up within a second */
};

struct link;

/* NULL: the URL or a PEM file is not what it should be. No network. */
struct link *link_create(const struct link_config *config, struct error *err);
void link_destroy(struct link **link);

bool link_is_open(const struct link *link);
/* Nothing to do where it is open. */
bool link_open(struct link *link, struct error *err) MUST_CHECK;
void link_close(struct link *link);
/* "host:port", for messages. */
const char *link_name(const struct link *link);

/* n answers, in order; an error that the server answers with is one of them. */
struct replies {
    size_t n;
    redisReply **at;
};

bool link_exchange(struct link *link, struct slice commands, size_t n, struct replies *replies,
                   struct error *err) MUST_CHECK;
/* Writes of commands what the socket takes without waiting, and returns how much that was: the server parses it while the
 * rest is composed. link_exchange then gets what is left, and tells of a connection that was lost meanwhile. */
size_t link_push(struct link *link, struct slice commands);
void replies_deinit(struct replies *replies);

/* Turns an error that the server answered with into ours; returns false. What passes by itself is retriable: memory or disk
 * full, loading, no master. */
bool link_refused(const struct link *link, const redisReply *reply, const char *what,
                  struct error *err);

#endif
