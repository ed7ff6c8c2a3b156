#include "connectors/redis/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"
#include "connectors/document/document.h"
#include "connectors/redis/command.h"

enum { CHUNK = 512, SEEN_SLOTS = 1024, CAUSE_MAX_BYTES = 512 };

struct step {
    struct write *write;
    bool puts;    /* it has a place; else what there is goes */
    bool guessed; /* it goes, and its key says from where: for what nothing is remembered of */
    bool known;   /* `old` is what there is */
    struct entry old;
    size_t at; /* in plan->text: key, member, score */
    size_t key_len;
    size_t member_len;
    size_t score_len;
    size_t cause_at; /* why it is refused: then it does not put, and what there is of it goes */
    size_t cause_len;
};

/* Of which steps a command is; none: of their removal. */
struct span {
    size_t from;
    size_t to;
};

struct plan {
    const struct layout *layout;
    char ttl[24]; /* "": none */
    struct place place;
    struct buf text;
    struct buf scratch; /* a document, an entry */
    size_t n_steps;
    size_t cap_steps;
    struct step *steps;
    struct buf spans;       /* struct span each */
    struct replies entries; /* of the look-up: `old` points in there */
};

struct plan *plan_create(const struct layout *layout, int64_t ttl_ms) {
    struct plan *plan = mem_zalloc(sizeof *plan);
    plan->layout = layout;
    if (ttl_ms > 0) snprintf(plan->ttl, sizeof plan->ttl, "%" PRId64, ttl_ms);
    return plan;
}

void plan_destroy(struct plan **plan) {
    struct plan *old = *plan;
    *plan = NULL;
    if (!old) return;
    place_deinit(&old->place);
    buf_deinit(&old->text);
    buf_deinit(&old->scratch);
    buf_deinit(&old->spans);
    replies_deinit(&old->entries);
    mem_free(old->steps);
    mem_free(old);
}

static bool is_set(const struct plan *plan) {
    enum layout_kind kind = layout_kind(plan->layout);
    return kind == LAYOUT_SET || kind == LAYOUT_SORTED_SET;
}

static struct slice key_of(const struct plan *plan, const struct step *step) {
    return slice_make(plan->text.data + step->at, step->key_len);
}

static struct slice member_of(const struct plan *plan, const struct step *step) {
    return slice_make(plan->text.data + step->at + step->key_len, step->member_len);
}

static struct slice score_of(const struct plan *plan, const struct step *step) {
    return slice_make(plan->text.data + step->at + step->key_len + step->member_len,
                      step->score_len);
}

static void refuse(struct plan *plan, struct step *step, const char *why, struct slice what) {
    step->puts = false;
    step->cause_at = plan->text.len;
    buf_append_text(&plan->text, why);
    buf_append(&plan->text, what.data, what.len < CAUSE_MAX_BYTES ? what.len : CAUSE_MAX_BYTES);
    step->cause_len = plan->text.len - step->cause_at;
}

/* ---- where rows are to stand ---- */

static struct step *add_step(struct plan *plan, struct write *write) {
    if (plan->n_steps == plan->cap_steps) {
        plan->cap_steps = plan->cap_steps ? plan->cap_steps * 2 : CHUNK;
        plan->steps = mem_realloc(plan->steps, plan->cap_steps * sizeof *plan->steps);
    }
    struct step *step = &plan->steps[plan->n_steps++];
    *step = (struct step){.write = write};
    return step;
}

static void place_row(struct plan *plan, struct step *step) {
    const struct write *write = step->write;
    struct place *place = &plan->place;
    switch (layout_place(plan->layout, write->key, write->row, place)) {
    case LAYOUT_PLACED: break;
    case LAYOUT_NOWHERE: return;
    case LAYOUT_NO_SCORE: refuse(plan, step, "no score: ", buf_slice(&place->score)); return;
    }
    step->puts = true;
}

static void note_place(struct plan *plan, struct step *step) {
    const struct place *place = &plan->place;
    step->at = plan->text.len;
    step->key_len = place->key.len;
    step->member_len = place->member.len;
    step->score_len = place->score.len;
    buf_append_slice(&plan->text, buf_slice(&place->key));
    buf_append_slice(&plan->text, buf_slice(&place->member));
    buf_append_slice(&plan->text, buf_slice(&place->score));
}

static void take_write(struct plan *plan, const struct shape *shape, struct step *step) {
    const struct write *write = step->write;
    if (write->operation == WRITE_PUT && write->n_rows > 0)
        place_row(plan, step);
    else
        step->guessed = layout_place_key(plan->layout, shape, write->key, &plan->place);
    if (step->puts || step->guessed) note_place(plan, step);
}

void plan_begin(struct plan *plan, struct batch *batch) {
    plan->n_steps = plan->text.len = 0;
    replies_deinit(&plan->entries);
    struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        take_write(plan, batch->shape, add_step(plan, write));
    }
}

