/* Ranges of the key, compared by digests: of a large table that is equal few bytes move. */
#include <string.h>

#include "base/mem.h"
#include "connectors/verify/verify_parts.h"

enum { SUMMED_PER_PACED = 10 }; /* a row that is only summed up costs both sides so much less */

/* Rows of a range, by depth; ranges of the last are looked at row by row. */
static const uint32_t range_rows[] = {16000, VERIFY_PAGE_ROWS};
enum { N_DEPTHS = sizeof range_rows / sizeof range_rows[0] };

struct ordering {
    const struct shape *shape;
    struct buf collations;
};

static bool attempt_collations(struct verify_run *run, void *what, struct error *err) {
    struct ordering *sink = what;
    sink->collations.len = 0;
    return run->verifier->ops->collations(run->verifier->sink, sink->shape, &sink->collations, err);
}

bool verify_has_ranges(struct verify_run *run, bool *has, struct error *err) {
    const struct row_reader_ops *reader = run->reader.ops;
    *has = false;
    if (!run->verifier->ops->digest || !reader->digest) return true;
    struct ordering sink = {.shape = reader->shape(run->reader.self)};
    struct buf source = {0};
    enum key_order order = key_range_order(sink.shape);
    bool done =
        order != KEY_ORDER_BY_COLLATION || (reader->collations(run->reader.self, &source, err) &&
                                            verify_persist(run, attempt_collations, &sink, err));
    *has = order != KEY_ORDER_NONE && slice_equal(buf_slice(&source), buf_slice(&sink.collations));
    buf_deinit(&source);
    buf_deinit(&sink.collations);
    return done;
}

struct summing {
    const struct key_range *range;
    struct range_digest digest;
    struct key_page page;
};

static bool attempt_digest(struct verify_run *run, void *what, struct error *err) {
    struct summing *summing = what;
    const struct verifier *verifier = run->verifier;
    return verifier->ops->digest(verifier->sink, run->shape, summing->range, &summing->digest, err);
}

static bool attempt_keys(struct verify_run *run, void *what, struct error *err) {
    struct summing *summing = what;
    const struct verifier *verifier = run->verifier;
    key_page_clear(&summing->page);
    return verifier->ops->range_keys(verifier->sink, run->shape, summing->range, &summing->page,
                                     err);
}

static bool look_at_rows(struct verify_run *run, struct key_range range, struct error *err) {
    struct buf after = {0};
    size_t n = VERIFY_PAGE_ROWS;
    bool done = true;
    while (done && n == VERIFY_PAGE_ROWS) {
        struct batch *batch = NULL;
        done = run->reader.ops->rows(run->reader.self, &range, VERIFY_PAGE_ROWS, &batch, err);
        if (!done) break;
        n = batch->n_writes;
        if (n) {
            after.len = 0;
            buf_append_slice(&after, batch->writes[n - 1].key);
            range.after = buf_slice(&after);
            range.has_after = true;
        }
        done = verify_take_rows(run, batch, err) && verify_pace(run, n, err);
        batch_destroy(&batch);
    }
    buf_deinit(&after);
    return done;
}

static bool look_at_keys(struct verify_run *run, const struct key_range *range, struct error *err) {
    struct summing summing = {.range = range};
    bool done = verify_persist(run, attempt_keys, &summing, err);
    for (size_t at = 0; at < summing.page.n && done; at += VERIFY_PAGE_ROWS) {
        size_t left = summing.page.n - at;
        size_t part = left < VERIFY_PAGE_ROWS ? left : VERIFY_PAGE_ROWS;
        done =
            verify_take_keys(run, summing.page.keys + at, part, err) && verify_pace(run, part, err);
    }
    key_page_deinit(&summing.page);
    return done;
}

static bool same_digest(const struct range_digest *a, const struct range_digest *b) {
    return a->rows == b->rows && strcmp(a->sum, b->sum) == 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as there are depths */
static bool look_at(struct verify_run *run, const struct key_range *whole, size_t depth,
                    struct error *err);

/* NOLINTNEXTLINE(misc-no-recursion) */
static bool compare_range(struct verify_run *run, const struct key_range *range, size_t depth,
                          struct error *err) {
    struct summing sink = {.range = range};
    struct range_digest source;
    if (!run->reader.ops->digest(run->reader.self, range, &source, err) ||
        !verify_persist(run, attempt_digest, &sink, err) ||
        !verify_pace(run, source.rows / SUMMED_PER_PACED, err))
        return false;
    if (same_digest(&source, &sink.digest)) {
        verify_count(run, (struct verify_tally){
                              .rows = source.rows, .keys = source.rows, .summed = source.rows});
        metric_add(run->verifier->figures->verified, (int64_t)source.rows);
        return true;
    }
    if (depth + 1 < N_DEPTHS) return look_at(run, range, depth + 1, err);
    return look_at_rows(run, *range, err) && look_at_keys(run, range, err);
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static bool look_at(struct verify_run *run, const struct key_range *whole, size_t depth,
                    struct error *err) {
    struct buf after = {0};
    struct buf upto = {0};
    struct key_range range = *whole;
    bool more = true;
    bool done = true;
    while (more && done) {
        range.upto = whole->upto;
        range.has_upto = whole->has_upto;
        done =
            run->reader.ops->bound(run->reader.self, &range, range_rows[depth], &upto, &more, err);
        if (done && more) {
            range.upto = buf_slice(&upto);
            range.has_upto = true;
        }
        done = done && compare_range(run, &range, depth, err);
        after.len = 0;
        buf_append_slice(&after, buf_slice(&upto));
        range.after = buf_slice(&after);
        range.has_after = true;
    }
    buf_deinit(&after);
    buf_deinit(&upto);
    return done;
}

bool verify_ranges(struct verify_run *run, struct error *err) {
    struct key_range all = {0};
    run->shape = shape_acquire(run->reader.ops->shape(run->reader.self));
    return look_at(run, &all, 0, err);
}
