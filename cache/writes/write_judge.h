/* write_judge.h: what the database's answers mean: for an operation, and for whether there is to be a COMMIT.
 *
 * Errors are worded for the client, their code first:
 *
 *     CONSTRAINT 23505 customers: duplicate key value violates ... (Key (email)=(x) already exists.)
 *     CONFLICT 40001 ...      nothing was written, and trying again may succeed
 *     NOROW, READONLY 25006, UNKNOWN, ERR <SQLSTATE>
 *
 * On the write's worker. */
#ifndef FRESHET_CACHE_WRITE_JUDGE_H
#define FRESHET_CACHE_WRITE_JUDGE_H

#include "cache/writes/write.h"

/* Its COMMIT may go out together with it: whatever the answer, nothing would speak against it. */
bool write_needs_no_judgement(const struct write *write);
/* Takes the result. */
void write_take_result(struct write *write, uint32_t op, PGresult *result);
/* Each operation has found what it needs; else `failure` says which has not. */
bool write_is_well(struct write *write);
/* Has a watched key of its client changed, or has the client gone, so that nobody can tell? */
bool write_is_touched(struct write *write);

/* Words the failure, with the table of the first operation before the text. */
void write_refuse(struct write *write, enum write_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void write_refuse_by(struct write *write, const struct write_op *op, const PGresult *error);

#endif
