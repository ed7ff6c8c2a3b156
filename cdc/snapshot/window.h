/* window.h: which rows of a chunk the stream has overtaken. A chunk of a table is read beside the stream, under a snapshot
 * of its own, and given when the stream has passed the moment of its reading. Between the order to read and the giving, the
 * keys that delivered transactions touch are noted with their transactions:
 *
 *     window_open(window)                                     the chunk is ordered
 *     window_touch(window, xid, key, lacks)                   each change of the table
 *     window_passed(window, xid)                              each transaction delivered, always
 *     if (window_hides(window, &snapshot)) ...                read it again: see below
 *     if (window_overtook(window, key, &snapshot, &lacks)) ...  the row is older than what was delivered: drop it
 *
 * A row is dropped if a transaction was delivered that touched it and that the chunk's snapshot does not see; then what was
 * delivered is newer. One that the snapshot sees is in the row already. A commit is streamed before it becomes visible (for as
 * long as a synchronous standby makes it wait): so a transaction delivered before the order may be unseen, and the keys it
 * touched are not known. window_hides tells of such, by the last transactions delivered.
 *
 * Pure; one thread. */
#ifndef FRESHET_CDC_WINDOW_H
#define FRESHET_CDC_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pgsnapshot.h"
#include "base/slice.h"

struct window;

/* Past max_bytes of keys it is full: the chunk cannot be given. */
struct window *window_create(uint64_t max_bytes);
void window_destroy(struct window **window);

/* Forgets the keys noted so far. */
void window_open(struct window *window);
void window_close(struct window *window);
bool window_is_open(const struct window *window);
bool window_is_full(const struct window *window);

/* `lacks`: what was delivered of the row is without some of its values (VALUE_UNCHANGED). */
void window_touch(struct window *window, uint64_t xid, struct slice key, bool lacks);
/* Everything the table holds: a truncate. */
void window_touch_all(struct window *window, uint64_t xid);
/* A key that cannot be told: the window counts as full. */
void window_give_up(struct window *window);
void window_passed(struct window *window, uint64_t xid);

bool window_hides(const struct window *window, const struct pgsnapshot *snapshot);
/* *lacks: by something without all of the row's values. */
bool window_overtook(const struct window *window, struct slice key,
                     const struct pgsnapshot *snapshot, bool *lacks);

#endif
