/* cmd_zset.h: what the files of sorted set commands share: the set of a key to read or to change, scores, ranges, replies. */
#ifndef FRESHET_CACHE_CMD_ZSET_H
#define FRESHET_CACHE_CMD_ZSET_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/commands/cmd.h"
#include "cache/values/zset.h"

struct zset_read {
    struct cmd_container container;
    struct zset_view view;
};

/* True: read->view holds until the end. Else the answer is composed (by `absent`, or WRONGTYPE), or the read is pending. */
bool cmd_zset_begin_read(struct command_context *ctx, struct slice key, struct zset_read *read,
                         void (*absent)(struct reply *reply));
void cmd_zset_end_read(struct command_context *ctx, struct zset_read *read);

struct zset_limits cmd_zset_limits(const struct command_context *ctx);
/* Begins an edit of a key under the command's guard. False after WRONGTYPE. */
bool cmd_zset_begin_edit(struct command_context *ctx, struct slice key, struct zset_edit *edit);
/* Ends it, and tells of a key that has gone. False after an error reply: there is not enough memory. */
bool cmd_zset_end_edit(struct command_context *ctx, struct slice key, struct zset_edit *edit);
/* `edit` was begun without an entry: what it holds replaces whatever the key holds, or removes it where it is empty;
 * answers with the number of members, and tells of `event`. */
void cmd_zset_store(struct command_context *ctx, struct slice key, struct zset_edit *edit,
                    const char *event);

/* False after an error reply. */
bool cmd_zset_score(struct command_context *ctx, struct slice text, double *score);

enum range_by { RANGE_BY_RANK, RANGE_BY_SCORE, RANGE_BY_NAME };
struct zset_range {
    enum range_by by;
    int64_t start, stop;
    struct score_range scores;
    struct name_range names;
};
/* False after an error reply. */
bool cmd_zset_range(struct command_context *ctx, enum range_by by, struct slice min,
                    struct slice max, struct zset_range *range);
/* The ranks of it, [from, to). `reverse`: ranks of RANGE_BY_RANK count from the greatest. */
void cmd_zset_ranks(const struct zset_view *view, const struct zset_range *range, bool reverse,
                    size_t *from, size_t *to);

/* Members as they are answered: with scores a pair each under RESP3, one after the other under RESP2. */
struct zset_answer {
    struct reply *reply;
    bool with_scores;
};
void cmd_zset_answer_header(struct zset_answer *answer, size_t n);
void cmd_zset_answer_member(struct slice member, double score, void *answer);

#endif
