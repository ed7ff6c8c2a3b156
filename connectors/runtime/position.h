/* position.h: where a connector is, on disk, for sinks that cannot keep it with their data.
 *
 *     position_load(path, &record, &state, err)        at the start
 *     position_save(path, &record, err)                when everything up to it is in the sink
 *
 * One small text file a connector in the state directory, written beside and renamed over, both synced: after a
 * kill or a power cut it is the old one or the new one. A checksum tells any other damage; a damaged or
 * missing file means loading anew, which is dear and right, where a guessed position would be a silent gap.
 *
 * Why a file and not a document of the index's server: it costs that server nothing, leaves nothing of ours in
 * a user's cluster, and is the same for every sink that has no transactions. What a document would give, that
 * an index restored from a backup brings its own position, is had by `target`: the index's uuid changes. */
#ifndef FRESHET_CONNECTORS_POSITION_H
#define FRESHET_CONNECTORS_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"

enum { POSITION_TEXT_MAX = 256, POSITION_NOTE_MAX = 16384, POSITION_FILE_MAX = 20480 };

struct position_record {
    struct change_position position;
    char table[POSITION_TEXT_MAX];  /* "public.users" */
    char keys[POSITION_TEXT_MAX];   /* shape_append_keys: other columns make other document ids */
    char target[POSITION_TEXT_MAX]; /* sink_target.id */
    /* Of a load that is not complete: how far it is (change_position.note, which says nothing here). "": it starts over. */
    char note[POSITION_NOTE_MAX];
};

enum position_state { POSITION_LOADED, POSITION_ABSENT, POSITION_DAMAGED };

/* Appends the file's content. */
void position_write(struct buf *out, const struct position_record *record);
/* The other way. False: not what position_write gives. Pure. */
bool position_read(struct slice text, struct position_record *record);

/* False where the file is there and cannot be read. */
bool position_load(const char *path, struct position_record *record, enum position_state *state,
                   struct error *err) MUST_CHECK;
bool position_save(const char *path, const struct position_record *record,
                   struct error *err) MUST_CHECK;

#endif
