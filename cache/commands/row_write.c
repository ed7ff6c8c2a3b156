#include "cache/commands/row_write.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/commands/transaction.h"
#include "cache/front/client.h"
#include "cache/rows/core.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/statement.h"
#include "cache/values/number.h"
#include "cache/writes/write.h"
#include "cache/writes/writer.h"

enum { SHOWN_MAX = 128 };

/* How a command becomes operations, and what they answer. Composing false: an error was answered. */
struct row_command {
    const char *name;
    bool (*compose)(struct command_context *ctx, struct write *write);
    void (*answer)(struct command_context *ctx, const struct write_op *op);
};

static int shown(struct slice text) { return text.len < SHOWN_MAX ? (int)text.len : SHOWN_MAX; }

/* ---- composing ---- */

static const struct table *find_table(const struct command_context *ctx, struct slice key,
                                      struct slice *rest) {
    struct tablemap *map = ctx->keyspace->map;
    return map ? tablemap_find_key(map, key, rest) : NULL;
}

static struct write_op *add_op(struct command_context *ctx, struct write *write,
                               enum write_kind kind, struct slice key) {
    struct slice rest;
    struct rowkey row;
    struct buf scratch = {0};
    struct buf failure = {0};
    struct write_op *op = NULL;
    const struct table *table = find_table(ctx, key, &rest);
    if (rowkey_parse(table, rest, &scratch, &row, &failure)) {
        op = write_add(write, kind, table, key, store_hash(ctx->store, key), &row);
        op->command = ctx->fetched_as;
    } else {
        reply_error(ctx->reply, "%s", buf_text(&failure));
    }
    buf_deinit(&scratch);
    buf_deinit(&failure);
    return op;
}

static bool find_column(struct command_context *ctx, const struct write_op *op, struct slice name,
                        uint16_t *column) {
    for (uint16_t i = 0; i < op->table->n_columns; i++) {
        *column = i;
        if (slice_equal(slice_from(op->table->columns[i]), name)) return true;
    }
    reply_error(ctx->reply, "ERR %s: there is no column \"%.*s\"", op->table->prefix, shown(name),
                name.data);
    return false;
}

static bool set_field(struct command_context *ctx, struct write *write, struct write_op *op,
                      struct slice name, struct slice value) {
    uint16_t column;
    if (!find_column(ctx, op, name, &column)) return false;
    if (value.len > 0 && memchr(value.data, '\0', value.len)) {
        reply_error(ctx->reply, "ERR %s: column \"%.*s\" cannot hold a NUL byte", op->table->prefix,
                    shown(name), name.data);
        return false;
    }
    write_set(write, op, column, value);
    return true;
}

static bool compose_hset(struct command_context *ctx, struct write *write) {
    if (ctx->argc % 2 != 0) {
        cmd_answer_arity(ctx);
        return false;
    }
    struct write_op *op = add_op(ctx, write, WRITE_UPDATE, ctx->argv[1]);
    for (uint32_t i = 2; op && i < ctx->argc; i += 2)
        if (!set_field(ctx, write, op, ctx->argv[i], ctx->argv[i + 1])) return false;
    return op != NULL;
}

static bool compose_hsetnx(struct command_context *ctx, struct write *write) {
    struct write_op *op = add_op(ctx, write, WRITE_UPDATE_NEW, ctx->argv[1]);
    return op && set_field(ctx, write, op, ctx->argv[2], ctx->argv[3]);
}

static bool compose_hdel(struct command_context *ctx, struct write *write) {
    struct write_op *op = add_op(ctx, write, WRITE_UPDATE, ctx->argv[1]);
    for (uint32_t i = 2; op && i < ctx->argc; i++)
        if (!set_field(ctx, write, op, ctx->argv[i], (struct slice){0})) return false;
    return op != NULL;
}

