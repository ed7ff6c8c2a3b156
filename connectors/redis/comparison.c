#include "connectors/redis/comparison.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"
#include "connectors/redis/command.h"
#include "connectors/redis/plan.h"

enum { ROWS_PER_COMMAND = 512, SCAN_COUNT = 1000 };

/* One row of a comparison. */
struct look {
    struct entry old;
    bool known;  /* `old` is remembered */
    bool wanted; /* it should stand at `place` */
    bool asked;
    struct place place;
    const redisReply *reply;
};

static uint64_t hash_of(struct slice bytes) {
    return XXH3_64bits_withSeed(bytes.len ? bytes.data : "", bytes.len, 0);
}

/* ---- asking ---- */

static bool ask_entries(const struct comparison_view *view, const struct batch *batch,
                        struct look *looks, struct replies *replies, struct error *err) {
    struct buf out = {0};
    size_t n = 0;
    for (size_t from = 0; from < batch->n_writes; from += ROWS_PER_COMMAND, n++) {
        size_t left = batch->n_writes - from;
        size_t here = left < ROWS_PER_COMMAND ? left : ROWS_PER_COMMAND;
        command_begin(&out, 2 + here);
        command_text_arg(&out, "HMGET");
        command_text_arg(&out, ledger_rows_key(view->ledger));
        for (size_t i = from; i < from + here; i++)
            command_arg(&out, batch->writes[i].key);
    }
    bool done = ledger_read(view->ledger, buf_slice(&out), n, replies, err);
    for (size_t i = 0; done && i < batch->n_writes; i++) {
        const redisReply *page = replies->at[i / ROWS_PER_COMMAND];
        const redisReply *value =
            i % ROWS_PER_COMMAND < page->elements ? page->element[i % ROWS_PER_COMMAND] : page;
        if (value->type == REDIS_REPLY_STRING)
            looks[i].known = entry_read(slice_make(value->str, value->len), &looks[i].old);
    }
    buf_deinit(&out);
    return done;
}

/* Where it stands by what is remembered; where nothing is, where it should or could. */
static void append_read(const struct comparison_view *view, const struct look *look,
                        struct buf *out) {
    enum entry_kind kind = look->known ? look->old.kind : plan_entry_kind(view->layout);
    struct slice key = look->known ? look->old.key : buf_slice(&look->place.key);
    struct slice member = look->known ? look->old.member : buf_slice(&look->place.member);
    bool is_hash = layout_kind(view->layout) == LAYOUT_HASH;
    const char *command = kind == ENTRY_SET          ? "SISMEMBER"
                          : kind == ENTRY_SORTED_SET ? "ZSCORE"
                          : is_hash                  ? "HGETALL"
                                                     : "GET";
    command_begin(out, kind == ENTRY_KEY ? 2 : 3);
    command_text_arg(out, command);
    command_arg(out, key);
    if (kind != ENTRY_KEY) command_arg(out, member);
}

static bool ask_contents(const struct comparison_view *view, struct look *looks, size_t n_looks,
                         struct replies *replies, struct error *err) {
    struct buf out = {0};
    size_t n = 0;
    for (size_t i = 0; i < n_looks; i++) {
        if (!looks[i].asked) continue;
        append_read(view, &looks[i], &out);
        n++;
    }
    bool done = link_exchange(view->link, buf_slice(&out), n, replies, err);
    n = 0;
    for (size_t i = 0; done && i < n_looks; i++) {
        if (looks[i].asked) looks[i].reply = replies->at[n++];
    }
    buf_deinit(&out);
    return done;
}

/* ---- judging ---- */

/* An error is a key of another type: nothing of ours. */
static bool is_there(const redisReply *reply) {
    switch (reply->type) {
    case REDIS_REPLY_STRING: return true;
    case REDIS_REPLY_ARRAY: return reply->elements > 0;
    case REDIS_REPLY_INTEGER: return reply->integer != 0;
    default: return false;
    }
}

