#include "cache/rows/rowttl.h"

#include <string.h>

#include "base/pg.h"
#include "cache/store/store.h"

static bool is_one_of(const char *name, const char *const *names) {
    for (; *names; names++)
        if (strcmp(name, *names) == 0) return true;
    return false;
}

static bool is_number(const char *base_type_name) {
    static const char *const names[] = {"int2",   "int4",   "int8", "numeric",
                                        "float4", "float8", NULL};
    return is_one_of(base_type_name, names);
}

bool rowttl_is_time(const char *base_type_name) {
    static const char *const names[] = {"timestamptz", "timestamp", "date", NULL};
    return is_number(base_type_name) || is_one_of(base_type_name, names);
}

/* Cut to what a bigint holds, and to -1 for what is over. 'infinity' has no seconds in every version. */
void rowttl_compose(struct buf *sql, const char *column, const char *base_type_name) {
    struct buf value = {0};
    buf_append_text(&value, "r.");
    pg_quote_ident(&value, column);
    buf_append_text(&value, is_number(base_type_name) ? "::numeric" : "::timestamptz");
    const char *v = buf_text(&value);
    static const char left[] =
        "LEAST(GREATEST(pg_catalog.floor((%s - EXTRACT(EPOCH FROM pg_catalog.clock_timestamp())"
        "::numeric) * 1000), -1), 1e15)::bigint";
    struct buf seconds = {0};
    if (is_number(base_type_name)) {
        buf_printf(sql, left, v);
    } else {
        buf_printf(&seconds, "EXTRACT(EPOCH FROM %s)::numeric", v);
        buf_printf(sql, "CASE WHEN pg_catalog.isfinite(%s) THEN ", v);
        buf_printf(sql, left, buf_text(&seconds));
        buf_printf(sql, " WHEN %s < pg_catalog.clock_timestamp() THEN -1 END", v);
    }
    buf_deinit(&seconds);
    buf_deinit(&value);
}

void rowttl_compose_ended(struct buf *sql, const char *column, const char *base_type_name) {
    static const struct {
        const char *type, *now;
    } nows[] = {
        {"timestamptz", "pg_catalog.now()"},
        {"timestamp", "pg_catalog.now()::timestamp"},
        {"date", "pg_catalog.now()::date"},
        {"numeric", "EXTRACT(EPOCH FROM pg_catalog.now())::numeric"},
        {"float4", "EXTRACT(EPOCH FROM pg_catalog.now())::double precision"},
        {"float8", "EXTRACT(EPOCH FROM pg_catalog.now())::double precision"},
    };
    const char *now = "pg_catalog.floor(EXTRACT(EPOCH FROM pg_catalog.now()))::bigint";
    for (size_t i = 0; i < sizeof nows / sizeof nows[0]; i++)
        if (strcmp(base_type_name, nows[i].type) == 0) now = nows[i].now;
    buf_append_text(sql, "r.");
    pg_quote_ident(sql, column);
    buf_printf(sql, " <= %s", now);
}

/* splitmix64's last step: of the seed alone, so that nothing has to be kept between two calls. */
static uint64_t scramble(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The TTL is the most: jitter takes away from it. */
static int64_t jittered(const struct rowttl *ttl) {
    int64_t most_ms =
        ttl->ttl_ms / 100 * ttl->jitter_percent + ttl->ttl_ms % 100 * ttl->jitter_percent / 100;
    int64_t ttl_ms = ttl->ttl_ms - (int64_t)(scramble(ttl->seed) % ((uint64_t)most_ms + 1));
    return ttl_ms > 0 ? ttl_ms : 1;
}

int64_t rowttl_expiry(const struct rowttl *ttl, int64_t now_ms) {
    int64_t keep_ms = ttl->ttl_ms > 0 ? jittered(ttl) + ttl->stale_ms : 0;
    if (ttl->ends && (keep_ms == 0 || ttl->left_ms < keep_ms)) keep_ms = ttl->left_ms;
    return keep_ms > 0 ? now_ms + keep_ms : STORE_NEVER;
}
