#include "server/admin_snapshot.h"

#include <jansson.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin_request.h"

/* A name up to a dot or the end, or in double quotes ("" for a quote). Moves *at past it. False: it is none. */
static bool take_name(const char **at, struct buf *name) {
    bool quoted = **at == '"';
    if (quoted) (*at)++;
    while (**at && (quoted || **at != '.')) {
        if (quoted && **at == '"') {
            if ((*at)[1] != '"') break;
            (*at)++;
        }
        buf_append_char(name, *(*at)++);
    }
    if (quoted && *(*at)++ != '"') return false;
    return name->len > 0;
}

/* table, or schema.table; without a schema it is public's. */
static bool split_table(const char *text, struct buf *schema, struct buf *name) {
    if (!take_name(&text, schema)) return false;
    if (*text == '.') {
        text++;
        return take_name(&text, name) && !*text;
    }
    if (*text) return false;
    buf_append_slice(name, buf_slice(schema));
    schema->len = 0;
    buf_append_text(schema, "public");
    return true;
}

static unsigned begin(struct service *service, struct MHD_Connection *connection, struct buf *out) {
    const char *table = admin_argument(connection, "table");
    struct buf schema = {0};
    struct buf name = {0};
    struct error err;
    uint64_t id;
    unsigned code = MHD_HTTP_OK;
    if (!table || !split_table(table, &schema, &name))
        code = admin_refuse(MHD_HTTP_BAD_REQUEST, "that is no table: SCHEMA.TABLE", out);
    else if (!service_snapshot(service, admin_argument(connection, "source"), buf_text(&schema),
                               buf_text(&name), admin_argument(connection, "where"), &id, &err))
        code = admin_refuse(MHD_HTTP_CONFLICT, err.message, out);
    else
        buf_printf(out, "{\"id\":%llu}\n", (unsigned long long)id);
    buf_deinit(&schema);
    buf_deinit(&name);
    return code;
}

static json_t *find(const json_t *list, json_int_t id) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *one = json_array_get(list, i);
        if (json_integer_value(json_object_get(one, "id")) == id) return one;
    }
    return NULL;
}

static unsigned tell(struct service *service, struct MHD_Connection *connection, struct buf *out) {
    const char *text = admin_argument(connection, "id");
    json_int_t id = text ? atoll(text) : 0;
    json_t *all = service_snapshots(service, admin_argument(connection, "source"));
    json_t *waiting = find(json_object_get(all, "tables"), id);
    json_t *done = find(json_object_get(all, "done"), id);
    const char *error = json_string_value(json_object_get(done, "error"));
    unsigned code = MHD_HTTP_OK;
    if (error) {
        code = admin_refuse(MHD_HTTP_CONFLICT, error, out);
    } else if (done || waiting) {
        json_t *state = done ? done : waiting;
        json_object_set_new(state, "state", json_string(done ? "done" : "waiting"));
        code = admin_answer(json_incref(state), out);
    } else {
        code = admin_refuse(MHD_HTTP_NOT_FOUND, "no such snapshot is known any more: see the log",
                            out);
    }
    json_decref(all);
    return code;
}

unsigned admin_snapshot(struct service *service, struct MHD_Connection *connection,
                        const char *method, struct buf *out) {
    unsigned code;
    if (!admin_takes(connection, method, &code, out)) return code;
    bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
    return get ? tell(service, connection, out) : begin(service, connection, out);
}
