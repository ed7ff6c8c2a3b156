#include "connectors/redis/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/redis/command.h"

enum { TAG_MAX = 48, SWEEP_COUNT = 1000, PUSH_BYTES = 64 * 1024 };

struct ledger {
    struct link *link;
    struct log *log;
    char *position_key;
    char *rows_key;
    bool shared;
    uint64_t nonce; /* of this object, before the tags that it gives */
    uint64_t n_tags;

    bool known; /* ledger_open has been here */
    bool guest; /* ledger_join has */
    bool watching;
    char id[40];
    char run_id[48];
    char tag[TAG_MAX];  /* as it was left */
    char sent[TAG_MAX]; /* of a write whose answer was lost */
    char *note;         /* as ledger_open found it; NULL: none */

    struct buf out;
    size_t pushed; /* of out's bytes: the server has them */
    size_t n_commands;
};

struct ledger *ledger_create(const char *connector, bool shared, struct link *link,
                             struct log *log) {
    struct ledger *ledger = mem_zalloc(sizeof *ledger);
    ledger->shared = shared;
    ledger->link = link;
    ledger->log = log;
    ledger->position_key = mem_printf("freshet:%s:position", connector);
    ledger->rows_key = mem_printf("freshet:%s:rows", connector);
    if (getrandom(&ledger->nonce, sizeof ledger->nonce, 0) != sizeof ledger->nonce) abort();
    return ledger;
}

void ledger_destroy(struct ledger **ledger) {
    struct ledger *old = *ledger;
    *ledger = NULL;
    if (!old) return;
    mem_free(old->position_key);
    mem_free(old->rows_key);
    mem_free(old->note);
    buf_deinit(&old->out);
    mem_free(old);
}

const char *ledger_rows_key(const struct ledger *ledger) { return ledger->rows_key; }

/* ---- what is there ---- */

static bool is_text(const redisReply *reply) { return reply->type == REDIS_REPLY_STRING; }

static void copy_text(char *out, size_t size, const redisReply *reply) {
    snprintf(out, size, "%s", is_text(reply) ? reply->str : "");
}

static const redisReply *field(const redisReply *hash, const char *name) {
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        if (is_text(hash->element[i]) && strcmp(hash->element[i]->str, name) == 0)
            return hash->element[i + 1];
    }
    return NULL;
}

static const char *field_text(const redisReply *hash, const char *name) {
    const redisReply *value = field(hash, name);
    return value && is_text(value) ? value->str : "";
}

static void read_position(const redisReply *hash, struct change_position *position) {
    *position = (struct change_position){
        .system_identifier = strtoull(field_text(hash, "system"), NULL, 10),
        .timeline = (uint32_t)strtoul(field_text(hash, "timeline"), NULL, 10),
    };
    bool known = lsn_parse(field_text(hash, "end_lsn"), &position->end_lsn) &&
                 lsn_parse(field_text(hash, "last_end_lsn"), &position->last_end_lsn) &&
                 lsn_parse(field_text(hash, "timeline_lsn"), &position->timeline_lsn);
    const char *note = known ? field_text(hash, "note") : "";
    position->snapshot_done = known && strcmp(field_text(hash, "loaded"), "1") == 0;
    if (!position->snapshot_done && *note) position->note = note;
}

static void read_state(struct ledger *ledger, const redisReply *hash, const char *source,
                       struct ledger_state *state) {
    *state = (struct ledger_state){0};
    snprintf(state->id, sizeof state->id, "%s", field_text(hash, "id"));
    state->same_source = strcmp(field_text(hash, "source"), source) == 0;
    read_position(hash, &state->position);
    mem_free(ledger->note);
    ledger->note = state->position.note ? mem_strdup(state->position.note) : NULL;
    state->position.note = ledger->note;
    snprintf(ledger->id, sizeof ledger->id, "%s", state->id);
    snprintf(ledger->tag, sizeof ledger->tag, "%s", field_text(hash, "tag"));
    ledger->sent[0] = '\0';
}

