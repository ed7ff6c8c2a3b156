#include "connectors/redis/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/redis/command.h"

enum { TAG_MAX = 48, SWEEP_COUNT = 1000 };

struct target {
    struct link *link;
    struct log *log;
    char *position_key;
    char *rows_key;
    bool shared;
    uint64_t nonce; /* of this object, before the tags that it gives */
    uint64_t n_tags;

    bool known; /* target_open has been here */
    bool guest; /* target_join has */
    bool watching;
    char id[40];
    char run_id[48];
    char tag[TAG_MAX];  /* as it was left */
    char sent[TAG_MAX]; /* of a write whose answer was lost */

    struct buf out;
    size_t n_commands;
};

struct target *target_create(const char *connector, bool shared, struct link *link,
                             struct log *log) {
    struct target *target = mem_zalloc(sizeof *target);
    target->shared = shared;
    target->link = link;
    target->log = log;
    target->position_key = mem_printf("freshet:%s:position", connector);
    target->rows_key = mem_printf("freshet:%s:rows", connector);
    if (getrandom(&target->nonce, sizeof target->nonce, 0) != sizeof target->nonce) abort();
    return target;
}

void target_destroy(struct target **target) {
    struct target *old = *target;
    *target = NULL;
    if (!old) return;
    mem_free(old->position_key);
    mem_free(old->rows_key);
    buf_deinit(&old->out);
    mem_free(old);
}

const char *target_rows_key(const struct target *target) { return target->rows_key; }

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
    position->snapshot_done =
        strcmp(field_text(hash, "loaded"), "1") == 0 &&
        lsn_parse(field_text(hash, "end_lsn"), &position->end_lsn) &&
        lsn_parse(field_text(hash, "last_end_lsn"), &position->last_end_lsn) &&
        lsn_parse(field_text(hash, "timeline_lsn"), &position->timeline_lsn);
}

static void read_state(struct target *target, const redisReply *hash, const char *source,
                       struct target_state *state) {
    *state = (struct target_state){0};
    snprintf(state->id, sizeof state->id, "%s", field_text(hash, "id"));
    state->same_source = strcmp(field_text(hash, "source"), source) == 0;
    read_position(hash, &state->position);
    snprintf(target->id, sizeof target->id, "%s", state->id);
    snprintf(target->tag, sizeof target->tag, "%s", field_text(hash, "tag"));
    target->sent[0] = '\0';
}