/* A hash's fields come in any order. */
static uint64_t digest_of(const redisReply *reply) {
    if (reply->type == REDIS_REPLY_STRING) return hash_of(slice_make(reply->str, reply->len));
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *field = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        sum += XXH3_64bits_withSeed(value->str, value->len,
                                    hash_of(slice_make(field->str, field->len)));
    }
    return sum;
}

static bool equals_document(const redisReply *reply, const struct shape *shape,
                            const struct write *write) {
    struct buf wanted = {0};
    plan_append_document(&wanted, shape, write);
    bool equal = reply->type == REDIS_REPLY_STRING &&
                 slice_equal(slice_make(reply->str, reply->len), buf_slice(&wanted));
    buf_deinit(&wanted);
    return equal;
}

static bool equals_hash(const redisReply *reply, const struct shape *shape,
                        const struct write *write) {
    uint64_t sum = 0;
    size_t n = 0;
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        const struct value *value = &write->row[i];
        if (value->kind != VALUE_TEXT) continue;
        sum += XXH3_64bits_withSeed(value->data, value->len,
                                    hash_of(slice_from(shape->columns[i].name)));
        n++;
    }
    return reply->elements == 2 * n && digest_of(reply) == sum;
}

static bool equals_score(const redisReply *reply, const struct place *place) {
    struct buf text = place->score;
    return reply->type == REDIS_REPLY_STRING &&
           strtod(reply->str, NULL) == strtod(buf_text(&text), NULL);
}

static bool has_content(const struct comparison_view *view, const struct look *look,
                        const struct shape *shape, const struct write *write) {
    switch (layout_kind(view->layout)) {
    case LAYOUT_JSON: return equals_document(look->reply, shape, write);
    case LAYOUT_HASH: return equals_hash(look->reply, shape, write);
    case LAYOUT_SET: return true;
    case LAYOUT_SORTED_SET: return equals_score(look->reply, &look->place);
    }
    return false;
}

static bool in_place(const struct comparison_view *view, const struct look *look) {
    return look->known && look->old.kind == plan_entry_kind(view->layout) &&
           slice_equal(look->old.key, buf_slice(&look->place.key)) &&
           slice_equal(look->old.member, buf_slice(&look->place.member));
}

static void judge(const struct comparison_view *view, const struct look *look,
                  const struct shape *shape, const struct write *write, struct sink_entry *entry) {
    const redisReply *reply = look->reply;
    bool found = reply && is_there(reply);
    *entry = (struct sink_entry){.found = found, .version = look->known ? look->old.version : 0};
    if (found) {
        struct slice key = look->known ? look->old.key : buf_slice(&look->place.key);
        entry->digest = digest_of(reply) ^ hash_of(key);
    }
    if (!look->wanted)
        entry->equal = !found;
    else if (!found)
        entry->equal = view->expires && in_place(view, look);
    else
        entry->equal = in_place(view, look) && has_content(view, look, shape, write);
}

static void place_look(const struct comparison_view *view, const struct shape *shape,
                       const struct write *write, struct look *look) {
    if (write->operation == WRITE_PUT && write->n_rows > 0)
        look->wanted =
            layout_place(view->layout, write->key, write->row, &look->place) == LAYOUT_PLACED;
    bool could = look->wanted || layout_place_key(view->layout, shape, write->key, &look->place);
    look->asked = look->known || could;
}

bool comparison_rows(const struct comparison_view *view, struct batch *batch,
                     struct sink_entry *entries, struct error *err) {
    struct look *looks = mem_calloc(batch->n_writes + 1, sizeof *looks);
    struct replies remembered = {0};
    struct replies contents = {0};
    bool done = ask_entries(view, batch, looks, &remembered, err);
    for (size_t i = 0; done && i < batch->n_writes; i++)
        place_look(view, batch->shape, &batch->writes[i], &looks[i]);
    done = done && ask_contents(view, looks, batch->n_writes, &contents, err);
    for (size_t i = 0; i < batch->n_writes; i++) {
        if (done) judge(view, &looks[i], batch->shape, &batch->writes[i], &entries[i]);
        place_deinit(&looks[i].place);
    }
    replies_deinit(&remembered);
    replies_deinit(&contents);
    mem_free(looks);
    return done;
}

