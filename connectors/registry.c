#include "connectors/registry.h"

#include <string.h>

#include "connectors/archive/archive.h"
#include "connectors/connector.h"
#include "connectors/opensearch/opensearch.h"
#include "connectors/redis/redis.h"
#include "connectors/refresh/refresh.h"
#include "connectors/view/view.h"
#include "connectors/webhook/webhook.h"

/* Names alone, beside the table, because connector_types() gives out a plain list. */
static const char *const names[] = {"opensearch", "view",  "refresh", "webhook",
                                    "archive",    "redis", NULL};

static const struct sink_type *const types[] = {&opensearch_sink, &view_sink,    &refresh_sink,
                                                &webhook_sink,    &archive_sink, &redis_sink};

const struct sink_type *registry_find(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i]->name, name) == 0) return types[i];
    }
    return NULL;
}

const char *const *connector_types(void) { return names; }

static bool lists(const char *words, const char *word) {
    size_t len = strlen(word);
    while (words && *words) {
        size_t n = strcspn(words, " ");
        if (n == len && memcmp(words, word, len) == 0) return true;
        words += n + (words[n] == ' ');
    }
    return false;
}

enum connector_option connector_option(const char *type, const char *option) {
    const struct sink_type *mine = registry_find(type);
    if (!mine || lists(mine->takes, option)) return CONNECTOR_TAKES;
    if (lists(mine->needs, option)) return CONNECTOR_NEEDS;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (lists(types[i]->needs, option) || lists(types[i]->takes, option))
            return CONNECTOR_REFUSES;
    }
    return CONNECTOR_TAKES;
}

bool connector_takes_many(const char *type) {
    const struct sink_type *mine = registry_find(type);
    return !mine || mine->takes_many;
}
