/* load_note.h: how far a load is: as the feed tells it (base/change.h, `note`), and as it is kept with the position.
 *
 *     load_note_prepare(&note, &position, &version)     a session begins, maybe in the midst of a load
 *     load_note_hear(&note, version, text)              within a transaction of the load's rows
 *     load_note_commit(&note)                           which is over: what it tells of has all been given
 *     batch->note = load_note_take(&note)               to be kept once those rows are in the sink
 *
 * What is kept is the load's version, a space and the feed's text. The feed's thread. */
#ifndef FRESHET_CONNECTORS_LOAD_NOTE_H
#define FRESHET_CONNECTORS_LOAD_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/slice.h"

/* Zero: nothing is known, or kept. */
struct load_note {
    bool kept;        /* a load of this session's can go on where it is interrupted */
    bool begins_anew; /* it cannot after all: the next session loads everything */
    char *resumes;    /* what was kept, to go on from; NULL: nothing */
    char *heard;      /* in this transaction; NULL: nothing */
    char *due;        /* to go with the next batch; NULL: nothing */
};

void load_note_deinit(struct load_note *note);

/* Takes the version off the front of the position's note into *version, which stays where there is none. The position's note is
 * ours then, until the next. */
void load_note_prepare(struct load_note *note, struct change_position *position, uint64_t *version);
/* An empty text: there is nothing to go on from. */
void load_note_hear(struct load_note *note, uint64_t version, struct slice text);
void load_note_commit(struct load_note *note);
/* The caller's; NULL: nothing new. */
char *load_note_take(struct load_note *note);

/* Of a load that walks keys: the sink has them up to this one, and the stream begins at `slot_lsn`. Appended, with its version. */
void load_note_append_walk(struct buf *out, uint64_t version, uint64_t slot_lsn, const char *after);
/* The other way, without the version. *after is the caller's. False: it is no such note. Pure. */
bool load_note_read_walk(const char *text, uint64_t *slot_lsn, char **after) MUST_CHECK;

#endif
