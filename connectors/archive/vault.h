/* vault.h: the folder of an archive, for the one that writes it.
 *
 *     vault_open(vault, &identity, err);                          goes back to the last commit
 *     vault_append(vault, &lines, err);  ...                      in memory, or in files that no manifest names
 *     vault_commit(vault, &position, now_s, err);                 synced, and named: all since the last commit, or nothing
 *
 *     archive/manifest                     what the archive consists of (manifest.h)
 *     archive/head                         what was committed since it was written
 *     archive/000000000001.ndjson.gz       a closed segment: never changed again, may be copied and moved away
 *     archive/000000000002.ndjson.gz.open  the one in hand: as far as the manifest or the head says
 *
 * A segment is a series of gzip members, which gzip and zcat read as one file. Its first line tells the shape of
 * its rows (segment.h). It is closed at a commit when it is large or old enough, and when the rows' shape changes or the
 * archive is opened. A failed commit leaves what was committed before; the caller goes on with vault_open.
 *
 * One thread; one process an archive (a lock on the folder). */
#ifndef FRESHET_CONNECTORS_ARCHIVE_VAULT_H
#define FRESHET_CONNECTORS_ARCHIVE_VAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "connectors/archive/manifest.h"
#include "connectors/document/shape.h"

struct vault_config {
    const char *path;
    uint64_t segment_bytes; /* compressed */
    int64_t segment_age_s;
};

struct vault_identity {
    const char *table; /* "public.users" */
    const char *keys;  /* "id" */
    uint64_t system_identifier;
};

/* Records, each with its newline. */
struct vault_lines {
    struct slice text;
    uint64_t n;
    uint64_t first_lsn, last_lsn;
};

struct vault;

/* Copies the configuration; no I/O. */
struct vault *vault_create(const struct vault_config *config);
void vault_destroy(struct vault **vault);

/* Makes the folder where it is absent. ERROR_CONFLICT: it is another table's or system's archive, somebody else's in hand, or
 * damaged. */
bool vault_open(struct vault *vault, const struct vault_identity *identity,
                struct error *err) MUST_CHECK;
/* Valid until the next call of another function. */
const struct manifest *vault_manifest(const struct vault *vault);

/* The shape of the records from now on. */
bool vault_reshape(struct vault *vault, const struct shape *shape, struct error *err) MUST_CHECK;
/* False: nothing of it was taken. */
bool vault_append(struct vault *vault, const struct vault_lines *lines, int64_t now_s,
                  struct error *err) MUST_CHECK;
bool vault_commit(struct vault *vault, const struct change_position *position, int64_t now_s,
                  struct error *err) MUST_CHECK;

/* Names in the folder; `name` has VAULT_NAME_MAX bytes. */
enum { VAULT_NAME_MAX = 64 };
void vault_segment_name(char *name, uint64_t number, bool open);

/* Reads manifest and head as they are, without a lock. *absent: there is no manifest. */
bool vault_read_manifest(const char *path, struct manifest *manifest, bool *absent,
                         struct error *err) MUST_CHECK;

#endif
