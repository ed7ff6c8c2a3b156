/* search_index.h: an index as a whole: made, looked at, swept. One thread; each call is a few HTTP requests. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_SEARCH_INDEX_H
#define FRESHET_CONNECTORS_OPENSEARCH_SEARCH_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/http.h"
#include "base/log.h"
#include "connectors/shape.h"
#include "connectors/sink.h"

struct search_index {
    struct http *http;
    struct log *log;
    char *name;
    /* The alias through which alone we write, with require_alias: it goes when the index is deleted, so that a _bulk
     * to a deleted index fails, instead of making one by guessing at types. */
    char *alias;
    char *path;       /* "/name", encoded */
    char *alias_path; /* "/alias" */
    bool made_by_us;  /* its mapping is ours to add to; a user's own is left alone */
};

void search_index_init(struct search_index *index, struct http *http, const char *name,
                       struct log *log);
void search_index_deinit(struct search_index *index);

/* Finds the index or makes it, with its alias. One that we filled from another database system is made anew. */
bool search_index_open(struct search_index *index, const struct shape *shape,
                       uint64_t system_identifier, struct sink_target *target, struct error *err);
/* Adds columns that the mapping lacks, where the mapping is ours. */
bool search_index_add_columns(struct search_index *index, const struct shape *shape,
                              struct error *err);
/* Deletes every document whose version is below `version`, by a delete of that very version; *newer counts those
 * above it. */
bool search_index_clear_older(struct search_index *index, uint64_t version, uint64_t *removed,
                              uint64_t *newer, struct error *err);
/* Deletes an index whose documents come from another history, if it is ours. Returns false: ERROR_NOT_FOUND, or why it
 * is still there. */
bool search_index_give_up(struct search_index *index, uint64_t newer, struct error *err);

#endif
