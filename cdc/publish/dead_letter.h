/* dead_letter.h: the records that stand in <prefix>.dead-letters for a change that could not be published.
 *
 *     dead_letter_write(&letter, DEAD_LETTER_BYTES, write, arg, err)      one record, or several of one key
 *     dead_letter_read(value, arena, &parsed)                             each of them again
 *
 * The first record tells everything, with column values as PostgreSQL's text:
 *
 *     {"cause":"...","op":"u","schema":"public","table":"t","key":{"id":1},"lsn":N,"txId":N,"ts_us":N,"before":{...},
 *      "after":{"id":"1","name":null},"position":"COMMIT_LSN:INDEX","attempts":0,"pieces":[["after","t",300000]],
 *      "change":{...}}
 *
 * A column that is not there was not in the stream (an unchanged TOASTed value). `change` holds what a replay needs and a
 * reader does not. Of a value that is too long only the beginning is there; `pieces` tells its bytes, which follow in records
 * of the same key, in order, in the order of `pieces`:
 *
 *     {"position":"COMMIT_LSN:INDEX","row":"after","column":"t","text":"..."}
 *
 * No I/O. */
#ifndef FRESHET_CDC_DEAD_LETTER_H
#define FRESHET_CDC_DEAD_LETTER_H

#include "base/arena.h"
#include "cdc/encode/encode.h"
#include "cdc/output/output.h"

enum {
    DEAD_LETTER_BYTES = 512 * 1024, /* of a record, roughly: brokers take a megabyte by default */
    DEAD_LETTER_SMALL_BYTES = 8 * 1024 /* where even that is refused */
};

struct dead_letter {
    const struct event_source *source; /* of its transaction */
    const struct event *event;
    const struct change *change;
    uint64_t commit_lsn;
    struct slice key; /* of the event's record; len 0: none */
    const char *cause;
    unsigned attempts; /* replays that have failed */
};

typedef enum write_result dead_letter_writer(void *arg, struct slice key, struct slice value,
                                             struct error *err);

/* What `write` answers, up to the first that is not WRITE_DONE. */
enum write_result dead_letter_write(const struct dead_letter *letter, size_t record_bytes,
                                    dead_letter_writer *write, void *arg, struct error *err);

/* ---- reading ---- */

/* A value that comes in pieces. */
struct dead_letter_gap {
    struct value *value; /* in `change`, or `content` */
    size_t bytes;
};

struct dead_letter_parsed {
    struct slice position;
    unsigned attempts;
    char op; /* which of the change's events it stands for */
    struct transaction tx;
    uint64_t last_lsn; /* end of the transaction before */
    struct event_order order;
    struct relation relation; /* of a row */
    struct change change;
    struct value content; /* of a logical message */
    size_t n_gaps;        /* the change is whole once all are filled */
    struct dead_letter_gap *gaps;
};

enum dead_letter_kind { DEAD_LETTER_WHOLE, DEAD_LETTER_PIECE, DEAD_LETTER_MALFORMED };

struct dead_letter_piece {
    struct slice position;
    struct slice text;
};

/* Validates everything, and trusts nothing. The first record of a letter into *parsed, a further one into *piece; all of it in the arena. One that was written before
 * letters could be replayed is malformed. */
enum dead_letter_kind dead_letter_read(struct slice value, struct arena *arena,
                                       struct dead_letter_parsed *parsed,
                                       struct dead_letter_piece *piece);
/* Once the gaps of a logical message are filled: its content is base64. False: it is none. */
bool dead_letter_settle(struct dead_letter_parsed *parsed, struct buf *content) MUST_CHECK;

#endif
