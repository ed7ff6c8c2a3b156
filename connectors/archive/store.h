/* store.h: the folder of an archive, for the one that writes it.
 *
 *     store_open(store, &identity, err);                          goes back to the last commit
 *     store_append(store, &lines, err);  ...                      in memory, or in files that no manifest names
 *     store_commit(store, &position, now_s, err);                 synced, and named: all since the last commit, or nothing
 *
 *     archive/manifest                     what the archive consists of (manifest.h)
 *     archive/head                         what was committed since it was written
 *     archive/000000000001.ndjson.gz       a closed segment: never changed again, may be copied and moved away
 *     archive/000000000002.ndjson.gz.open  the one in hand: as far as the manifest or the head says
 *
 * A segment is a series of gzip members, which gzip and zcat read as one file. Its first line tells the shape of
 * its rows (segment.h). It is closed at a commit when it is large or old enough, and when the rows' shape changes or the
 * archive is opened. A failed commit leaves what was committed before; the caller goes on with store_open.
 *
 * One thread; one process an archive (a lock on the folder). */
#ifndef FRESHET_CONNECTORS_ARCHIVE_STORE_H
#define FRESHET_CONNECTORS_ARCHIVE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "connectors/archive/manifest.h"
#include "connectors/shape.h"

struct store_config {
    const char *path;
    uint64_t segment_bytes; /* compressed */
    int64_t segment_age_s;
};

struct store_identity {
    const char *table; /* "public.users" */
    const char *keys;  /* "id" */
    uint64_t system_identifier;
};

/* Records, each with its newline. */
struct store_lines {
    struct slice text;
    uint64_t n;
    uint64_t first_lsn, last_lsn;
};

struct store;

/* Copies the configuration; no I/O. */
struct store *store_create(const struct store_config *config);
void store_destroy(struct store **store);

/* Makes the folder where it is absent. ERROR_CONFLICT: it is another table's or system's archive, somebody else's in hand, or
 * damaged. */
bool store_open(struct store *store, const struct store_identity *identity,
                struct error *err) MUST_CHECK;
/* Valid until the next call of another function. */
const struct manifest *store_manifest(const struct store *store);

/* The shape of the records from now on. */
bool store_reshape(struct store *store, const struct shape *shape, struct error *err) MUST_CHECK;
/* False: nothing of it was taken. */
bool store_append(struct store *store, const struct store_lines *lines, int64_t now_s,
                  struct error *err) MUST_CHECK;
bool store_commit(struct store *store, const struct change_position *position, int64_t now_s,
                  struct error *err) MUST_CHECK;

/* Names in the folder; `name` has STORE_NAME_MAX bytes. */
enum { STORE_NAME_MAX = 64 };
void store_segment_name(char *name, uint64_t number, bool open);

/* Reads manifest and head as they are, without a lock. *absent: there is no manifest. */
bool store_read_manifest(const char *path, struct manifest *manifest, bool *absent,
                         struct error *err) MUST_CHECK;

#endif