/* Of INFO what would make us unsafe. Who may not ask goes without. */
static bool judge_server(struct ledger *ledger, const redisReply *server, const redisReply *memory,
                         struct error *err) {
    if (is_text(server) && strstr(server->str, "redis_mode:cluster"))
        return error_set(err, ERROR_CONFIG, false,
                         "redis %s is of a cluster, in which rows and their position cannot be "
                         "written in one transaction",
                         link_name(ledger->link));
    if (ledger->log && is_text(memory) && strstr(memory->str, "maxmemory_policy:allkeys"))
        log_warn(ledger->log, "redis_evicts",
                 "redis=%s cause=\"maxmemory-policy is allkeys-*: rows that it evicts are missed "
                 "until they change, and everything is loaded anew when it evicts %s\"",
                 link_name(ledger->link), ledger->position_key);
    return true;
}

/* "...\r\nrun_id:0123...\r\n..." */
static void read_run_id(const redisReply *server, char *run_id, size_t size) {
    const char *line = is_text(server) ? strstr(server->str, "\nrun_id:") : NULL;
    run_id[0] = '\0';
    if (!line) return;
    line += strlen("\nrun_id:");
    snprintf(run_id, size, "%.*s", (int)strcspn(line, "\r\n"), line);
}

static bool first_error(struct ledger *ledger, const struct replies *replies, size_t n,
                        const char *what, struct error *err) {
    for (size_t i = 0; i < n; i++) {
        if (replies->at[i]->type == REDIS_REPLY_ERROR)
            return link_refused(ledger->link, replies->at[i], what, err);
    }
    return true;
}

bool ledger_open(struct ledger *ledger, const char *source, struct ledger_state *state,
                 struct error *err) {
    ledger->known = ledger->watching = false;
    if (!link_open(ledger->link, err)) return false;
    struct buf out = {0};
    command_text(&out, 2, "WATCH", ledger->position_key);
    command_text(&out, 2, "HGETALL", ledger->position_key);
    command_text(&out, 2, "HLEN", ledger->rows_key);
    command_text(&out, 2, "INFO", "server");
    command_text(&out, 2, "INFO", "memory");
    struct replies replies;
    bool done = link_exchange(ledger->link, buf_slice(&out), 5, &replies, err) &&
                first_error(ledger, &replies, 3, ledger->position_key, err) &&
                judge_server(ledger, replies.at[3], replies.at[4], err);
    if (done) {
        read_state(ledger, replies.at[1], source, state);
        read_run_id(replies.at[3], ledger->run_id, sizeof ledger->run_id);
        memcpy(state->run_id, ledger->run_id, sizeof state->run_id);
        state->n_rows = (uint64_t)replies.at[2]->integer;
        ledger->known = ledger->watching = true;
    }
    replies_deinit(&replies);
    buf_deinit(&out);
    return done;
}

static bool lost(struct ledger *ledger, const char *tag, struct error *err) {
    ledger->known = false;
    return error_set(err, ERROR_NOT_FOUND, true,
                     tag[0] ? "redis %s: %s is not as it was left: the data is older, or another "
                              "process writes for this connector"
                            : "redis %s: %s is gone, and the rows with it",
                     link_name(ledger->link), ledger->position_key);
}

/* `reply` is of HMGET id tag. */
static bool compare(struct ledger *ledger, const redisReply *reply, struct error *err) {
    char id[sizeof ledger->id];
    char tag[TAG_MAX];
    if (reply->type == REDIS_REPLY_ERROR)
        return link_refused(ledger->link, reply, ledger->position_key, err);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return error_set(err, ERROR_PROTOCOL, true, "redis %s: not the answer of HMGET",
                         link_name(ledger->link));
    copy_text(id, sizeof id, reply->element[0]);
    copy_text(tag, sizeof tag, reply->element[1]);
    bool is_sent = tag[0] && strcmp(tag, ledger->sent) == 0;
    if (strcmp(id, ledger->id) != 0 || (strcmp(tag, ledger->tag) != 0 && !is_sent))
        return lost(ledger, tag, err);
    snprintf(ledger->tag, sizeof ledger->tag, "%s", tag);
    ledger->sent[0] = '\0';
    return true;
}