/* Of INFO what would make us unsafe. Who may not ask goes without. */
static bool judge_server(struct target *target, const redisReply *server, const redisReply *memory,
                         struct error *err) {
    if (is_text(server) && strstr(server->str, "redis_mode:cluster"))
        return error_set(err, ERROR_CONFIG, false,
                         "redis %s is of a cluster, in which rows and their position cannot be "
                         "written in one transaction",
                         link_name(target->link));
    if (target->log && is_text(memory) && strstr(memory->str, "maxmemory_policy:allkeys"))
        log_warn(target->log, "redis_evicts",
                 "redis=%s cause=\"maxmemory-policy is allkeys-*: rows that it evicts are missed "
                 "until they change, and everything is loaded anew when it evicts %s\"",
                 link_name(target->link), target->position_key);
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

static bool first_error(struct target *target, const struct replies *replies, size_t n,
                        const char *what, struct error *err) {
    for (size_t i = 0; i < n; i++) {
        if (replies->at[i]->type == REDIS_REPLY_ERROR)
            return link_refused(target->link, replies->at[i], what, err);
    }
    return true;
}

bool target_open(struct target *target, const char *source, struct target_state *state,
                 struct error *err) {
    target->known = target->watching = false;
    if (!link_open(target->link, err)) return false;
    struct buf out = {0};
    command_text(&out, 2, "WATCH", target->position_key);
    command_text(&out, 2, "HGETALL", target->position_key);
    command_text(&out, 2, "HLEN", target->rows_key);
    command_text(&out, 2, "INFO", "server");
    command_text(&out, 2, "INFO", "memory");
    struct replies replies;
    bool done = link_exchange(target->link, buf_slice(&out), 5, &replies, err) &&
                first_error(target, &replies, 3, target->position_key, err) &&
                judge_server(target, replies.at[3], replies.at[4], err);
    if (done) {
        read_state(target, replies.at[1], source, state);
        read_run_id(replies.at[3], target->run_id, sizeof target->run_id);
        memcpy(state->run_id, target->run_id, sizeof state->run_id);
        state->n_rows = (uint64_t)replies.at[2]->integer;
        target->known = target->watching = true;
    }
    replies_deinit(&replies);
    buf_deinit(&out);
    return done;
}

static bool lost(struct target *target, const char *tag, struct error *err) {
    target->known = false;
    return error_set(err, ERROR_NOT_FOUND, true,
                     tag[0] ? "redis %s: %s is not as it was left: the data is older, or another "
                              "process writes for this connector"
                            : "redis %s: %s is gone, and the rows with it",
                     link_name(target->link), target->position_key);
}

/* `reply` is of HMGET id tag. */
static bool compare(struct target *target, const redisReply *reply, struct error *err) {
    char id[sizeof target->id];
    char tag[TAG_MAX];
    if (reply->type == REDIS_REPLY_ERROR)
        return link_refused(target->link, reply, target->position_key, err);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return error_set(err, ERROR_PROTOCOL, true, "redis %s: not the answer of HMGET",
                         link_name(target->link));
    copy_text(id, sizeof id, reply->element[0]);
    copy_text(tag, sizeof tag, reply->element[1]);
    bool is_sent = tag[0] && strcmp(tag, target->sent) == 0;
    if (strcmp(id, target->id) != 0 || (strcmp(tag, target->tag) != 0 && !is_sent))
        return lost(target, tag, err);
    snprintf(target->tag, sizeof target->tag, "%s", tag);
    target->sent[0] = '\0';
    return true;
}

static void append_watch(struct target *target, struct buf *out) {
    command_text(out, 2, "WATCH", target->position_key);
    command_text(out, 4, "HMGET", target->position_key, "id", "tag");
}

/* A restarted server may have older data, of which no tag tells. */
static bool check_run(struct target *target, const redisReply *server, struct error *err) {
    char run_id[sizeof target->run_id];
    read_run_id(server, run_id, sizeof run_id);
    return strcmp(run_id, target->run_id) == 0 || lost(target, target->id, err);
}

bool target_look(struct target *target, struct error *err) {
    if (!target->known) return lost(target, target->tag, err);
    if (!link_is_open(target->link)) target->watching = false;
    if (!link_open(target->link, err)) return false;
    struct buf out = {0};
    append_watch(target, &out);
    if (target->shared) command_text(&out, 2, "INFO", "server");
    struct replies replies;
    bool done = link_exchange(target->link, buf_slice(&out), 2u + target->shared, &replies, err) &&
                first_error(target, &replies, 1, "WATCH", err) &&
                compare(target, replies.at[1], err) &&
                (!target->shared || check_run(target, replies.at[2], err));
    target->watching = done;
    replies_deinit(&replies);
    buf_deinit(&out);
    return done;
}

bool target_ready(struct target *target, struct error *err) {
    return (target->known && target->watching && link_is_open(target->link)) ||
           target_look(target, err);
}

bool target_read(struct target *target, struct slice commands, size_t n, struct replies *replies,
                 struct error *err) {
    if (!link_exchange(target->link, commands, n, replies, err)) return false;
    if (first_error(target, replies, n, "reading", err)) return true;
    replies_deinit(replies);
    return false;
}

/* What the connector itself has written since we looked is none of ours. */
bool target_join(struct target *target, struct error *err) {
    if (!link_open(target->link, err)) return false;
    struct buf out = {0};
    append_watch(target, &out);
    struct replies replies;
    bool done = link_exchange(target->link, buf_slice(&out), 2, &replies, err) &&
                first_error(target, &replies, 2, target->position_key, err);
    if (done) {
        const redisReply *hash = replies.at[1];
        bool is_there = hash->type == REDIS_REPLY_ARRAY && hash->elements == 2;
        copy_text(target->id, sizeof target->id, is_there ? hash->element[0] : hash);
        copy_text(target->tag, sizeof target->tag, is_there ? hash->element[1] : hash);
        done = target->id[0] || lost(target, "", err);
    }
    target->known = target->watching = target->guest = done;
    replies_deinit(&replies);
    buf_deinit(&out);
    return done;
}

/* ---- a transaction ---- */

void target_begin(struct target *target) {
    target->out.len = 0;
    target->n_commands = 0;
    command_text(&target->out, 1, "MULTI");
}

struct buf *target_command(struct target *target) {
    target->n_commands++;
    return &target->out;
}

size_t target_n_commands(const struct target *target) { return target->n_commands; }

/* A guest touches the hash, so that the connector sees that something has happened, and leaves its tag. */
static void append_position(struct target *target, const struct change_position *position) {
    if (target->shared && !target->guest && !position) return;
    if (target->guest) {
        command_text(target_command(target), 4, "HINCRBY", target->position_key, "repairs", "1");
        return;
    }
    snprintf(target->sent, sizeof target->sent, "%016" PRIX64 "-%" PRIu64, target->nonce,
             ++target->n_tags);
    if (!position) {
        command_text(target_command(target), 4, "HSET", target->position_key, "tag", target->sent);
        return;
    }
    char lsns[3][24];
    const uint64_t values[] = {position->end_lsn, position->last_end_lsn, position->timeline_lsn};
    for (int i = 0; i < 3; i++)
        snprintf(lsns[i], sizeof lsns[i], LSN_FMT, LSN_ARG(values[i]));
    char timeline[16];
    snprintf(timeline, sizeof timeline, "%" PRIu32, position->timeline);
    command_text(target_command(target), 14, "HSET", target->position_key, "tag", target->sent,
                 "loaded", position->snapshot_done ? "1" : "0", "end_lsn", lsns[0], "last_end_lsn",
                 lsns[1], "timeline_lsn", lsns[2], "timeline", timeline);
}

/* Gives the answers of EXEC to the caller; the one of the position is ours. */
static void hand_over(redisReply *exec, struct replies *replies) {
    *replies = (struct replies){.n = exec->elements,
                                .at = mem_calloc(exec->elements + 1, sizeof *replies->at)};
    memcpy(replies->at, exec->element, exec->elements * sizeof *replies->at);
    exec->elements = 0;
}

/* MULTI, the commands, EXEC, WATCH, HMGET. */
static bool judge_commit(struct target *target, struct replies *all, struct replies *replies,
                         struct error *err) {
    size_t n = target->n_commands;
    redisReply *exec = all->at[n + 1];
    if (!first_error(target, all, n + 1, "a write", err)) return false;
    if (exec->type == REDIS_REPLY_ERROR) return link_refused(target->link, exec, "EXEC", err);
    if (exec->type == REDIS_REPLY_NIL) {
        /* Somebody touched the position. If it is as before, the next attempt will do. */
        return (target->guest || compare(target, all->at[n + 3], err)) &&
               error_set(err, ERROR_CONFLICT, true, "redis %s: %s was touched by somebody",
                         link_name(target->link), target->position_key);
    }
    if (exec->type != REDIS_REPLY_ARRAY || exec->elements != n)
        return error_set(err, ERROR_PROTOCOL, true, "redis %s: not the answer of EXEC",
                         link_name(target->link));
    if (target->sent[0]) snprintf(target->tag, sizeof target->tag, "%s", target->sent);
    target->sent[0] = '\0';
    /* Not as we left it, a moment later: the next call will say so, this one was done. */
    struct error ignored;
    target->watching = compare(target, all->at[n + 3], &ignored);
    target->known = true;
    if (replies) hand_over(exec, replies);
    return true;
}

bool target_commit(struct target *target, const struct change_position *position,
                   struct replies *replies, struct error *err) {
    append_position(target, position);
    command_text(&target->out, 1, "EXEC");
    append_watch(target, &target->out);
    struct replies all;
    target->watching = false;
    if (!link_exchange(target->link, buf_slice(&target->out), target->n_commands + 4, &all, err))
        return false;
    bool done = judge_commit(target, &all, replies, err);
    replies_deinit(&all);
    return done;
}

bool target_found(struct target *target, const char *source, uint64_t system,
                  struct target_state *state, struct error *err) {
    char text[24];
    if (!target->id[0]) {
        uint64_t random[2];
        if (getrandom(random, sizeof random, 0) != sizeof random) abort();
        snprintf(target->id, sizeof target->id, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    }
    snprintf(text, sizeof text, "%" PRIu64, system);
    target_begin(target);
    command_text(target_command(target), 8, "HSET", target->position_key, "id", target->id,
                 "system", text, "source", source);
    struct change_position none = {0};
    if (!target_commit(target, &none, NULL, err)) return false;
    snprintf(state->id, sizeof state->id, "%s", target->id);
    state->position = (struct change_position){.system_identifier = system};
    state->same_source = true;
    return true;
}

/* ---- removing ---- */

static void remove_member(struct target *target, const char *command, const struct entry *entry) {
    struct buf *out = target_command(target);
    command_begin(out, 3);
    command_text_arg(out, command);
    command_arg(out, entry->key);
    command_arg(out, entry->member);
}

void target_remove(struct target *target, const struct entry *entry) {
    switch (entry->kind) {
    case ENTRY_KEY: {
        struct buf *out = target_command(target);
        command_begin(out, 2);
        command_text_arg(out, "UNLINK");
        command_arg(out, entry->key);
        return;
    }
    case ENTRY_SET: remove_member(target, "SREM", entry); return;
    case ENTRY_SORTED_SET: remove_member(target, "ZREM", entry); return;
    }
}

static void forget_row(struct target *target, struct slice row_key) {
    struct buf *out = target_command(target);
    command_begin(out, 3);
    command_text_arg(out, "HDEL");
    command_text_arg(out, target->rows_key);
    command_arg(out, row_key);
}

/* One page of HSCAN: a cursor, and fields with their values. What is no entry was not written by us, and is forgotten. */
static bool sweep_page(struct target *target, const redisReply *page, uint64_t version,
                       uint64_t *removed, uint64_t *newer, struct error *err) {
    size_t n = 0;
    target_begin(target);
    for (size_t i = 0; i + 1 < page->elements; i += 2) {
        const redisReply *row = page->element[i];
        const redisReply *value = page->element[i + 1];
        struct entry entry;
        bool is_entry = entry_read(slice_make(value->str, value->len), &entry);
        if (is_entry && entry.version > version) ++*newer;
        if (is_entry && entry.version >= version) continue;
        if (is_entry) target_remove(target, &entry);
        forget_row(target, slice_make(row->str, row->len));
        n++;
    }
    if (n && !target_commit(target, NULL, NULL, err)) return false;
    *removed += n;
    return true;
}

static bool is_page(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && is_text(reply->element[0]) &&
           reply->element[1]->type == REDIS_REPLY_ARRAY;
}

bool target_sweep(struct target *target, uint64_t version, uint64_t *removed, uint64_t *newer,
                  struct error *err) {
    char cursor[32] = "0";
    char count[16];
    struct buf out = {0};
    snprintf(count, sizeof count, "%d", SWEEP_COUNT);
    bool done = true;
    *removed = *newer = 0;
    do {
        struct replies replies;
        out.len = 0;
        command_text(&out, 5, "HSCAN", target->rows_key, cursor, "COUNT", count);
        done = target_ready(target, err) && target_read(target, buf_slice(&out), 1, &replies, err);
        if (!done) break;
        if (is_page(replies.at[0])) {
            copy_text(cursor, sizeof cursor, replies.at[0]->element[0]);
            done = sweep_page(target, replies.at[0]->element[1], version, removed, newer, err);
        } else {
            done = error_set(err, ERROR_PROTOCOL, true, "redis %s: not the answer of HSCAN",
                             link_name(target->link));
        }
        replies_deinit(&replies);
    } while (done && strcmp(cursor, "0") != 0);
    buf_deinit(&out);
    return done;
}

bool target_drop(struct target *target, struct error *err) {
    struct buf out = {0};
    command_text(&out, 3, "UNLINK", target->position_key, target->rows_key);
    struct replies replies;
    bool done = target_read(target, buf_slice(&out), 1, &replies, err);
    if (done) replies_deinit(&replies);
    buf_deinit(&out);
    target->known = target->watching = false;
    return done;
}