/* ---- keys ---- */

/* The glob that finds what stands before and behind the column, taken as it is. */
static void append_glob(struct buf *out, struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("*?[]\\^", text.data[i])) buf_append_char(out, '\\');
        buf_append_char(out, text.data[i]);
    }
}

/* Does the pattern tell a row's key from others' by its form? */
static bool tells_keys(const struct comparison_view *view, const struct shape *shape,
                       struct slice *before, struct slice *behind) {
    uint16_t column;
    if (plan_entry_kind(view->layout) != ENTRY_KEY || shape->n_keys != 1 ||
        !layout_only_column(view->layout, before, &column, behind))
        return false;
    enum value_class class = shape->columns[column].class;
    return class == CLASS_SHORT || class == CLASS_INTEGER || class == CLASS_LONG;
}

static bool is_integer(struct slice text) {
    size_t sign = text.len > 1 && text.data[0] == '-';
    for (size_t i = sign; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    }
    return text.len > sign;
}

static void take_keys(const redisReply *found, const struct comparison_scan *scan,
                      struct slice before, struct slice behind, struct key_page *page) {
    size_t step = scan->phase == SCAN_ROWS ? 2 : 1;
    for (size_t i = 0; i < found->elements; i += step) {
        struct slice key = slice_make(found->element[i]->str, found->element[i]->len);
        if (scan->phase == SCAN_KEYS) {
            if (key.len <= before.len + behind.len) continue;
            key = slice_make(key.data + before.len, key.len - before.len - behind.len);
            if (!is_integer(key)) continue;
        }
        key_page_add(page, key);
    }
}

static void append_scan(const struct comparison_view *view, const struct comparison_scan *scan,
                        struct slice before, struct slice behind, struct buf *out) {
    char count[16];
    snprintf(count, sizeof count, "%d", SCAN_COUNT);
    if (scan->phase == SCAN_ROWS) {
        command_text(out, 5, "HSCAN", ledger_rows_key(view->ledger), scan->cursor, "COUNT", count);
        return;
    }
    struct buf glob = {0};
    append_glob(&glob, before);
    buf_append_char(&glob, '*');
    append_glob(&glob, behind);
    bool is_hash = layout_kind(view->layout) == LAYOUT_HASH;
    command_text(out, 8, "SCAN", scan->cursor, "MATCH", buf_text(&glob), "COUNT", count, "TYPE",
                 is_hash ? "hash" : "string");
    buf_deinit(&glob);
}

bool comparison_scan_page(const struct comparison_view *view, struct comparison_scan *scan,
                          const struct shape *shape, bool first, struct key_page *page,
                          struct error *err) {
    struct slice before = {0};
    struct slice behind = {0};
    bool tells = tells_keys(view, shape, &before, &behind);
    if (first) *scan = (struct comparison_scan){.phase = SCAN_ROWS, .cursor = "0"};
    bool done = true;
    while (done && page->n == 0 && scan->phase != SCAN_DONE) {
        struct buf out = {0};
        struct replies replies;
        append_scan(view, scan, before, behind, &out);
        done = ledger_read(view->ledger, buf_slice(&out), 1, &replies, err);
        buf_deinit(&out);
        if (!done) break;
        const redisReply *reply = replies.at[0];
        if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str) {
            snprintf(scan->cursor, sizeof scan->cursor, "%s", reply->element[0]->str);
            take_keys(reply->element[1], scan, before, behind, page);
        }
        replies_deinit(&replies);
        if (strcmp(scan->cursor, "0") == 0)
            scan->phase = scan->phase == SCAN_ROWS && tells ? SCAN_KEYS : SCAN_DONE;
    }
    return done;
}