static bool compose_hincrby(struct command_context *ctx, struct write *write) {
    int64_t by;
    if (!cmd_integer(ctx, ctx->argv[3], &by)) return false;
    struct write_op *op = add_op(ctx, write, WRITE_ADD, ctx->argv[1]);
    if (!op) return false;
    op->whole_number = true;
    return set_field(ctx, write, op, ctx->argv[2], ctx->argv[3]);
}

static bool compose_hincrbyfloat(struct command_context *ctx, struct write *write) {
    long double by;
    if (!cmd_float(ctx, ctx->argv[3], &by)) return false;
    struct write_op *op = add_op(ctx, write, WRITE_ADD, ctx->argv[1]);
    return op && set_field(ctx, write, op, ctx->argv[2], ctx->argv[3]);
}

/* The names of a JSON object; what they mean is the database's to say. */
static bool set_json(struct command_context *ctx, struct write *write, struct write_op *op,
                     struct slice text) {
    json_error_t err;
    json_t *object =
        json_loadb(text.data ? text.data : "", text.len, JSON_DECODE_INT_AS_REAL, &err);
    bool good = json_is_object(object) && !memchr(text.data, '\0', text.len);
    if (!good)
        reply_error(ctx->reply, "ERR %s: the value is not a JSON object%s%s", op->table->prefix,
                    object ? "" : ": ", object ? "" : err.text);
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        uint16_t column;
        (void)value;
        good = good && find_column(ctx, op, slice_from(name), &column);
        /* As GET gave it back; the database computes it anew. */
        if (good && !op->table->generated[column]) write_set(write, op, column, (struct slice){0});
    }
    json_decref(object);
    op->json = arena_dup(write->arena, text);
    return good;
}

static bool compose_json(struct command_context *ctx, struct write *write, enum write_kind kind,
                         uint32_t at) {
    struct write_op *op = add_op(ctx, write, kind, ctx->argv[at]);
    return op && set_json(ctx, write, op, ctx->argv[at + 1]);
}

static bool compose_set(struct command_context *ctx, struct write *write) {
    enum write_kind kind = WRITE_UPSERT;
    for (uint32_t i = 3; i < ctx->argc; i++) {
        bool nx = slice_equal_nocase(ctx->argv[i], SLICE("nx"));
        if (kind != WRITE_UPSERT || (!nx && !slice_equal_nocase(ctx->argv[i], SLICE("xx")))) {
            reply_error(ctx->reply, "ERR of a row only NX or XX can be asked: it has no TTL of its "
                                    "own (EXPIRE shortens its stay in memory)");
            return false;
        }
        kind = nx ? WRITE_INSERT : WRITE_REPLACE;
    }
    return compose_json(ctx, write, kind, 1);
}

static bool compose_setnx(struct command_context *ctx, struct write *write) {
    return compose_json(ctx, write, WRITE_INSERT, 1);
}

static bool compose_mset(struct command_context *ctx, struct write *write) {
    if (ctx->argc % 2 == 0) {
        cmd_answer_arity(ctx);
        return false;
    }
    for (uint32_t i = 1; i < ctx->argc; i += 2)
        if (!compose_json(ctx, write, WRITE_UPSERT, i)) return false;
    return true;
}

static bool has_op(const struct write *write, uint32_t command, struct slice key) {
    for (uint32_t i = 0; i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        if (op->command == command && write_changes(op) && slice_equal(op->key, key)) return true;
    }
    return false;
}

/* Two that lock the same rows lock them in the same order; of one row's, the last one given is the last. */
static int by_key(const void *a, const void *b) {
    const struct write_op *left = a;
    const struct write_op *right = b;
    if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
}

static void sort_ops(struct write *write, uint32_t from) {
    for (uint32_t i = from; i < write->n_ops; i++)
        write->ops[i].place = i;
    if (write->n_ops > from)
        qsort(write->ops + from, write->n_ops - from, sizeof *write->ops, by_key);
}

