#include "cache/signals/told.h"

#include <string.h>

#include "cache/commands/transaction.h"
#include "cache/signals/tracking.h"

/* "users:": what the keys of the table begin with. */
struct start {
    struct slice prefix; /* without the colon; data NULL: any */
};

static bool begins(void *arg, struct slice key) {
    const struct start *start = arg;
    struct slice prefix = start->prefix;
    if (!prefix.data) return memchr(key.data, ':', key.len) != NULL;
    bool bare = key.len == prefix.len; /* of a named query without parameters */
    return (bare || (key.len > prefix.len && key.data[prefix.len] == ':')) &&
           memcmp(key.data, prefix.data, prefix.len) == 0;
}

static void tell(struct core *core, struct slice prefix) {
    struct start start = {prefix};
    if (core->watches) watches_touch_matching(core->watches, begins, &start);
    if (core->tracking) tracking_invalidate_matching(core->tracking, begins, &start, prefix);
}

void told_table(struct core *core, const struct table *table) {
    tell(core, slice_from(table->prefix));
}

void told_all_rows(struct core *core) { tell(core, (struct slice){0}); }

void told_number(struct core *core, uint32_t number) {
    bool nobody = (!core->watches || watches_is_idle(core->watches)) &&
                  (!core->tracking || tracking_is_idle(core->tracking));
    if (nobody) return;
    struct tablemap *map = tablemaps_acquire(core->maps);
    const struct table *found = NULL;
    for (uint32_t i = 0; map && i < tablemap_count(map) && !found; i++)
        if (tablemap_at(map, i)->number == number) found = tablemap_at(map, i);
    if (found)
        told_table(core, found);
    else
        told_all_rows(core);
    if (map) tablemap_release(&map);
}

void told_of_lease(struct core *core, int64_t now_us) {
    bool holds = core_lease_holds(core, now_us);
    if (!holds && core->lease_held) told_all_rows(core);
    core->lease_held = holds;
}
