/* query_figures.h: what /metrics tells of each named query: results by what became of them, and how often a change evicted them
 * all at once. Any thread. */
#ifndef FRESHET_CACHE_QUERY_FIGURES_H
#define FRESHET_CACHE_QUERY_FIGURES_H

#include <stdint.h>

#include "base/metrics.h"
#include "cache/cache.h"
#include "cache/rows/tablemap.h"

enum query_outcome { QUERY_STORED, QUERY_UNCACHED, QUERY_TOO_BIG, QUERY_FAILED, QUERY_OUTCOMES };

struct query_figures;

struct query_figures *query_figures_create(struct metrics *metrics,
                                           const struct cache_config *config);
void query_figures_destroy(struct query_figures **figures);

/* Nothing is counted of a table. */
void query_figures_result(struct query_figures *figures, const struct table *table,
                          enum query_outcome outcome);
/* By the table map's number: named queries have the first ones, in the order of the configuration. */
void query_figures_fenced(struct query_figures *figures, uint32_t number);

#endif
