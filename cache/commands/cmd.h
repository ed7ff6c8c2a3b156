/* cmd.h: what the files of commands share: reading a key with the usual answers, numbers, random. */
#ifndef FRESHET_CACHE_CMD_H
#define FRESHET_CACHE_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/commands/command.h"
#include "cache/front/reply.h"
#include "cache/front/settings.h"
#include "cache/rows/keyspace.h"
#include "cache/signals/notify.h"
#include "cache/values/hash.h"

enum { STRING_MAX_BYTES = 512 * 1024 * 1024 }; /* Redis's proto-max-bulk-len */

/* Reads a key. True: it is there. Else the answer was composed (by `absent`, or the error's), or the read is pending. */
bool cmd_read(struct command_context *ctx, struct slice key, enum key_form form,
              struct key_value *value, void (*absent)(struct reply *reply));
void cmd_answer_zero(struct reply *reply);
void cmd_answer_empty_array(struct reply *reply);
void cmd_answer_empty_map(struct reply *reply);
void cmd_answer_empty_set(struct reply *reply);
void cmd_answer_scan_end(struct reply *reply); /* cursor 0 and no elements */

/* Commands on several keys compose as they read. One of the keys failed: what was composed since `mark` (the length of the
 * output) is taken back, and the error is answered, unless other keys are pending (then the next run will say it). */
void cmd_fail(struct command_context *ctx, size_t mark, const struct key_value *value);
/* As a command composes something again and again: a few words may ask for any length of reply. False: what was composed since
 * `mark` has grown longer than a reply may be (STRING_MAX_BYTES); it is taken back, and an error is answered. */
bool cmd_within_bounds(struct reply *reply, size_t mark);
/* At the end: true where keys are pending, and what was composed is taken back. */
bool cmd_is_pending(struct command_context *ctx, size_t mark);

/* Writers: the plain entry under the command's guard; NULL: absent. */
struct entry *cmd_find(struct command_context *ctx, struct slice key, uint64_t *hash);
/* As above, but answers WRONGTYPE, and returns false, where it is of another kind. */
bool cmd_find_kind(struct command_context *ctx, struct slice key, enum entry_kind kind,
                   uint64_t *hash, struct entry **entry);
/* A command that finds out late that it needs a key's shard locked (a reader that meets an ENTRY_OBJECT). Within a MULTI's EXEC,
 * or where the flags had the keys locked, they are locked already and this only says so; nothing else calls store_lock.
 * Then find the key again: it may have gone, or have become something else, before the lock was had. */
struct cmd_lock {
    const struct store_guard *guard;
    struct store_guard own;
};
void cmd_lock_key(struct command_context *ctx, struct slice key, struct cmd_lock *lock);
void cmd_unlock(struct command_context *ctx, struct cmd_lock *lock);

/* Reads a container of `kind`. Small ones, and rows, are immutable and read without a lock; a big one (ENTRY_OBJECT) changes in place,
 * so its shard is locked until cmd_close. False: absent (as `absent` answers it), of another kind, failed or pending. */
struct cmd_container {
    const struct entry *entry; /* NULL: a row read as a hash, or a named query's result */
    struct slice fields;       /* its own then, packed */
    struct cmd_lock lock;
};
bool cmd_open(struct command_context *ctx, struct slice key, enum entry_kind kind,
              struct cmd_container *container, void (*absent)(struct reply *reply));
static inline void cmd_close(struct command_context *ctx, struct cmd_container *container) {
    cmd_unlock(ctx, &container->lock);
}

/* Stores the entry, or answers that memory does not suffice. */
bool cmd_put(struct command_context *ctx, struct entry **entry);
void cmd_answer_oom(struct reply *reply);
/* A big container grows in place, so arguments that could never be kept in it (`entry` NULL: a new one) are refused before: false, and
 * that was answered. */
bool cmd_arguments_fit(struct command_context *ctx, const struct entry *entry);
/* Could memory hold what the command brings, were all else evicted? For what is queued; cmd_put looks by itself. */
bool cmd_may_grow(const struct command_context *ctx, const struct command *command,
                  const struct slice *argv, uint32_t argc);
/* A copy of argv[1]'s string (NULL: a new key) to be changed before it is put: at least `least` bytes, zeros behind what it had. NULL:
 * it could not be kept, and that was answered. */
struct entry *cmd_string_grown(struct command_context *ctx, uint64_t hash, const struct entry *old,
                               size_t least, char **value);

/* What CONFIG SET changes, as it is now. */
int64_t cmd_setting(const struct command_context *ctx, enum setting which);
struct hash_limits cmd_hash_limits(const struct command_context *ctx);

/* Arguments: false after an error reply. */
bool cmd_integer(struct command_context *ctx, struct slice text, int64_t *value);
/* One that is at least `least`; whatever else it is, the answer is `refusal`. */
bool cmd_integer_from(struct command_context *ctx, struct slice text, int64_t least,
                      const char *refusal, int64_t *value);
/* As pg_lsn prints it. */
bool cmd_lsn(struct command_context *ctx, struct slice text, uint64_t *lsn);
bool cmd_float(struct command_context *ctx, struct slice text, long double *value);
/* The number of a database; there is one, 0. False after an error reply. */
bool cmd_database(struct command_context *ctx, struct slice text);

void cmd_answer_arity(struct command_context *ctx);
/* A command that writes has read a key that is not there: keyspace notifications tell of it as of a reader's miss. */
void cmd_tell_miss(struct command_context *ctx, struct slice key);
/* The same of a subcommand that looks at the number itself. */
void cmd_answer_sub_arity(struct command_context *ctx);
/* An expiry that may not be in the past as Redis's SET and GETEX read it: `text` in `unit_ms`, counted from base_ms. */
bool cmd_expiry(struct command_context *ctx, struct slice text, int64_t unit_ms, int64_t base_ms,
                int64_t *at_ms);
void cmd_answer_expiry(struct command_context *ctx);

/* MATCH and COUNT (and TYPE, where `type` is not NULL) of the SCAN family, from argv[from] on. */
struct scan_options {
    uint32_t count;
    struct slice pattern;
    bool filtered; /* by the pattern */
};
bool cmd_scan_options(struct command_context *ctx, uint32_t from, struct scan_options *options,
                      struct slice *type);
bool cmd_cursor(struct command_context *ctx, struct slice text, uint64_t *cursor);
void cmd_answer_cursor(struct reply *reply, uint64_t cursor);

/* A sequence of random numbers (splitmix64) from a seed that the kernel gives. */
uint64_t cmd_random_seed(void);
static inline uint64_t cmd_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

#endif
