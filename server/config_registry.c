/* cdc.format.encoding and cdc.schema_registry: what fits together. */
#include <string.h>

#include "base/mem.h"
#include "cdc/encode/encode.h"
#include "server/config.h"

static const char url_path[] = "cdc.schema_registry.url";
static const char ids_path[] = "cdc.schema_registry.ids";

static void check_ids(const struct config *config, struct mistakes *mistakes) {
    const struct schema_registry_config *registry = &config->cdc.registry;
    for (uint32_t i = 0; i < registry->n_ids; i++) {
        const char *subject = registry->ids[i].name;
        uint32_t id;
        if (schema_registry_parse_id(registry->ids[i].value, &id)) continue;
        char *path = mem_printf("%s.%s", ids_path, subject);
        mistakes_add(mistakes, config_pair_where(config, ids_path, subject), path,
                     "\"%.40s\" is no schema's id, write a number", registry->ids[i].value);
        mem_free(path);
    }
}

void config_check_registry(const struct config *config, const char *file,
                           struct mistakes *mistakes) {
    const struct publisher_config *cdc = &config->cdc;
    const struct schema_registry_config *registry = &cdc->registry;
    const struct event_encoder *encoder = event_encoder_find(cdc->format.encoding);
    const char *at = config_value(config, "cdc.format.encoding")->where;
    check_ids(config, mistakes);
    if (registry->url && strncmp(registry->url, "http://", 7) != 0 &&
        strncmp(registry->url, "https://", 8) != 0)
        mistakes_add(mistakes, config_value(config, url_path)->where, url_path,
                     "is no http:// or https:// URL");
    if (registry->url && registry->n_ids)
        mistakes_add(
            mistakes, config_value(config, ids_path)->where, ids_path,
            "and cdc.schema_registry.url are both set: ids come from the one or the other");
    if (!encoder || !encoder->registers || !(config->roles & ROLE_CDC)) return;
    if (!registry->url && !registry->n_ids && !config_value(config, url_path)->wrong)
        mistakes_add(
            mistakes, file ? file : "configuration", url_path,
            "is not set, and cdc.format.encoding: %s needs it: give the registry's URL, or "
            "cdc.schema_registry.ids",
            encoder->name);
    if (cdc->output == OUTPUT_STDOUT)
        mistakes_add(mistakes, at, "cdc.format.encoding",
                     "\"%s\" is binary, and cdc.output: stdout writes lines of JSON",
                     encoder->name);
    if (cdc->format.decimals == DECIMALS_PRECISE && cdc->format.non_finite == NON_FINITE_STRING)
        mistakes_add(mistakes, config_value(config, "cdc.format.non_finite")->where,
                     "cdc.format.non_finite",
                     "\"string\" does not fit cdc.format.encoding: %s, whose decimals are bytes; "
                     "write null, or cdc.format.decimals: string",
                     encoder->name);
}
