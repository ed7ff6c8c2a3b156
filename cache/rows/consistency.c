#include "cache/rows/consistency.h"

#include "cache/front/client.h"
#include "cache/rows/core.h"

struct consistency consistency_of(const struct command_context *ctx) {
    struct consistency asked = {0};
    if (ctx->client) asked = *client_consistency(ctx->client);
    if (!ctx->asked) return asked;
    uint64_t min_lsn = asked.min_lsn;
    asked = *ctx->asked;
    if (asked.min_lsn < min_lsn) asked.min_lsn = min_lsn;
    return asked;
}

static bool has_applied(const struct consistency *asked, const struct core *core) {
    return asked->min_lsn == 0 || lease_applied_lsn(core->lease) >= asked->min_lsn;
}

/* The lease is not asked: on_stale may say more than what is proven, and the bound may be the wider one. */
static bool is_within(int64_t bound_ms, const struct core *core, int64_t now_us) {
    int64_t staleness_us = lease_staleness_us(core->lease, now_us);
    return core_streams(core) && staleness_us >= 0 && staleness_us / 1000 < bound_ms;
}

bool consistency_admits(const struct consistency *asked, const struct core *core, int64_t now_us) {
    if (!core_rule_holds(core, RULE_ASKED)) return core_lease_holds(core, now_us);
    if (!has_applied(asked, core)) return false;
    switch (asked->level) {
    case CONSISTENCY_DEFAULT: return core_lease_holds(core, now_us);
    case CONSISTENCY_STRICT: return false;
    case CONSISTENCY_BOUNDED: return is_within(asked->bound_ms, core, now_us);
    case CONSISTENCY_CACHED: return true;
    }
    return false;
}

bool consistency_admits_row(const struct consistency *asked, const struct core *core,
                            const struct row_stamp *stamp, int64_t now_us) {
    bool asks_age = asked->min_lsn || asked->level == CONSISTENCY_BOUNDED;
    if (asks_age && atomic_load(&tablestates_at(core->states, stamp->table)->by_ttl)) return false;
    return consistency_admits(asked, core, now_us);
}

bool consistency_shares(const struct consistency *asked, const struct core *core) {
    if (!core_rule_holds(core, RULE_ASKED)) return true;
    bool any = asked->level == CONSISTENCY_DEFAULT || asked->level == CONSISTENCY_CACHED;
    return any && has_applied(asked, core);
}