/* Keys of other kinds are the command's own, once this is done. */
static bool compose_del(struct command_context *ctx, struct write *write) {
    uint32_t first = write->n_ops;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        struct slice rest;
        const struct table *table = find_table(ctx, ctx->argv[i], &rest);
        if (!table || !table->writes || has_op(write, ctx->fetched_as, ctx->argv[i])) continue;
        if (!add_op(ctx, write, WRITE_DELETE, ctx->argv[i])) return false;
    }
    sort_ops(write, first);
    return true;
}

/* ---- answering ---- */

static void tell(struct command_context *ctx, const struct write_op *op, const char *event) {
    if (op->changed) cmd_notify(ctx, NOTIFY_HASH, event, op->key);
}

static void answer_hset(struct command_context *ctx, const struct write_op *op) {
    tell(ctx, op, "hset");
    reply_integer(ctx->reply, op->changed ? op->count : 0);
}

static void answer_hmset(struct command_context *ctx, const struct write_op *op) {
    tell(ctx, op, "hset");
    reply_ok(ctx->reply);
}

static void answer_hsetnx(struct command_context *ctx, const struct write_op *op) {
    tell(ctx, op, "hset");
    reply_integer(ctx->reply, op->changed);
}

static void answer_hdel(struct command_context *ctx, const struct write_op *op) {
    int64_t removed = op->changed ? op->n_fields - op->count : 0;
    if (removed > 0) tell(ctx, op, "hdel");
    reply_integer(ctx->reply, removed);
}

static void answer_hincrby(struct command_context *ctx, const struct write_op *op) {
    int64_t value = 0;
    tell(ctx, op, "hincrby");
    if (number_parse_i64(op->text, &value))
        reply_integer(ctx->reply, value);
    else
        reply_bulk(ctx->reply, op->text);
}

static void answer_hincrbyfloat(struct command_context *ctx, const struct write_op *op) {
    tell(ctx, op, "hincrbyfloat");
    reply_bulk(ctx->reply, op->text);
}

static void tell_set(struct command_context *ctx, const struct write_op *op) {
    if (op->changed) cmd_notify(ctx, NOTIFY_STRING, "set", op->key);
}

static void answer_set(struct command_context *ctx, const struct write_op *op) {
    tell_set(ctx, op);
    bool refused =
        (op->kind == WRITE_INSERT && !op->changed) || (op->kind == WRITE_REPLACE && !op->found);
    if (refused)
        reply_null(ctx->reply);
    else
        reply_ok(ctx->reply);
}

static void answer_setnx(struct command_context *ctx, const struct write_op *op) {
    tell_set(ctx, op);
    reply_integer(ctx->reply, op->changed);
}

static void answer_mset(struct command_context *ctx, const struct write_op *op) {
    const struct write *write = row_write_of(ctx);
    for (; op < write->ops + write->n_ops && op->command == ctx->fetched->command; op++)
        tell_set(ctx, op);
    reply_ok(ctx->reply);
}

static const struct row_command row_commands[] = {
    {"del", compose_del, NULL},
    {"hdel", compose_hdel, answer_hdel},
    {"hincrby", compose_hincrby, answer_hincrby},
    {"hincrbyfloat", compose_hincrbyfloat, answer_hincrbyfloat},
    {"hmset", compose_hset, answer_hmset},
    {"hset", compose_hset, answer_hset},
    {"hsetnx", compose_hsetnx, answer_hsetnx},
    {"mset", compose_mset, answer_mset},
    {"set", compose_set, answer_set},
    {"setnx", compose_setnx, answer_setnx},
    {"unlink", compose_del, NULL},
};

static const struct row_command *find_command(const struct command *command) {
    for (size_t i = 0; i < sizeof row_commands / sizeof row_commands[0]; i++)
        if (strcmp(row_commands[i].name, command->name) == 0) return &row_commands[i];
    return NULL;
}

/* ---- one command ---- */