static void append_watch(struct ledger *ledger, struct buf *out) {
    command_text(out, 2, "WATCH", ledger->position_key);
    command_text(out, 4, "HMGET", ledger->position_key, "id", "tag");
}

/* A restarted server may have older data, of which no tag tells. */
static bool check_run(struct ledger *ledger, const redisReply *server, struct error *err) {
    char run_id[sizeof ledger->run_id];
    read_run_id(server, run_id, sizeof run_id);
    return strcmp(run_id, ledger->run_id) == 0 || lost(ledger, ledger->id, err);
}

bool ledger_look(struct ledger *ledger, struct error *err) {
    if (!ledger->known) return lost(ledger, ledger->tag, err);
    if (!link_is_open(ledger->link)) ledger->watching = false;
    if (!link_open(ledger->link, err)) return false;
    struct buf out = {0};
    append_watch(ledger, &out);
    if (ledger->shared) command_text(&out, 2, "INFO", "server");
    struct replies replies;
    bool done = link_exchange(ledger->link, buf_slice(&out), 2u + ledger->shared, &replies, err) &&
                first_error(ledger, &replies, 1, "WATCH", err) &&
                compare(ledger, replies.at[1], err) &&
                (!ledger->shared || check_run(ledger, replies.at[2], err));
    ledger->watching = done;
    replies_deinit(&replies);
    buf_deinit(&out);
    return done;
}

bool ledger_ready(struct ledger *ledger, struct error *err) {
    return (ledger->known && ledger->watching && link_is_open(ledger->link)) ||
           ledger_look(ledger, err);
}

bool ledger_read(struct ledger *ledger, struct slice commands, size_t n, struct replies *replies,
                 struct error *err) {
    if (!link_exchange(ledger->link, commands, n, replies, err)) return false;
    if (first_error(ledger, replies, n, "reading", err)) return true;
    replies_deinit(replies);
    return false;
}

/* What the connector itself has written since we looked is none of ours. */
bool ledger_join(struct ledger *ledger, struct error *err) {
    if (!link_open(ledger->link, err)) return false;
    struct buf out = {0};
    append_watch(ledger, &out);
    struct replies replies;
    bool done = link_exchange(ledger->link, buf_slice(&out), 2, &replies, err) &&
                first_error(ledger, &replies, 2, ledger->position_key, err);
    if (done) {
        const redisReply *hash = replies.at[1];
        bool is_there = hash->type == REDIS_REPLY_ARRAY && hash->elements == 2;
        copy_text(ledger->id, sizeof ledger->id, is_there ? hash->element[0] : hash);
        copy_text(ledger->tag, sizeof ledger->tag, is_there ? hash->element[1] : hash);
        done = ledger->id[0] || lost(ledger, "", err);
    }
    ledger->known = ledger->watching = ledger->guest = done;
    replies_deinit(&replies);
    buf_deinit(&out);
    return done;
}

/* ---- a transaction ---- */

void ledger_begin(struct ledger *ledger) {
    ledger->out.len = ledger->pushed = 0;
    ledger->n_commands = 0;
    command_text(&ledger->out, 1, "MULTI");
}

static struct slice unsent(const struct ledger *ledger) {
    return slice_make(ledger->out.data + ledger->pushed, ledger->out.len - ledger->pushed);
}

struct buf *ledger_command(struct ledger *ledger) {
    if (ledger->out.len - ledger->pushed >= PUSH_BYTES)
        ledger->pushed += link_push(ledger->link, unsent(ledger));
    ledger->n_commands++;
    return &ledger->out;
}

size_t ledger_n_commands(const struct ledger *ledger) { return ledger->n_commands; }

