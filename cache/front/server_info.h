/* server_info.h: what this process says of itself in HELLO, INFO and CONFIG. Made by cache.c before the workers run;
 * immutable from then on, but the rates, which worker 0 alone writes. */
#ifndef FRESHET_CACHE_SERVER_INFO_H
#define FRESHET_CACHE_SERVER_INFO_H

#include <stdatomic.h>
#include <stdint.h>

/* The Redis whose clients we are made for: its version is what near caches and cluster probes look at. */
#define SERVER_REDIS_VERSION "7.4.0"

enum info_counter {
    COUNT_CONNECTIONS,
    COUNT_COMMANDS,
    COUNT_BYTES_IN,
    COUNT_BYTES_OUT,
    COUNT_READS,
    COUNT_SENDS,
    COUNT_REJECTED,
    COUNT_ERRORS,
    COUNT_HITS,
    COUNT_MISSES,
    COUNT_EXPIRED,
    COUNT_EVICTED,
    INFO_COUNTERS
};

struct readthrough;

struct server_info {
    const char *version;   /* Freshet's own */
    char run_id[41];       /* 40 hex digits */
    _Atomic uint16_t port; /* 0: none */
    _Atomic uint16_t tls_port;
    int64_t started_wall_us;
    struct readthrough *readthrough; /* NULL where no database is configured */

    _Atomic int64_t commands_per_second;
    _Atomic int64_t bytes_in_per_second;
    _Atomic int64_t bytes_out_per_second;

    /* What INFO counts, as it was at the last CONFIG RESETSTAT: the counters themselves never go back. */
    _Atomic int64_t counter_bases[INFO_COUNTERS];
};

#endif