bool plan_is_empty(const struct plan *plan) { return plan->n_steps == 0; }

bool plan_has_refused(const struct plan *plan) {
    for (size_t i = 0; i < plan->n_steps; i++) {
        if (plan->steps[i].cause_len) return true;
    }
    return false;
}

/* ---- where they stand now ---- */

static size_t ask_entries(const struct plan *plan, const struct ledger *ledger, struct buf *out) {
    size_t n = 0;
    for (size_t from = 0; from < plan->n_steps; from += CHUNK, n++) {
        size_t to = from + CHUNK < plan->n_steps ? from + CHUNK : plan->n_steps;
        command_begin(out, 2 + to - from);
        command_text_arg(out, "HMGET");
        command_text_arg(out, ledger_rows_key(ledger));
        for (size_t i = from; i < to; i++)
            command_arg(out, plan->steps[i].write->key);
    }
    return n;
}

/* TYPE of the keys that should be sets, of most of them once; *asked says of which step each answer is. What slips through is
 * told by EXEC: but then the position has passed it before its dead letter is on disk. */
static size_t ask_types(const struct plan *plan, struct buf *out, struct buf *asked) {
    uint64_t seen[SEEN_SLOTS] = {0};
    size_t n = 0;
    for (size_t i = 0; i < plan->n_steps; i++) {
        if (!plan->steps[i].puts) continue;
        struct slice key = key_of(plan, &plan->steps[i]);
        uint64_t hash = XXH3_64bits_withSeed(key.len ? key.data : "", key.len, 0) | 1;
        if (seen[hash / 2 % SEEN_SLOTS] == hash) continue;
        seen[hash / 2 % SEEN_SLOTS] = hash;
        command_begin(out, 2);
        command_text_arg(out, "TYPE");
        command_arg(out, key);
        buf_append(asked, &i, sizeof i);
        n++;
    }
    return n;
}

/* A copy of the key: refusals go into the buffer that it stands in. */
static void refuse_key(struct plan *plan, size_t first, const char *type) {
    plan->scratch.len = 0;
    buf_append_slice(&plan->scratch, key_of(plan, &plan->steps[first]));
    struct slice key = buf_slice(&plan->scratch);
    char why[80];
    snprintf(why, sizeof why, "WRONGTYPE the key is a %.20s: ", type);
    for (size_t i = first; i < plan->n_steps; i++) {
        struct step *step = &plan->steps[i];
        if (step->puts && slice_equal(key_of(plan, step), key)) refuse(plan, step, why, key);
    }
}

static void take_types(struct plan *plan, size_t first_reply, const struct buf *asked) {
    const char *wanted = layout_kind(plan->layout) == LAYOUT_SET ? "set" : "zset";
    for (size_t i = 0; i < asked->len / sizeof(size_t); i++) {
        const redisReply *reply = plan->entries.at[first_reply + i];
        size_t step;
        memcpy(&step, asked->data + i * sizeof step, sizeof step);
        if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, wanted) == 0 ||
            strcmp(reply->str, "none") == 0)
            continue;
        refuse_key(plan, step, reply->str);
    }
}

static void take_entry(struct step *step, const redisReply *value) {
    if (value->type != REDIS_REPLY_STRING) return;
    step->known = entry_read(slice_make(value->str, value->len), &step->old);
    if (step->known && step->old.version > step->write->stamp.version)
        step->write->outcome = WRITE_STALE;
}

static bool take_entries(struct plan *plan, size_t n_replies, struct error *err) {
    for (size_t r = 0; r < n_replies; r++) {
        const redisReply *reply = plan->entries.at[r];
        size_t from = r * CHUNK;
        size_t n = plan->n_steps - from < CHUNK ? plan->n_steps - from : CHUNK;
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n)
            return error_set(err, ERROR_PROTOCOL, true, "redis: not the answer of HMGET");
        for (size_t i = 0; i < n; i++)
            take_entry(&plan->steps[from + i], reply->element[i]);
    }
    return true;
}

static void drop_stale(struct plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->n_steps; i++) {
        if (plan->steps[i].write->outcome == WRITE_PENDING) plan->steps[n++] = plan->steps[i];
    }
    plan->n_steps = n;
}

bool plan_look_up(struct plan *plan, struct ledger *ledger, struct error *err) {
    struct buf out = {0};
    struct buf asked = {0};
    size_t n_entries = ask_entries(plan, ledger, &out);
    size_t n = n_entries + (is_set(plan) ? ask_types(plan, &out, &asked) : 0);
    bool done = ledger_read(ledger, buf_slice(&out), n, &plan->entries, err) &&
                take_entries(plan, n_entries, err);
    if (done) take_types(plan, n_entries, &asked);
    if (done) drop_stale(plan);
    buf_deinit(&out);
    buf_deinit(&asked);
    return done;
}