/* A guest touches the hash, so that the connector sees that something has happened, and leaves its tag. */
static void append_position(struct ledger *ledger, const struct change_position *position) {
    if (ledger->shared && !ledger->guest && !position) return;
    if (ledger->guest) {
        command_text(ledger_command(ledger), 4, "HINCRBY", ledger->position_key, "repairs", "1");
        return;
    }
    snprintf(ledger->sent, sizeof ledger->sent, "%016" PRIX64 "-%" PRIu64, ledger->nonce,
             ++ledger->n_tags);
    if (!position) {
        command_text(ledger_command(ledger), 4, "HSET", ledger->position_key, "tag", ledger->sent);
        return;
    }
    char lsns[3][24];
    const uint64_t values[] = {position->end_lsn, position->last_end_lsn, position->timeline_lsn};
    for (int i = 0; i < 3; i++)
        snprintf(lsns[i], sizeof lsns[i], LSN_FMT, LSN_ARG(values[i]));
    char timeline[16];
    snprintf(timeline, sizeof timeline, "%" PRIu32, position->timeline);
    command_text(ledger_command(ledger), 16, "HSET", ledger->position_key, "tag", ledger->sent,
                 "loaded", position->snapshot_done ? "1" : "0", "end_lsn", lsns[0], "last_end_lsn",
                 lsns[1], "timeline_lsn", lsns[2], "timeline", timeline, "note",
                 position->note ? position->note : "");
}

/* Gives the answers of EXEC to the caller; the one of the position is ours. */
static void hand_over(redisReply *exec, struct replies *replies) {
    *replies = (struct replies){.n = exec->elements,
                                .at = mem_calloc(exec->elements + 1, sizeof *replies->at)};
    memcpy(replies->at, exec->element, exec->elements * sizeof *replies->at);
    exec->elements = 0;
}

/* MULTI, the commands, EXEC, WATCH, HMGET. */
static bool judge_commit(struct ledger *ledger, struct replies *all, struct replies *replies,
                         struct error *err) {
    size_t n = ledger->n_commands;
    redisReply *exec = all->at[n + 1];
    if (!first_error(ledger, all, n + 1, "a write", err)) return false;
    if (exec->type == REDIS_REPLY_ERROR) return link_refused(ledger->link, exec, "EXEC", err);
    if (exec->type == REDIS_REPLY_NIL) {
        /* Somebody touched the position. If it is as before, the next attempt will do. */
        return (ledger->guest || compare(ledger, all->at[n + 3], err)) &&
               error_set(err, ERROR_CONFLICT, true, "redis %s: %s was touched by somebody",
                         link_name(ledger->link), ledger->position_key);
    }
    if (exec->type != REDIS_REPLY_ARRAY || exec->elements != n)
        return error_set(err, ERROR_PROTOCOL, true, "redis %s: not the answer of EXEC",
                         link_name(ledger->link));
    if (ledger->sent[0]) snprintf(ledger->tag, sizeof ledger->tag, "%s", ledger->sent);
    ledger->sent[0] = '\0';
    /* Not as we left it, a moment later: the next call will say so, this one was done. */
    struct error ignored;
    ledger->watching = compare(ledger, all->at[n + 3], &ignored);
    ledger->known = true;
    if (replies) hand_over(exec, replies);
    return true;
}

bool ledger_commit(struct ledger *ledger, const struct change_position *position,
                   struct replies *replies, struct error *err) {
    append_position(ledger, position);
    command_text(&ledger->out, 1, "EXEC");
    append_watch(ledger, &ledger->out);
    struct replies all;
    ledger->watching = false;
    if (!link_exchange(ledger->link, unsent(ledger), ledger->n_commands + 4, &all, err))
        return false;
    bool done = judge_commit(ledger, &all, replies, err);
    replies_deinit(&all);
    return done;
}

