#include "cache/writes/hosts.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/pg.h"

enum { PATIENCE_S = 10, PATIENCE_OF_SEVERAL_S = 2 };

struct hosts {
    uint32_t n, current;
    uint32_t n_failed; /* one after the other */
    int64_t patience_us;
    char *conninfos[];
};

static char *make_conninfo(const struct cache_config *config, uint32_t host_number) {
    char options[64];
    /* The server gives up before the client's deadline, so that the client learns what happened. */
    snprintf(options, sizeof options, "-c statement_timeout=%lld",
             (long long)(config->write_timeout_ms - config->write_timeout_ms / 5));
    struct pg_options pg = {.application_name = config->application_name,
                            .server_options = options,
                            .host_number = host_number};
    struct error err = {0};
    char *conninfo = pg_conninfo(config->database_url, &pg, &err);
    ASSERT(conninfo); /* readthrough_create has looked at the URL */
    return conninfo;
}

struct hosts *hosts_create(const struct cache_config *config) {
    uint32_t n = pg_count_hosts(config->database_url);
    struct hosts *hosts = mem_zalloc(sizeof *hosts + n * sizeof hosts->conninfos[0]);
    int seconds = pg_connect_timeout_s(config->database_url);
    if (seconds <= 0) seconds = n > 1 ? PATIENCE_OF_SEVERAL_S : PATIENCE_S;
    hosts->n = n;
    hosts->patience_us = seconds * INT64_C(1000000);
    for (uint32_t i = 0; i < n; i++)
        hosts->conninfos[i] = make_conninfo(config, n > 1 ? i + 1 : 0);
    return hosts;
}

void hosts_destroy(struct hosts **hosts) {
    struct hosts *old = *hosts;
    *hosts = NULL;
    if (!old) return;
    for (uint32_t i = 0; i < old->n; i++)
        mem_free(old->conninfos[i]);
    mem_free(old);
}

const char *hosts_conninfo(const struct hosts *hosts) { return hosts->conninfos[hosts->current]; }
uint32_t hosts_place(const struct hosts *hosts) { return hosts->current; }
int64_t hosts_patience_us(const struct hosts *hosts) { return hosts->patience_us; }

/* Several connections may fail at one host: it is left once. */
bool hosts_failed(struct hosts *hosts, uint32_t place) {
    if (place != hosts->current) return true;
    hosts->current = (hosts->current + 1) % hosts->n;
    hosts->n_failed = (hosts->n_failed + 1) % hosts->n;
    return hosts->n_failed > 0;
}

void hosts_found(struct hosts *hosts) { hosts->n_failed = 0; }