/* ---- commands ---- */

/* The next command; it is of the steps [from, to). */
static struct buf *command_of(struct plan *plan, struct ledger *ledger, size_t from, size_t to) {
    struct span span = {from, to};
    buf_append(&plan->spans, &span, sizeof span);
    return ledger_command(ledger);
}

enum entry_kind plan_entry_kind(const struct layout *layout) {
    switch (layout_kind(layout)) {
    case LAYOUT_SET: return ENTRY_SET;
    case LAYOUT_SORTED_SET: return ENTRY_SORTED_SET;
    case LAYOUT_JSON:
    case LAYOUT_HASH: break;
    }
    return ENTRY_KEY;
}

static bool stays(const struct plan *plan, const struct step *step) {
    return step->puts && step->old.kind == plan_entry_kind(plan->layout) &&
           slice_equal(step->old.key, key_of(plan, step)) &&
           slice_equal(step->old.member, member_of(plan, step));
}

static void append_removals(struct plan *plan, struct ledger *ledger) {
    for (size_t i = 0; i < plan->n_steps; i++) {
        const struct step *step = &plan->steps[i];
        struct entry guess = {.kind = plan_entry_kind(plan->layout)};
        if (step->guessed) {
            guess.key = key_of(plan, step);
            guess.member = member_of(plan, step);
        }
        if (step->known ? stays(plan, step) : !step->guessed) continue;
        buf_append(&plan->spans, &(struct span){0}, sizeof(struct span));
        ledger_remove(ledger, step->known ? &step->old : &guess);
    }
}

void plan_append_document(struct buf *out, const struct shape *shape, const struct write *write) {
    if (!shape->many) {
        document_append(out, shape, write->row);
        return;
    }
    for (uint32_t i = 0; i < write->n_rows; i++) {
        buf_append_char(out, i ? ',' : '[');
        document_append(out, shape, write->row + (size_t)i * shape->n_columns);
    }
    buf_append_char(out, ']');
}

static struct slice document_of(struct plan *plan, const struct shape *shape,
                                const struct write *write) {
    plan->scratch.len = 0;
    plan_append_document(&plan->scratch, shape, write);
    return buf_slice(&plan->scratch);
}

/* The end of a run of at most CHUNK steps that put, from the next one that does; *n of them. */
static size_t run_of_puts(const struct plan *plan, size_t from, size_t *n) {
    *n = 0;
    size_t to = from;
    for (; to < plan->n_steps && *n < CHUNK; to++)
        *n += plan->steps[to].puts;
    return to;
}

/* One command for many rows costs the server half of what a SET for each does. */
static void append_msets(struct plan *plan, struct batch *batch, struct ledger *ledger) {
    for (size_t from = 0, to, n; from < plan->n_steps; from = to) {
        to = run_of_puts(plan, from, &n);
        if (n == 0) continue;
        struct buf *out = command_of(plan, ledger, from, to);
        command_begin(out, 1 + 2 * n);
        command_text_arg(out, "MSET");
        for (size_t i = from; i < to; i++) {
            if (!plan->steps[i].puts) continue;
            command_arg(out, key_of(plan, &plan->steps[i]));
            command_arg(out, document_of(plan, batch->shape, plan->steps[i].write));
        }
    }
}

static void append_set(struct plan *plan, struct batch *batch, struct ledger *ledger, size_t i) {
    struct buf *out = command_of(plan, ledger, i, i + 1);
    command_begin(out, 5);
    command_text_arg(out, "SET");
    command_arg(out, key_of(plan, &plan->steps[i]));
    command_arg(out, document_of(plan, batch->shape, plan->steps[i].write));
    command_text_arg(out, "PX");
    command_text_arg(out, plan->ttl);
}

/* The whole hash anew: a column that became NULL, or was dropped, leaves nothing. */
static void append_hash(struct plan *plan, struct batch *batch, struct ledger *ledger, size_t i) {
    const struct shape *shape = batch->shape;
    const struct value *row = plan->steps[i].write->row;
    struct slice key = key_of(plan, &plan->steps[i]);
    size_t n = 0;
    for (uint16_t c = 0; c < shape->n_columns; c++)
        n += row[c].kind == VALUE_TEXT;
    struct buf *out = command_of(plan, ledger, i, i + 1);
    command_begin(out, 2);
    command_text_arg(out, "UNLINK");
    command_arg(out, key);
    command_of(plan, ledger, i, i + 1);
    command_begin(out, 2 + 2 * n);
    command_text_arg(out, "HSET");
    command_arg(out, key);
    for (uint16_t c = 0; c < shape->n_columns; c++) {
        if (row[c].kind != VALUE_TEXT) continue;
        command_text_arg(out, shape->columns[c].name);
        command_arg(out, slice_make(row[c].data, row[c].len));
    }
    if (!plan->ttl[0]) return;
    command_of(plan, ledger, i, i + 1);
    command_begin(out, 3);
    command_text_arg(out, "PEXPIRE");
    command_arg(out, key);
    command_text_arg(out, plan->ttl);
}

