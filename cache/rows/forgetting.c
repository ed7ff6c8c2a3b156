#include "cache/rows/forgetting.h"

void forgetting_begin(struct core *core, struct forgetting *forgetting,
                      struct pgsnapshot *snapshot) {
    pgsnapshot_deinit(&forgetting->snapshot);
    forgetting->snapshot = *snapshot;
    *snapshot = (struct pgsnapshot){0};
    forgetting->waits = true;
    for (uint32_t i = 0; i < CORE_MAX_WORKERS; i++)
        forgetting->after[i] = atomic_load(&core->fillclocks[i].started);
}

static bool are_over(const struct core *core, const struct forgetting *forgetting) {
    if (!core_rule_holds(core, RULE_FORGET_LATE)) return true;
    for (uint32_t i = 0; i < CORE_MAX_WORKERS; i++) {
        if (atomic_load(&core->fillclocks[i].oldest) < forgetting->after[i]) return false;
    }
    return true;
}

void forgetting_go_on(struct core *core, struct forgetting *forgetting) {
    if (!forgetting->waits || !are_over(core, forgetting)) return;
    recent_forget(core->recent, &forgetting->snapshot);
    uint32_t n = tablestates_count(core->states);
    for (uint32_t i = 0; i < n; i++)
        tablestate_forget(tablestates_at(core->states, i), &forgetting->snapshot);
    forgetting->waits = false;
}

void forgetting_deinit(struct forgetting *forgetting) { pgsnapshot_deinit(&forgetting->snapshot); }
