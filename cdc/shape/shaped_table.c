#include "cdc/shape/shaped_table.h"

struct event_table *shaped_table_create(const struct publisher_config *config,
                                        const struct event_table_plan *plan) {
    const struct relation *relation = plan->relation;
    struct shape_plan shape_plan = {.rules = &config->shape,
                                    .relation = relation,
                                    .catalog = plan->catalog,
                                    .admitted =
                                        publisher_wants(config, relation->schema, relation->name)};
    struct table_shape *shape = table_shape_create(&shape_plan);
    struct event_table_plan shaped = *plan;
    if (shape) shaped.relation = &shape->relation;
    shaped.shape = shape;
    const struct shape_rules *rules = &config->shape;
    if (shape && rules->hash_salt)
        shaped.masker = masker_create(rules->hash_algorithm, rules->hash_salt);
    struct event_table *table = event_table_create(&shaped);
    if (shape &&
        shape->view == VIEW_KEYS_ONLY) { /* which columns are the key, the table has told */
        table_shape_keep(shape, table->n_key, table->key);
        event_table_destroy(&table);
        table = event_table_create(&shaped);
    }
    masker_destroy(&shaped.masker);
    table->shape = shape;
    const struct outbox_entry *entry =
        outbox_find(config->n_outboxes, config->outboxes, relation->schema, relation->name);
    if (entry) table->outbox = outbox_create(entry, shaped.relation);
    return table;
}
