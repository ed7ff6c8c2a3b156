#include "server/samplers.h"

#include "base/mem.h"
#include "server/sources.h"

enum { SAMPLE_INTERVAL_MS = 1000 };

static void add(struct samplers *samplers, const struct config *config,
                struct sampler_listener listener, struct log *log, struct metrics *metrics) {
    uint32_t n = 0;
    const char **slots = mem_calloc(config->n_connectors + 2, sizeof *slots);
    if (config->roles & ROLE_CACHE && config->cache.slot) slots[n++] = config->cache.slot;
    if (config->roles & ROLE_CDC) slots[n++] = config->cdc.slot;
    for (uint32_t i = 0; i < config->n_connectors && config->roles & ROLE_CONNECTORS; i++) {
        if (config->connectors[i].from == CONNECTOR_FROM_SLOT)
            slots[n++] = config->connectors[i].slot;
    }
    struct metrics *labelled = NULL;
    if (config->source) {
        char *label = mem_printf("source=\"%s\"", config->source);
        labelled = metrics_labelled(metrics, label);
        mem_free(label);
    }
    struct sampler_deps deps = {.log = log,
                                .metrics = labelled ? labelled : metrics,
                                .interval_ms = SAMPLE_INTERVAL_MS,
                                .alarm_bytes = config->retained_wal_alarm_bytes,
                                .n_slots = n,
                                .slots = slots,
                                .listener = listener,
                                .source = config->source};
    samplers->labelled[samplers->n] = labelled;
    samplers->each[samplers->n++] = sampler_create(config->database_url, &deps);
    mem_free(slots);
}

void samplers_create(struct samplers *samplers, const struct config *config,
                     struct sampler_listener listener, struct log *log, struct metrics *metrics) {
    size_t most = config->n_sources + (size_t)1;
    *samplers = (struct samplers){.each = mem_calloc(most, sizeof *samplers->each),
                                  .labelled = mem_calloc(most, sizeof *samplers->labelled)};
    if (config->database_url) add(samplers, config, listener, log, metrics);
    for (uint32_t i = 0; i < config->n_sources && config->roles & ROLE_CDC; i++)
        add(samplers, config->sources[i], (struct sampler_listener){0}, log, metrics);
}

void samplers_destroy(struct samplers *samplers) {
    for (uint32_t i = 0; i < samplers->n; i++) {
        sampler_destroy(&samplers->each[i]);
        if (samplers->labelled[i]) metrics_destroy(&samplers->labelled[i]);
    }
    mem_free(samplers->each);
    mem_free(samplers->labelled);
    *samplers = (struct samplers){0};
}

json_t *samplers_slots(const struct samplers *samplers) {
    json_t *all = NULL;
    for (uint32_t i = 0; i < samplers->n; i++) {
        json_t *slots = sampler_slots(samplers->each[i]);
        if (json_is_array(slots)) {
            if (!all) all = json_array();
            json_array_extend(all, slots);
        }
        json_decref(slots);
    }
    return all ? all : json_null();
}
