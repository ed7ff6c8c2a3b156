/* figures.h: a connector's metrics: freshet_connector_*{connector="name"}. Cells are atomic; any thread. */
#ifndef FRESHET_CONNECTORS_FIGURES_H
#define FRESHET_CONNECTORS_FIGURES_H

#include "base/metrics.h"

struct figures {
    char labels[128];
    struct metric *indexed;
    struct metric *deleted;
    struct metric *stale;
    struct metric *coalesced;
    struct metric *reread;
    struct metric *cleared;
    struct metric *dead_letters;
    struct metric *batches;
    struct metric *retries;
    struct metric *breaks;
    struct metric *unreadable;
    struct metric *give_ups;
    struct metric *loads;
    struct metric *position_saves;
    struct metric *verified;
    struct metric *differences;
    struct metric *repaired;
};

void figures_init(struct figures *figures, struct metrics *metrics, const char *connector);

#endif
