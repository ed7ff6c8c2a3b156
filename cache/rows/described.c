#include "cache/rows/described.h"

#include <string.h>

static void put_number(void *arg, unsigned number, struct buf *out) {
    (void)arg;
    buf_printf(out, "$%u", number);
}

static const char *copy_message(struct arena *arena, const PGresult *result, PGconn *conn) {
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    return arena_strdup(arena, message ? message : PQerrorMessage(conn));
}

static void describe(PGconn *conn, const struct cache_query_config *config, struct arena *arena,
                     struct tablemap_query *query) {
    struct buf sql = {0};
    named_substitute(config->sql, put_number, NULL, &sql);
    PGresult *result = PQprepare(conn, "", buf_text(&sql), 0, NULL);
    buf_deinit(&sql);
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        PQclear(result);
        result = PQdescribePrepared(conn, "");
    }
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        query->refusal = copy_message(arena, result, conn);
    } else if (PQnfields(result) == 0) {
        query->refusal = "its SQL gives no columns";
    } else if (config->shape == SHAPE_VALUE && PQnfields(result) != 1) {
        query->refusal = "a value is one column, its SQL gives several";
    } else {
        uint32_t *oids = arena_zalloc(arena, (size_t)PQnparams(result) * sizeof *oids + 1);
        query->n_parameters = (uint16_t)PQnparams(result);
        for (int i = 0; i < PQnparams(result); i++)
            oids[i] = PQparamtype(result, i);
        query->type_oids = oids;
    }
    PQclear(result);
}

const struct tablemap_query *described_load(PGconn *conn, const struct cache_config *config,
                                            struct arena *arena, struct error *err) {
    struct tablemap_query *queries = arena_zalloc(arena, config->n_queries * sizeof *queries + 1);
    for (uint32_t i = 0; i < config->n_queries; i++) {
        describe(conn, &config->queries[i], arena, &queries[i]);
        if (PQstatus(conn) == CONNECTION_OK) continue;
        error_set(err, ERROR_UNAVAILABLE, true, "describing named queries: %s",
                  PQerrorMessage(conn));
        return NULL;
    }
    return queries;
}
