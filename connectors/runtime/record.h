/* record.h: a change as one line of JSON, as webhooks send it and archives keep it.
 *
 *     {"operation":"put","id":"42","version":381234,"xid":761,"document":{"id":42,"name":"Ann"}}
 *     {"operation":"delete","id":"42","version":381290,"xid":762}
 *     {"operation":"truncate","version":381300}         what has a lower version is gone
 *     {"operation":"loaded","version":381000}           a load is complete: what has a lower version was not in the table
 *
 * `document` is what document.h makes of the row; where that does not tell a value's text again (document_exact), and the
 * record is to be read again, "exact":{"column":"text"} follows. Pure. */
#ifndef FRESHET_CONNECTORS_RECORD_H
#define FRESHET_CONNECTORS_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "connectors/document/shape.h"
#include "connectors/runtime/batch.h"

enum record_kind { RECORD_PUT, RECORD_DELETE, RECORD_TRUNCATE, RECORD_LOADED };

struct record {
    enum record_kind kind;
    struct slice key;
    struct write_stamp stamp;
    const struct value *row; /* shape->n_columns values; NULL but for RECORD_PUT */
};

/* No newline at the end. `exact`: it is to be read again. */
void record_append(struct buf *out, const struct shape *shape, const struct write *write,
                   bool exact);
void record_append_clear(struct buf *out, uint64_t version, bool loaded);

/* One line, without its newline, written with `exact`. What it holds lies in the arena. False: it is no such line. */
bool record_read(struct slice line, const struct shape *shape, struct arena *arena,
                 struct record *record) MUST_CHECK;

#endif
