/* manifest.h: what an archive consists of, as text: lines of JSON, the last with the checksum of those above. Pure.
 *
 *     {"format":"freshet-archive 1","sequence":7,"table":"public.users","keys":"id","system":"7301...","position":"16/B374D848","loaded":true,"timeline":1,"timeline_began":"0/0","last_end":"16/B374D848","closed":1}
 *     {"segment":1,"lines":1000,"bytes":48213,"first":"16/B3740000","last":"16/B374D7F0","opened":"2026-11-21T07:41:07Z","sha256":"6c1e..."}
 *     {"segment":2,"open":true,...}
 *     {"sha256":"..."}
 *
 * `manifest` has all of it and is written when segments are closed. `head`, in the same form, has the open segment and the
 * position of a later commit, and counts where `closed` agrees and its sequence is higher: so that a commit costs the
 * same however many segments there are. Both are replaced by renames. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_MANIFEST_H
#define FRESHET_CONNECTORS_ARCHIVE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"

enum {
    MANIFEST_TEXT_MAX = 256,
    MANIFEST_SHA256_CHARS = 64,
    MANIFEST_LINE_MAX = 4096,
    MANIFEST_SEGMENTS_MAX = 10 * 1000 * 1000,
};

struct segment {
    uint64_t number; /* from 1 on, in order */
    uint64_t lines;  /* records: its first line, which tells the shape, is not among them */
    uint64_t bytes;  /* of the file */
    uint64_t first_lsn, last_lsn;           /* versions of the first and the last record */
    int64_t opened_s;                       /* Unix time */
    char sha256[MANIFEST_SHA256_CHARS + 1]; /* of the file's bytes */
};

struct manifest {
    uint64_t sequence; /* of commits */
    char table[MANIFEST_TEXT_MAX];
    char keys[MANIFEST_TEXT_MAX];
    struct change_position position; /* what it tells of is in the archive, and nothing after it */
    uint64_t n_closed;               /* in a head more than `closed` has */
    struct segment *closed;
    size_t n_listed; /* of them in `closed`: all, or none in a head */
    bool has_open;
    struct segment open;
};

void manifest_deinit(struct manifest *manifest);
void manifest_add(struct manifest *manifest, const struct segment *segment);

/* `head`: the closed segments are left out. */
void manifest_write(struct buf *out, const struct manifest *manifest, bool head);
/* False: damaged, or no manifest. *manifest is then empty. */
bool manifest_read(struct slice text, struct manifest *manifest) MUST_CHECK;

#endif
