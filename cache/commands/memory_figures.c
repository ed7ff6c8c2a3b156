#include "cache/commands/memory_figures.h"

#include <sys/resource.h>

#include "cache/front/roster.h"
#include "cache/store/store.h"

static void add_buffers(const struct card *card, void *arg) {
    struct memory_figures *figures = arg;
    uint64_t in = atomic_load_explicit(&card->query_bytes, memory_order_relaxed);
    uint64_t out = atomic_load_explicit(&card->output_bytes, memory_order_relaxed);
    if (in > figures->clients_most_in) figures->clients_most_in = in;
    if (out > figures->clients_most_out) figures->clients_most_out = out;
    figures->clients += in + out;
}

void memory_figures_read(const struct store_stats *store, struct roster *roster, int64_t now_ms,
                         struct memory_figures *figures) {
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    *figures = (struct memory_figures){
        .used = store->bytes, .resident = mem_resident(), .peak = (uint64_t)usage.ru_maxrss * 1024};
    mem_allocator(&figures->allocator);
    roster_each(roster, &(struct roster_filter){0}, now_ms, add_buffers, figures);
}

double memory_ratio(uint64_t above, uint64_t below) {
    return below ? (double)above / (double)below : 0.0;
}