/* Rows are written in the database; a plain write to a row's key would be a lie about it. */
static void refuse(struct command_context *ctx, const struct table *table, struct slice key) {
    if (table->query)
        reply_error(ctx->reply, "READONLY '%.*s' is the result of a named query: change its tables",
                    shown(key), key.data);
    else if (table->writes)
        reply_error(ctx->reply,
                    "READONLY '%.*s' is a row of a table: %s cannot write it (HSET, HSETNX, HDEL, "
                    "HINCRBY, HINCRBYFLOAT, SET, SETNX, MSET and DEL can)",
                    shown(key), key.data, ctx->command->name);
    else
        reply_error(ctx->reply,
                    "READONLY '%.*s' is a row of a table: change it in the database (cache.writes "
                    "is refuse)",
                    shown(key), key.data);
}

/* What a command's keys are, all together. */
struct targets {
    uint32_t plain, rows, through;
    const struct table *refused; /* the first that is not written through, and its key */
    struct slice refused_key;
};

static struct targets look_at(struct command_context *ctx, const struct slice *argv,
                              struct command_key_iter keys) {
    struct targets targets = {0};
    tablemaps_refresh(ctx->keyspace->core->maps, &ctx->keyspace->map);
    for (uint32_t i; (i = command_next_key(&keys));) {
        struct slice rest;
        const struct table *table = find_table(ctx, argv[i], &rest);
        if (!table) {
            targets.plain++;
            continue;
        }
        targets.rows++;
        targets.through += table->writes;
        if (table->writes || targets.refused) continue;
        targets.refused = table;
        targets.refused_key = argv[i];
    }
    return targets;
}

static bool only_evicts(const struct command *command) {
    return (command->flags & CMD_ROW_WRITE) != 0;
}

static void submit(struct command_context *ctx, struct write **write) {
    struct keyspace *keyspace = ctx->keyspace;
    (*write)->ticket = client_ticket(ctx);
    (*write)->client_id = client_id(ctx->client);
    ctx->n_pending++;
    writer_submit(keyspace->writer, write);
}

static void begin(struct command_context *ctx, const struct row_command *how) {
    struct write *write = write_create(ctx->keyspace->map);
    if (how->compose(ctx, write))
        submit(ctx, &write);
    else
        write_destroy(&write);
}

/* The second run. DEL has other keys to look after; of an EXEC only those commands are here that have written. */
static enum row_write_verdict finish(struct command_context *ctx, const struct write *write) {
    const struct row_command *how = find_command(ctx->command);
    if (write->outcome != WRITE_DONE) {
        reply_error(ctx->reply, "%.*s", (int)write->failure.len, write->failure.data);
        return ROW_WRITE_OVER;
    }
    for (uint32_t i = 0; how && i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        if (op->command != ctx->fetched->command || !write_changes(op)) continue;
        if (!how->answer) return ROW_WRITE_PLAIN;
        how->answer(ctx, op);
        return ROW_WRITE_OVER;
    }
    return ROW_WRITE_PLAIN;
}

static enum row_write_verdict check_keys(struct command_context *ctx,
                                         struct command_key_iter keys) {
    /* Where nothing is written through there is no writer. */
    if (only_evicts(ctx->command) && !(ctx->keyspace->writer && find_command(ctx->command)))
        return ROW_WRITE_PLAIN;
    struct targets targets = look_at(ctx, ctx->argv, keys);
    const struct row_command *how = targets.through ? find_command(ctx->command) : NULL;
    if (only_evicts(ctx->command) && !how) return ROW_WRITE_PLAIN;
    if (targets.rows == 0) return ROW_WRITE_PLAIN;
    if (targets.refused && !only_evicts(ctx->command)) {
        refuse(ctx, targets.refused, targets.refused_key);
    } else if (!how) {
        struct slice rest;
        uint32_t i = command_next_key(&keys);
        while (!find_table(ctx, ctx->argv[i], &rest))
            i = command_next_key(&keys);
        refuse(ctx, find_table(ctx, ctx->argv[i], &rest), ctx->argv[i]);
    } else if (targets.plain > 0 && !only_evicts(ctx->command)) {
        reply_error(ctx->reply, "ERR '%s' cannot write rows and plain keys at once",
                    ctx->command->name);
    } else if (ctx->in_exec) {
        reply_error(ctx->reply, "ERR '%s' cannot be answered within EXEC now: try again",
                    ctx->command->name);
    } else {
        begin(ctx, how);
    }
    return ROW_WRITE_OVER;
}

