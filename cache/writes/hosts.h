/* hosts.h: where a worker's connections for writes go: of the hosts that the URL names, the one that has last been found to take writes.
 *
 *     wire_connect(wire, hosts_conninfo(hosts));  place = hosts_place(hosts);
 *     hosts_failed(hosts, place)                   true: another one is tried at once; false: all were, wait a little
 *     hosts_found(hosts);
 *
 * libpq would try them all in one connecting, in their order each time and with no patience for each: one that swallows packets would
 * keep every new connection from the next. One worker's. */
#ifndef FRESHET_CACHE_WRITE_HOSTS_H
#define FRESHET_CACHE_WRITE_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/cache.h"

struct hosts;

struct hosts *hosts_create(const struct cache_config *config);
void hosts_destroy(struct hosts **hosts);

const char *hosts_conninfo(const struct hosts *hosts);
/* Which one that is. */
uint32_t hosts_place(const struct hosts *hosts);
/* How long connecting to it may take. */
int64_t hosts_patience_us(const struct hosts *hosts);
/* The connection to that place was not to be had, or may not write. */
bool hosts_failed(struct hosts *hosts, uint32_t place);
void hosts_found(struct hosts *hosts);

#endif
