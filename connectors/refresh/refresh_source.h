/* refresh_source.h: the source of a connector that refreshes materialized views: its keys are their names, touched by any change
 * of a table that they read. */
#ifndef FRESHET_CONNECTORS_REFRESH_REFRESH_SOURCE_H
#define FRESHET_CONNECTORS_REFRESH_REFRESH_SOURCE_H

#include "base/error.h"
#include "connectors/source.h"
#include "connectors/source/source_database.h"

struct refresh_source_config {
    struct source_database database;
    uint32_t n_views;
    const char *const *views; /* must outlive the source */
};

struct refresh_source;

struct refresh_source *refresh_source_create(const struct refresh_source_config *config);
void refresh_source_destroy(struct refresh_source **source);
struct source refresh_source_as_source(struct refresh_source *source);

#endif