enum row_write_verdict row_write_check(struct command_context *ctx, struct command_key_iter keys) {
    if (!(ctx->command->flags & CMD_WRITE) || !ctx->keyspace) return ROW_WRITE_PLAIN;
    const struct write *write = row_write_of(ctx);
    if (write && finish(ctx, write) == ROW_WRITE_OVER) return ROW_WRITE_OVER;
    if (write && row_write_deleted(ctx) >= 0) return ROW_WRITE_PLAIN;
    return check_keys(ctx, keys);
}

int64_t row_write_deleted(const struct command_context *ctx) {
    const struct write *write = row_write_of(ctx);
    int64_t n = -1;
    for (uint32_t i = 0; write && i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        if (op->command != ctx->fetched->command || op->kind != WRITE_DELETE) continue;
        n = (n < 0 ? 0 : n) + op->changed;
    }
    return n;
}

bool row_write_has(const struct command_context *ctx, struct slice key) {
    const struct write *write = row_write_of(ctx);
    return write && has_op(write, ctx->fetched->command, key);
}

/* ---- EXEC ---- */

/* What a watched row was; as it stands in memory, where nothing has touched it since. False: it is not there. */
static bool add_watched(struct command_context *ctx, struct write *write, struct slice key,
                        uint64_t hash) {
    const struct entry *entry = store_peek(ctx->store, key, hash, ctx->now_ms);
    if (!entry || entry->kind != ENTRY_ROW) return false;
    struct slice before = {0};
    enum key_form form = FORM_STRING;
    if (!entry_is_absent(entry) && !entry_row_json(entry, &before)) {
        form = FORM_HASH;
        if (!entry_row_fields(entry, &before)) return false;
    }
    struct write_op *op = add_op(ctx, write, WRITE_HOLD, key);
    if (!op) return false;
    op->form = form;
    if (before.data) op->before = arena_dup(write->arena, before);
    return true;
}

static bool add_all_watched(struct command_context *ctx, struct write *write,
                            struct transaction *tx) {
    write->watches = transaction_watched(tx) > 0;
    for (uint32_t i = 0; i < transaction_watched(tx); i++) {
        uint64_t hash;
        struct slice rest;
        struct slice key = transaction_watched_at(tx, i, &hash);
        const struct table *table = find_table(ctx, key, &rest);
        if (table && !table->query && !add_watched(ctx, write, key, hash)) transaction_touch(tx);
    }
    sort_ops(write, 0);
    return !transaction_is_touched(tx);
}

static enum key_form wanted_form(const struct command *command) {
    switch (command->group) {
    case GROUP_HASH: return FORM_HASH;
    case GROUP_LIST: return FORM_LIST;
    case GROUP_SORTED_SET: return FORM_ZSET;
    case GROUP_GENERIC: return FORM_ANY;
    default: return FORM_STRING;
    }
}

/* Rows that a queued command reads, as they are at its place. */
static void add_reads(struct command_context *ctx, struct write *write) {
    enum key_form form = wanted_form(ctx->command);
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    for (uint32_t i; (i = command_next_key(&keys));) {
        struct slice rest;
        const struct table *table = find_table(ctx, ctx->argv[i], &rest);
        struct rowkey row;
        struct buf scratch = {0};
        struct buf failure = {0};
        if (!table || table->refusal || !statement_fits(table, form)) continue;
        /* One that is malformed is answered so, in its turn. */
        if (rowkey_parse(table, rest, &scratch, &row, &failure)) {
            struct write_op *op = write_add(write, WRITE_READ, table, ctx->argv[i],
                                            store_hash(ctx->store, ctx->argv[i]), &row);
            op->command = ctx->fetched_as;
            op->form = statement_form(table, form);
        }
        buf_deinit(&scratch);
        buf_deinit(&failure);
    }
}

