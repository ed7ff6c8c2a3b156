/* deadletter.h: what a sink refused for good: JSON lines, one a document, with the cause, in a file or a topic.
 *
 *     struct deadletters *letters = deadletters_create(path, err);
 *     deadletters_add(letters, &letter, err);     buffered
 *     deadletters_sync(letters, err);             written and synced: before the position passes them
 *
 * One thread. After a crash a letter may be there twice (same id and version): its position was not reached.
 * Past DEADLETTER_FILE_MAX bytes the file becomes `path`.1, which replaces the one before: the newest letters of
 * twice that size are kept. */
#ifndef FRESHET_CONNECTORS_DEADLETTER_H
#define FRESHET_CONNECTORS_DEADLETTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "connectors/runtime/batch.h"

enum { DEADLETTER_FILE_MAX = 64 * 1024 * 1024 };

struct deadletters;

/* Makes the file, or goes on behind what it holds; a line that a crash cut off is ended first. */
struct deadletters *deadletters_create(const char *path, uint64_t max_bytes, struct error *err);
/* Letters go to the topic, which is taken over, from now on; what the files have is read again all the same. Before all else. */
struct letter_topic;
void deadletters_to_topic(struct deadletters *letters, struct letter_topic **topic);
void deadletters_destroy(struct deadletters **letters);

/* One refused write of the batch. */
void deadletters_add(struct deadletters *letters, const char *connector, const struct batch *batch,
                     const struct write *write, int64_t now_wall_us);
/* What is to be read again, as a file: what an earlier, interrupted reading has left; then the older of the two files; then
 * the newer, and letters go to a new one from then on; then what the topic has. *path, the caller's, is NULL where there is none; the file is removed by
 * deadletters_done. */
enum deadletters_stage {
    LETTERS_LEFT,
    LETTERS_OLDER,
    LETTERS_NEWER,
    LETTERS_TOPIC,
    N_LETTERS_STAGES
};
bool deadletters_take(struct deadletters *letters, enum deadletters_stage stage, char **path,
                      struct error *err) MUST_CHECK;
bool deadletters_done(struct deadletters *letters, struct error *err) MUST_CHECK;
bool deadletters_sync(struct deadletters *letters, struct error *err) MUST_CHECK;

#endif
