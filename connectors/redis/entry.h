/* entry.h: what the connector remembers of a row: where it stands in the target, and the version of the change that put it there.
 *
 *     k16B374D848 8 users:42                      a key of its own
 *     z16B374D848 19 users:by_country:DE42        a sorted set's key (19 bytes) and its member; s: a set's
 *
 * The values of the hash `freshet:NAME:rows`, whose fields are the rows' keys. With it a row that moves or goes takes
 * along what it was, whatever the replica identity tells of the old row, and what is removed is what was written and
 * nothing else. Pure. */
#ifndef FRESHET_CONNECTORS_REDIS_ENTRY_H
#define FRESHET_CONNECTORS_REDIS_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum entry_kind { ENTRY_KEY = 'k', ENTRY_SET = 's', ENTRY_SORTED_SET = 'z' };

struct entry {
    enum entry_kind kind;
    uint64_t version;
    struct slice key;
    struct slice member; /* of a set; else empty */
};

void entry_write(struct buf *out, const struct entry *entry);
/* The other way; slices of `text`. False: not what entry_write gives. */
bool entry_read(struct slice text, struct entry *entry);

#endif
