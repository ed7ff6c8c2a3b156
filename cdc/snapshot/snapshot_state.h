/* snapshot_state.h: what is still to be read of tables, as a sink keeps it beside its position: which tables, and how far
 * each has come.
 *
 *     struct snapshot_state *state = snapshot_state_create();
 *     struct snapshot_task *task = snapshot_state_add(state, "public", "users", TASK_INITIAL);
 *     snapshot_task_pages_done(task, 0, 512);
 *     snapshot_state_compose(state, &out);        a JSON object, the note of base/change.h
 *     state = snapshot_state_parse(text, err)     of a process that came before
 *
 * Tasks are done one after the other, in the order of the list. One thread. */
#ifndef FRESHET_CDC_SNAPSHOT_STATE_H
#define FRESHET_CDC_SNAPSHOT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

enum task_origin {
    TASK_INITIAL,   /* of the initial snapshot */
    TASK_JOINED,    /* it came to the publication later, with rows in it */
    TASK_REQUESTED, /* somebody asked for it */
};

/* Pages that are done, [from, to), in order and apart from each other. */
struct page_range {
    uint32_t from;
    uint32_t to;
};

enum { PAGES_TO_END = UINT32_MAX };

struct snapshot_task {
    struct snapshot_task *next;
    enum task_origin origin;
    uint64_t id; /* within the state, from 1 */
    char *schema;
    char *name;
    char *where;    /* NULL: every row */
    char *filenode; /* of the table's files when its pages were counted; "": they were not */
    uint32_t n_pages_done;
    struct page_range *pages_done;
    uint32_t n_after; /* 0: from the start */
    char **after;     /* the key up to which it is read, each column's text */
    uint64_t rows;    /* read so far */
};

struct snapshot_state {
    /* Of the initial snapshot that was interrupted: the slot's consistent point, and which transactions that snapshot
     * saw (pg_current_snapshot()). 0 and NULL: there is none. */
    uint64_t consistent_lsn;
    char *exported;
    /* The tables of the publication whose rows are read or listed here, ascending. Known: later ones are new. */
    bool knows_tables;
    uint32_t n_known;
    uint32_t *known;
    uint64_t last_id;
    struct snapshot_task *tasks;
};

struct snapshot_state *snapshot_state_create(void);
void snapshot_state_destroy(struct snapshot_state **state);

/* At the end of the list. */
struct snapshot_task *snapshot_state_add(struct snapshot_state *state, const char *schema,
                                         const char *name, enum task_origin origin);
void snapshot_state_remove(struct snapshot_state *state, struct snapshot_task *task);
struct snapshot_task *snapshot_state_find(const struct snapshot_state *state, uint64_t id);
uint32_t snapshot_state_count(const struct snapshot_state *state);
/* The initial snapshot is all given, or given up. */
void snapshot_state_complete(struct snapshot_state *state);
bool snapshot_state_has_initial(const struct snapshot_state *state);

void snapshot_state_know(struct snapshot_state *state, uint32_t oid);
bool snapshot_state_knows(const struct snapshot_state *state, uint32_t oid);

void snapshot_task_pages_done(struct snapshot_task *task, uint32_t from, uint32_t to);
/* Nothing of it counts as read. */
void snapshot_task_begin_anew(struct snapshot_task *task);
/* It is read up to this key; takes copies. */
void snapshot_task_reach(struct snapshot_task *task, uint32_t n, const char *const *after);

/* Of a copy that is on no list. */
void snapshot_task_deinit(struct snapshot_task *task);

void snapshot_state_compose(const struct snapshot_state *state, struct buf *out);
/* NULL: malformed. */
struct snapshot_state *snapshot_state_parse(struct slice text, struct error *err);

#endif
