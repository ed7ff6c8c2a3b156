/* recorded.h: the messages that tests/fuzz/record_pgoutput recorded from a real PostgreSQL.
 *
 *     struct buf file = recorded_load("rows");                           run from the repository's root
 *     for (size_t at = 0; recorded_next(buf_slice(&file), &at, &message);) ... */
#ifndef FRESHET_TESTS_RECORDED_H
#define FRESHET_TESTS_RECORDED_H

#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "cdc/decode/reader.h"

static const char *const recorded_names[] = {
    /* PostgreSQL 15, protocol 1 to 3 */
    "rows", "kinds", "kinds_binary", "identities", "toast", "truncate", "messages", "ddl", "origin",
    "binary", "streamed", "prepared", "streamed_prepared",
    /* 18, protocol 1 to 4 */
    "18_rows", "18_kinds", "18_kinds_binary", "18_identities", "18_toast", "18_truncate",
    "18_messages", "18_ddl", "18_origin", "18_binary", "18_streamed", "18_prepared",
    "18_streamed_prepared", "18_parallel", "18_parallel_prepared", "18_generated"};
enum { N_RECORDED = sizeof recorded_names / sizeof recorded_names[0] };

static inline struct buf recorded_load(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "tests/fuzz/corpus/pgoutput/%s", name);
    FILE *file = fopen(path, "rb");
    ASSERT(file);
    struct buf bytes = {0};
    size_t n;
    while ((n = fread(buf_reserve(&bytes, 65536), 1, 65536, file)) > 0)
        bytes.len += n;
    fclose(file);
    return bytes;
}

/* The message at *at, behind its length in 4 bytes. False: the end, or a length beyond it. */
static inline bool recorded_next(struct slice file, size_t *at, struct slice *message) {
    struct reader in = reader_make(slice_make(file.data + *at, file.len - *at));
    *message = reader_bytes(&in, reader_u32(&in));
    *at = (size_t)(in.at - file.data);
    return !in.failed;
}

#endif
