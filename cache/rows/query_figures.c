#include "cache/rows/query_figures.h"

#include "base/assert.h"
#include "base/mem.h"

struct figures_of {
    struct metric *results[QUERY_OUTCOMES];
    struct metric *fences;
};

struct query_figures {
    uint32_t n;
    struct figures_of of[];
};

struct query_figures *query_figures_create(struct metrics *metrics,
                                           const struct cache_config *config) {
    static const char *const outcomes[QUERY_OUTCOMES] = {"stored", "uncached", "too_big", "failed"};
    struct query_figures *figures =
        mem_zalloc(sizeof *figures + config->n_queries * sizeof figures->of[0]);
    figures->n = config->n_queries;
    for (uint32_t i = 0; i < figures->n; i++) {
        for (size_t o = 0; o < QUERY_OUTCOMES; o++) {
            char *labels =
                mem_printf("query=\"%s\",outcome=\"%s\"", config->queries[i].name, outcomes[o]);
            figures->of[i].results[o] =
                metrics_counter(metrics, "freshet_cache_query_results_total",
                                "Results of named queries that were read from the database, by "
                                "what became of them.",
                                labels);
            mem_free(labels);
        }
        char *label = mem_printf("query=\"%s\"", config->queries[i].name);
        figures->of[i].fences =
            metrics_counter(metrics, "freshet_cache_query_fences_total",
                            "Changes that evicted all results of a named query at once.", label);
        mem_free(label);
    }
    return figures;
}

void query_figures_destroy(struct query_figures **figures) {
    mem_free(*figures);
    *figures = NULL;
}

void query_figures_result(struct query_figures *figures, const struct table *table,
                          enum query_outcome outcome) {
    if (!table->query || !figures) return;
    ASSERT(table->number < figures->n);
    metric_add(figures->of[table->number].results[outcome], 1);
}

void query_figures_fenced(struct query_figures *figures, uint32_t number) {
    if (figures && number < figures->n) metric_add(figures->of[number].fences, 1);
}
