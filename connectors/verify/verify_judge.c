#include "connectors/verify/verify_judge.h"

static bool same(const struct verify_look *a, const struct verify_look *b) {
    return a->row.identity == b->row.identity && a->entry.found == b->entry.found &&
           a->entry.version == b->entry.version && a->entry.digest == b->entry.digest;
}

/* What was open at the first look has ended, or has not touched this row. */
static bool nothing_open(const struct verify_look *first, const struct verify_look *look) {
    bool ended = look->before.xmin >= first->after.xmax;
    bool untouched = look->row.identity && !look->row.in_flux;
    return ended || untouched;
}

static bool nothing_in_the_gap(const struct verify_look *first, const struct verify_look *look) {
    return !first->after.waits_for_standbys && !look->before.waits_for_standbys &&
           look->at_us - first->at_us >= VERIFY_GAP_US;
}

enum verify_verdict verify_judge(struct verify_suspect *suspect, const struct verify_look *look) {
    if (look->entry.equal) return VERDICT_EQUAL;
    if (!suspect->seen || !same(&suspect->first, look)) {
        if (suspect->seen && ++suspect->moves >= VERIFY_MAX_MOVES) return VERDICT_MOVED;
        suspect->seen = true;
        suspect->first = *look;
        return VERDICT_AGAIN;
    }
    bool certain = nothing_open(&suspect->first, look) || nothing_in_the_gap(&suspect->first, look);
    return certain ? VERDICT_DIFFERS : VERDICT_AGAIN;
}

const char *verify_kind_name(enum verify_kind kind) {
    static const char *const names[N_VERIFY_KINDS] = {
        [VERIFY_MISSING] = "missing",
        [VERIFY_EXTRA] = "extra",
        [VERIFY_CHANGED] = "changed",
        [VERIFY_OLDER] = "older",
    };
    return names[kind];
}

enum verify_kind verify_kind_of(const struct verify_look *look) {
    const struct reader_moment *now = &look->before;
    if (!look->entry.found) return VERIFY_MISSING;
    if (!look->row.identity) return VERIFY_EXTRA;
    /* Transaction numbers go round. */
    bool row_is_later = (int32_t)(look->row.xmin - now->checkpoint_xid) >= 0;
    bool entry_is_earlier =
        !look->floor && look->entry.version && look->entry.version <= now->checkpoint_lsn;
    return row_is_later && entry_is_earlier ? VERIFY_OLDER : VERIFY_CHANGED;
}

/* An open transaction that changes the row wrote its WAL record at some position above the entry's version, if its change is to
 * prevail at all: one more than the version is below that. Where there is no entry, the position at the first look is above
 * all changes that are over, and below those of transactions that had not begun. */
uint64_t verify_repair_version(const struct verify_suspect *suspect,
                               const struct verify_look *look) {
    if (look->entry.found || (look->floor && look->entry.version)) return look->entry.version + 1;
    uint64_t version = look->floor ? look->floor : suspect->first.before.lsn;
    return nothing_open(&suspect->first, look) ? version : 0;
}