static void append_member(struct plan *plan, struct batch *batch, struct ledger *ledger, size_t i) {
    (void)batch;
    const struct step *step = &plan->steps[i];
    bool is_sorted = layout_kind(plan->layout) == LAYOUT_SORTED_SET;
    struct buf *out = command_of(plan, ledger, i, i + 1);
    command_begin(out, 3u + is_sorted);
    command_text_arg(out, is_sorted ? "ZADD" : "SADD");
    command_arg(out, key_of(plan, step));
    if (is_sorted) command_arg(out, score_of(plan, step));
    command_arg(out, member_of(plan, step));
}

static void append_puts(struct plan *plan, struct batch *batch, struct ledger *ledger) {
    static void (*const writers[])(struct plan *, struct batch *, struct ledger *, size_t) = {
        [LAYOUT_JSON] = append_set,
        [LAYOUT_HASH] = append_hash,
        [LAYOUT_SET] = append_member,
        [LAYOUT_SORTED_SET] = append_member,
    };
    enum layout_kind kind = layout_kind(plan->layout);
    if (kind == LAYOUT_JSON && !plan->ttl[0]) {
        append_msets(plan, batch, ledger);
        return;
    }
    for (size_t i = 0; i < plan->n_steps; i++) {
        if (plan->steps[i].puts) writers[kind](plan, batch, ledger, i);
    }
}

static void append_entries(struct plan *plan, struct ledger *ledger) {
    for (size_t from = 0, to, n; from < plan->n_steps; from = to) {
        to = run_of_puts(plan, from, &n);
        if (n == 0) continue;
        struct buf *out = command_of(plan, ledger, 0, 0);
        command_begin(out, 2 + 2 * n);
        command_text_arg(out, "HSET");
        command_text_arg(out, ledger_rows_key(ledger));
        for (size_t i = from; i < to; i++) {
            const struct step *step = &plan->steps[i];
            if (!step->puts) continue;
            plan->scratch.len = 0;
            entry_write(&plan->scratch, &(struct entry){.kind = plan_entry_kind(plan->layout),
                                                        .version = step->write->stamp.version,
                                                        .key = key_of(plan, step),
                                                        .member = member_of(plan, step)});
            command_arg(out, step->write->key);
            command_arg(out, buf_slice(&plan->scratch));
        }
    }
}

static void append_forgotten(struct plan *plan, struct ledger *ledger) {
    for (size_t i = 0; i < plan->n_steps; i++) {
        const struct step *step = &plan->steps[i];
        if (step->puts || !step->known) continue;
        struct buf *out = command_of(plan, ledger, 0, 0);
        command_begin(out, 3);
        command_text_arg(out, "HDEL");
        command_text_arg(out, ledger_rows_key(ledger));
        command_arg(out, step->write->key);
    }
}

void plan_append(struct plan *plan, struct batch *batch, struct ledger *ledger) {
    plan->spans.len = 0;
    append_removals(plan, ledger);
    append_puts(plan, batch, ledger);
    append_forgotten(plan, ledger);
    append_entries(plan, ledger);
}

/* ---- outcomes ---- */

/* A removal that finds another type has nothing to take away. */
static void take_reply(struct plan *plan, const redisReply *reply, const struct span *span) {
    if (reply->type != REDIS_REPLY_ERROR) return;
    for (size_t i = span->from; i < span->to; i++) {
        if (plan->steps[i].puts)
            refuse(plan, &plan->steps[i], "", slice_make(reply->str, reply->len));
    }
}

static void settle(struct plan *plan, struct batch *batch, const struct step *step) {
    if (step->cause_len == 0) {
        step->write->outcome = WRITE_DONE;
        return;
    }
    plan->scratch.len = 0;
    json_append_string(&plan->scratch,
                       slice_make(plan->text.data + step->cause_at, step->cause_len));
    batch_refuse(batch, step->write, 0, buf_slice(&plan->scratch));
}

void plan_end(struct plan *plan, struct batch *batch, const struct replies *replies) {
    size_t n = plan->spans.len / sizeof(struct span);
    for (size_t i = 0; i < n && i < replies->n; i++) {
        struct span span;
        memcpy(&span, plan->spans.data + i * sizeof span, sizeof span);
        take_reply(plan, replies->at[i], &span);
    }
    for (size_t i = 0; i < plan->n_steps; i++)
        settle(plan, batch, &plan->steps[i]);
    plan->n_steps = 0;
    replies_deinit(&plan->entries);
}
