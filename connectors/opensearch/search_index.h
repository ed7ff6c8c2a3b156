/* search_index.h: an index as a whole: made, looked at, swept. One thread; each call is a few HTTP requests. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_SEARCH_INDEX_H
#define FRESHET_CONNECTORS_OPENSEARCH_SEARCH_INDEX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/http.h"
#include "base/log.h"
#include "connectors/document/shape.h"
#include "connectors/sink.h"

struct search_index_config {
    const char *name;
    const char *const *aliases; /* further names that it is searched by; must outlive the index */
    uint32_t n_aliases;
    const json_t *
        file; /* the user's mappings and settings (mapping_file.h), or NULL; must outlive the index */
    const char
        *rebuild_of; /* the name that it will be served under, where it is a rebuild's; or NULL */
};

struct search_index {
    struct http *http;
    struct log *log;
    char *name;
    const char *const *aliases;
    uint32_t n_aliases;
    const json_t *file;
    char *rebuild_of;
    char *
        concrete; /* "/users-2", encoded: the index itself, where its name is an alias; once it is opened */
    /* The alias through which alone we write, with require_alias: it goes when the index is deleted, so that a _bulk
     * to a deleted index fails, instead of making one by guessing at types. */
    char *alias;
    char *path;       /* "/name", encoded */
    char *alias_path; /* "/alias" */
    bool made_by_us;  /* its mapping is ours to add to; a user's own is left alone */
};

/* Copies the strings but for what the configuration says. */
void search_index_init(struct search_index *index, struct http *http, struct log *log,
                       const struct search_index_config *config);
void search_index_deinit(struct search_index *index);

/* "/name", percent-encoded. The caller frees it. */
char *search_index_path(const char *name);
/* The alias through which alone `name` is written. The caller frees it. */
char *search_index_alias(const char *name);
/* An index by its name or by an alias of it alone: *root (a new reference) holds the description, its key is the index's own
 * name. *found false: there is none. */
bool search_index_describe(struct http *http, const char *name, bool *found, json_t **root,
                           const char **concrete, json_t **description, struct error *err);

/* The index that is made where there is none of that name, which becomes an alias of it: so the first rebuild can take it over
 * as any other. The caller frees it. */
char *search_index_first(const char *name);
/* Finds the index or makes it, with its aliases. One that we filled from another database system is made anew. */
bool search_index_open(struct search_index *index, const struct shape *shape,
                       uint64_t system_identifier, struct sink_target *target, struct error *err);
/* Adds columns that the mapping lacks, where the mapping is ours. */
bool search_index_add_columns(struct search_index *index, const struct shape *shape,
                              struct error *err);
/* Deletes every document whose version is below that of `clearing`, by a delete of that very version; *newer counts those above
 * its newest. */
bool search_index_clear_older(struct search_index *index, const struct clearing *clearing,
                              uint64_t *removed, uint64_t *newer, struct error *err);
/* Deletes an index whose documents come from another history, if it is ours. Returns false: ERROR_NOT_FOUND, or why it
 * is still there. */
bool search_index_give_up(struct search_index *index, uint64_t newer, struct error *err);

#endif