bool ledger_found(struct ledger *ledger, const char *source, uint64_t system,
                  struct ledger_state *state, struct error *err) {
    char text[24];
    if (!ledger->id[0]) {
        uint64_t random[2];
        if (getrandom(random, sizeof random, 0) != sizeof random) abort();
        snprintf(ledger->id, sizeof ledger->id, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    }
    snprintf(text, sizeof text, "%" PRIu64, system);
    ledger_begin(ledger);
    command_text(ledger_command(ledger), 8, "HSET", ledger->position_key, "id", ledger->id,
                 "system", text, "source", source);
    struct change_position none = {0};
    if (!ledger_commit(ledger, &none, NULL, err)) return false;
    snprintf(state->id, sizeof state->id, "%s", ledger->id);
    state->position = (struct change_position){.system_identifier = system};
    state->same_source = true;
    return true;
}

/* ---- removing ---- */

static void remove_member(struct ledger *ledger, const char *command, const struct entry *entry) {
    struct buf *out = ledger_command(ledger);
    command_begin(out, 3);
    command_text_arg(out, command);
    command_arg(out, entry->key);
    command_arg(out, entry->member);
}

void ledger_remove(struct ledger *ledger, const struct entry *entry) {
    switch (entry->kind) {
    case ENTRY_KEY: {
        struct buf *out = ledger_command(ledger);
        command_begin(out, 2);
        command_text_arg(out, "UNLINK");
        command_arg(out, entry->key);
        return;
    }
    case ENTRY_SET: remove_member(ledger, "SREM", entry); return;
    case ENTRY_SORTED_SET: remove_member(ledger, "ZREM", entry); return;
    }
}

static void forget_row(struct ledger *ledger, struct slice row_key) {
    struct buf *out = ledger_command(ledger);
    command_begin(out, 3);
    command_text_arg(out, "HDEL");
    command_text_arg(out, ledger->rows_key);
    command_arg(out, row_key);
}

/* One page of HSCAN: a cursor, and fields with their values. What is no entry was not written by us, and is forgotten. */
static bool sweep_page(struct ledger *ledger, const redisReply *page, uint64_t version,
                       uint64_t newest, uint64_t *removed, uint64_t *newer, struct error *err) {
    size_t n = 0;
    ledger_begin(ledger);
    for (size_t i = 0; i + 1 < page->elements; i += 2) {
        const redisReply *row = page->element[i];
        const redisReply *value = page->element[i + 1];
        struct entry entry;
        bool is_entry = entry_read(slice_make(value->str, value->len), &entry);
        if (is_entry && entry.version > newest) ++*newer;
        if (is_entry && entry.version >= version) continue;
        if (is_entry) ledger_remove(ledger, &entry);
        forget_row(ledger, slice_make(row->str, row->len));
        n++;
    }
    if (n && !ledger_commit(ledger, NULL, NULL, err)) return false;
    *removed += n;
    return true;
}

static bool is_page(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && is_text(reply->element[0]) &&
           reply->element[1]->type == REDIS_REPLY_ARRAY;
}

bool ledger_sweep(struct ledger *ledger, uint64_t version, uint64_t newest, uint64_t *removed,
                  uint64_t *newer, struct error *err) {
    char cursor[32] = "0";
    char count[16];
    struct buf out = {0};
    snprintf(count, sizeof count, "%d", SWEEP_COUNT);
    bool done = true;
    *removed = *newer = 0;
    do {
        struct replies replies;
        out.len = 0;
        command_text(&out, 5, "HSCAN", ledger->rows_key, cursor, "COUNT", count);
        done = ledger_ready(ledger, err) && ledger_read(ledger, buf_slice(&out), 1, &replies, err);
        if (!done) break;
        if (is_page(replies.at[0])) {
            copy_text(cursor, sizeof cursor, replies.at[0]->element[0]);
            done =
                sweep_page(ledger, replies.at[0]->element[1], version, newest, removed, newer, err);
        } else {
            done = error_set(err, ERROR_PROTOCOL, true, "redis %s: not the answer of HSCAN",
                             link_name(ledger->link));
        }
        replies_deinit(&replies);
    } while (done && strcmp(cursor, "0") != 0);
    buf_deinit(&out);
    return done;
}

bool ledger_drop(struct ledger *ledger, struct error *err) {
    struct buf out = {0};
    command_text(&out, 3, "UNLINK", ledger->position_key, ledger->rows_key);
    struct replies replies;
    bool done = ledger_read(ledger, buf_slice(&out), 1, &replies, err);
    if (done) replies_deinit(&replies);
    buf_deinit(&out);
    ledger->known = ledger->watching = false;
    return done;
}
