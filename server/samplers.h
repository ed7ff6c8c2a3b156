/* samplers.h: one sampler for each database that the configuration names.
 *
 *     samplers_create(&samplers, config, log, metrics);   their threads run
 *     json_t *slots = samplers_slots(&samplers);          of all of them; null where none knows */
#ifndef FRESHET_SERVER_SAMPLERS_H
#define FRESHET_SERVER_SAMPLERS_H

#include "server/config.h"
#include "server/sampler.h"

struct samplers {
    uint32_t n;
    struct sampler **each;
    struct metrics **labelled; /* of sources; NULL: the process's own */
};

/* `listener` is told of the main database's slots. */
void samplers_create(struct samplers *samplers, const struct config *config,
                     struct sampler_listener listener, struct log *log, struct metrics *metrics);
void samplers_destroy(struct samplers *samplers);
/* A new reference for the caller. Any thread. */
json_t *samplers_slots(const struct samplers *samplers);

#endif