static bool writes_rows(struct command_context *ctx, const struct queued *queued) {
    if (!(queued->command->flags & CMD_WRITE) || !find_command(queued->command)) return false;
    struct command_key_iter keys = command_keys(queued->command, queued->argv, queued->argc);
    return look_at(ctx, queued->argv, keys).through > 0;
}

/* A queued command as a part of the write. */
static bool add_queued(struct command_context *ctx, struct write *write, struct queued *queued,
                       uint32_t i) {
    struct command_context one = *ctx;
    one.argv = queued->argv;
    one.argc = queued->argc;
    one.command = queued->command;
    one.fetched_as = i;
    if (writes_rows(&one, queued)) {
        struct command_key_iter keys = command_keys(queued->command, queued->argv, queued->argc);
        struct targets targets = look_at(&one, queued->argv, keys);
        if (targets.refused && !only_evicts(queued->command)) {
            refuse(&one, targets.refused, targets.refused_key);
            return false;
        }
        return find_command(queued->command)->compose(&one, write);
    }
    if (queued->command->flags & CMD_READONLY) add_reads(&one, write);
    return true;
}

enum row_write_begun row_write_exec(struct command_context *ctx, struct transaction *tx) {
    bool any = false;
    if (!ctx->keyspace) return ROW_WRITE_NONE;
    tablemaps_refresh(ctx->keyspace->core->maps, &ctx->keyspace->map);
    for (uint32_t i = 0; !any && i < transaction_length(tx); i++)
        any = writes_rows(ctx, transaction_at(tx, i));
    if (!any) return ROW_WRITE_NONE;
    struct write *write = write_create(ctx->keyspace->map);
    if (!add_all_watched(ctx, write, tx)) {
        write_destroy(&write);
        return ROW_WRITE_NONE; /* it runs, and finds that it is touched */
    }
    for (uint32_t i = 0; i < transaction_length(tx); i++) {
        if (add_queued(ctx, write, transaction_at(tx, i), i)) continue;
        write_destroy(&write);
        return ROW_WRITE_REFUSED;
    }
    submit(ctx, &write);
    return ROW_WRITE_BEGUN;
}

static int by_hash(const void *a, const void *b) {
    uint64_t left = ((const struct fetched_row *)a)->hash;
    uint64_t right = ((const struct fetched_row *)b)->hash;
    return left < right ? -1 : left > right;
}

void row_write_share(const struct command_context *ctx, uint32_t command,
                     struct fetched_rows *own) {
    struct write *write = row_write_of(ctx);
    *own = (struct fetched_rows){.write = write, .command = command};
    own->rows = mem_calloc(write->n_ops + 1, sizeof *own->rows);
    for (uint32_t i = 0; i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        if (op->command != command || op->kind != WRITE_READ) continue;
        struct fetched_row *row = &own->rows[own->n++];
        *row = (struct fetched_row){.form = op->form, .key = op->key, .hash = op->hash};
        row->value = rowvalue_create(op->image.data ? ROWVALUE_ROW : ROWVALUE_ABSENT, op->form,
                                     STORE_NEVER, op->image);
        row->value->type = statement_kind(op->table);
    }
    qsort(own->rows, own->n, sizeof *own->rows, by_hash);
}

void row_write_unshare(struct fetched_rows *own) {
    for (uint32_t i = 0; i < own->n; i++)
        rowvalue_release(&own->rows[i].value);
    mem_free(own->rows);
}
