#include "connectors/redis/redis.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "connectors/redis/comparison.h"
#include "connectors/redis/layout.h"
#include "connectors/redis/ledger.h"
#include "connectors/redis/link.h"
#include "connectors/redis/plan.h"
#include "connectors/redis/rights.h"

struct sink {
    struct log *log;
    char *name;
    char *settings; /* what of the configuration decides where rows stand */
    struct layout *layout;
    struct plan *plan;
    struct link *link;
    struct ledger *ledger;
    struct ledger_state state;
    /* Of a load into nothing: its rows, of this version, meet none of before. 0: not known yet. */
    bool fresh;
    uint64_t load_version;
    bool shared; /* with the other members of a consumer group, whose offsets are the position */
    bool opened; /* else it is an instance that compares */
    bool expires;
    struct comparison_scan scan;
};

/* ---- the configuration ---- */

static struct layout *make_layout(const struct connector_config *config, struct error *err) {
    return layout_create(
        &(struct layout_config){
            .as = config->as, .key = config->key, .member = config->member, .score = config->score},
        err);
}

static struct link *make_link(const struct connector_config *config, const _Atomic bool *stop,
                              struct error *err) {
    return link_create(&(struct link_config){.url = config->url,
                                             .user = config->user,
                                             .password = config->password,
                                             .ca = config->ca_file,
                                             .certificate = config->certificate_file,
                                             .key = config->key_file,
                                             .stop = stop},
                       err);
}

/* A set has one life, of all its members. */
static bool check_ttl(const struct connector_config *config, const struct layout *layout,
                      struct error *err) {
    enum layout_kind kind = layout_kind(layout);
    return config->ttl_ms == 0 || kind == LAYOUT_JSON || kind == LAYOUT_HASH ||
           error_set(err, ERROR_CONFIG, false, "ttl goes with as: json and as: hash");
}

static bool redis_check(const struct connector_config *config, const char **option,
                        struct error *err) {
    *option = "key";
    struct layout *layout = make_layout(config, err);
    if (!layout) return false;
    *option = "ttl";
    bool fits = check_ttl(config, layout, err);
    layout_destroy(&layout);
    if (!fits) return false;
    *option = "url";
    struct link *link = make_link(config, NULL, err);
    if (!link) return false;
    link_destroy(&link);
    return true;
}

/* Reads what `open` reads: a cluster, no rights, and somebody else's key there are told. */
static bool look_at_server(const struct connector_config *config, const struct layout *layout,
                           struct error *err) {
    struct link *link = make_link(config, NULL, err);
    struct ledger *ledger = link ? ledger_create(config->name, false, link, NULL) : NULL;
    struct ledger_state state;
    bool answers = ledger && ledger_open(ledger, "", &state, err) &&
                   rights_look(link, config->name, layout, config->ttl_ms > 0, err);
    ledger_destroy(&ledger);
    link_destroy(&link);
    return answers;
}

static bool check_many(const struct layout *layout, const struct shape *shape, struct error *err) {
    return !shape->many || layout_kind(layout) == LAYOUT_JSON ||
           error_set(err, ERROR_CONFIG, false,
                     "a query of several rows a key goes with as: json alone");
}

static bool redis_fits(const struct connector_config *config, const struct shape *shape,
                       const char **option, struct error *err) {
    *option = "key";
    struct layout *layout = make_layout(config, err);
    bool fits = layout && layout_fits(layout, shape, option, err);
    if (fits) *option = "as";
    fits = fits && check_many(layout, shape, err);
    layout_destroy(&layout);
    return fits;
}

static bool redis_probe(const struct connector_config *config, const struct shape *shape,
                        const char **option, struct error *err) {
    (void)shape;
    *option = "key";
    struct layout *layout = make_layout(config, err);
    if (layout) *option = "url";
    bool fits = layout && look_at_server(config, layout, err);
    layout_destroy(&layout);
    return fits;
}

static void redis_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    plan_destroy(&old->plan);
    layout_destroy(&old->layout);
    ledger_destroy(&old->ledger);
    link_destroy(&old->link);
    mem_free(old->name);
    mem_free(old->settings);
    mem_free(old);
}

static const char *or_none(const char *text) { return text ? text : ""; }

static struct sink *redis_create(const struct connector_config *config,
                                 const struct sink_deps *deps, struct error *err) {
    struct sink *sink = mem_zalloc(sizeof *sink);
    sink->log = deps->log;
    sink->name = mem_strdup(config->name);
    sink->settings = mem_printf(
        "as=%s key=%s member=%s score=%s document=%s ttl=%" PRId64 " slot=%s", or_none(config->as),
        or_none(config->key), or_none(config->member), or_none(config->score),
        or_none(config->document), config->ttl_ms, or_none(config->slot));
    sink->layout = make_layout(config, err);
    if (sink->layout && check_ttl(config, sink->layout, err))
        sink->link = make_link(config, deps->stop, err);
    if (!sink->link) {
        redis_destroy(&sink);
        return NULL;
    }
    sink->shared = config->from == CONNECTOR_FROM_KAFKA;
    sink->ledger = ledger_create(config->name, sink->shared, sink->link, deps->log);
    sink->plan = plan_create(sink->layout, config->ttl_ms);
    sink->expires = config->ttl_ms > 0;
    return sink;
}

/* ---- a session ---- */

static char *name_source(const struct sink *sink, const struct shape *shape) {
    struct buf text = {0};
    shape_append_origin(shape, &text);
    buf_append_char(&text, '(');
    shape_append_keys(shape, &text);
    buf_printf(&text, ") %s", sink->settings);
    char *source = mem_strdup(buf_text(&text));
    buf_deinit(&text);
    return source;
}

/* LSNs of another database system compare with nothing. */
static bool give_up_foreign(struct sink *sink, struct error *err) {
    uint64_t removed, newer;
    log_warn(sink->log, "redis_emptied",
             "connector=%s redis=%s cause=\"it was filled from database system %" PRIu64 "\"",
             sink->name, link_name(sink->link), sink->state.position.system_identifier);
    return ledger_sweep(sink->ledger, UINT64_MAX, UINT64_MAX, &removed, &newer, err);
}

/* *founded: the life that goes on began here. */
static bool take_ledger(struct sink *sink, const char *source, uint64_t system, bool *founded,
                        struct error *err) {
    struct ledger_state *state = &sink->state;
    if (!ledger_open(sink->ledger, source, state, err)) return false;
    bool foreign = state->id[0] && state->position.system_identifier != system;
    if (foreign) {
        if (!give_up_foreign(sink, err)) return false;
        state->n_rows = 0;
    }
    *founded = !state->id[0] || foreign || !state->same_source;
    return !*founded || ledger_found(sink->ledger, source, system, state, err);
}

static bool redis_open(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                       struct sink_target *target, struct error *err) {
    *target = (struct sink_target){.ours = true};
    if (!check_many(sink->layout, shape, err)) return false;
    if (!layout_bind(sink->layout, shape, err)) return false;
    char *source = name_source(sink, shape);
    bool founded;
    bool opened = take_ledger(sink, source, system_identifier, &founded, err);
    mem_free(source);
    if (!opened) return false;
    snprintf(target->id, sizeof target->id, "%s%.24s", sink->state.id,
             sink->shared ? sink->state.run_id : "");
    sink->opened = true;
    target->empty = sink->state.n_rows == 0;
    target->made = founded && target->empty;
    sink->fresh = target->empty;
    sink->load_version = 0;
    return true;
}

static bool redis_load_position(struct sink *sink, struct change_position *position,
                                struct error *err) {
    (void)err;
    const struct change_position *kept = &sink->state.position;
    if (kept->snapshot_done || kept->note) *position = *kept;
    return true;
}

static bool redis_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    return layout_bind(sink->layout, shape, err);
}

/* ---- writes ---- */

/* Rows of a load into nothing have nothing before them. What the stream brings has another version. */
static bool meets_nothing(struct sink *sink, const struct batch *batch) {
    if (!sink->fresh || sink->state.position.snapshot_done) return false;
    for (size_t i = 0; i < batch->n_writes; i++) {
        uint64_t version = batch->writes[i].stamp.version;
        if (sink->load_version == 0) sink->load_version = version;
        if (version != sink->load_version) sink->fresh = false;
    }
    return sink->fresh;
}

static bool redis_apply(struct sink *sink, struct batch *batch, struct error *err) {
    struct plan *plan = sink->plan;
    if (!sink->opened && !layout_bind(sink->layout, batch->shape, err)) return false;
    if (!(sink->opened ? ledger_ready(sink->ledger, err) : ledger_join(sink->ledger, err)))
        return false;
    plan_begin(plan, batch);
    if (!meets_nothing(sink, batch) && !plan_is_empty(plan) &&
        !plan_look_up(plan, sink->ledger, err))
        return false;
    if (plan_is_empty(plan)) return true;
    const struct change_position *after = &batch->after;
    bool moves = !sink->shared && after->snapshot_done &&
                 after->end_lsn > sink->state.position.end_lsn && !plan_has_refused(plan);
    struct replies replies;
    ledger_begin(sink->ledger);
    plan_append(plan, batch, sink->ledger);
    if (!ledger_commit(sink->ledger, moves ? after : NULL, &replies, err)) return false;
    if (moves) sink->state.position = *after;
    plan_end(plan, batch, &replies);
    replies_deinit(&replies);
    return true;
}

static bool redis_clear_older(struct sink *sink, const struct clearing *clearing, uint64_t *removed,
                              struct error *err) {
    uint64_t newer = 0;
    if (!ledger_sweep(sink->ledger, clearing->version, clearing->newest, removed, &newer, err))
        return false;
    if (newer == 0) return true;
    uint64_t others;
    if (!ledger_sweep(sink->ledger, UINT64_MAX, UINT64_MAX, removed, &others, err) ||
        !ledger_drop(sink->ledger, err))
        return false;
    return error_set(err, ERROR_NOT_FOUND, true,
                     "redis %s held %" PRIu64
                     " rows that are newer than the database, which was set back to an earlier "
                     "point: it is filled anew",
                     link_name(sink->link), newer);
}

/* Between batches, and where nothing was written but WAL has gone by. */
static bool redis_flush(struct sink *sink, const struct change_position *position,
                        struct error *err) {
    if (sink->shared) return ledger_look(sink->ledger, err);
    if (!ledger_ready(sink->ledger, err)) return false;
    ledger_begin(sink->ledger);
    if (!ledger_commit(sink->ledger, position, NULL, err)) return false;
    sink->state.position = *position;
    sink->state.position.note = NULL; /* the caller's */
    return true;
}

static bool redis_look(struct sink *sink, struct error *err) {
    return ledger_look(sink->ledger, err);
}

/* ---- comparing ---- */

static struct comparison_view view_of(const struct sink *sink) {
    return (struct comparison_view){.link = sink->link,
                                    .ledger = sink->ledger,
                                    .layout = sink->layout,
                                    .expires = sink->expires};
}

static bool redis_compare(struct sink *sink, struct batch *batch, struct sink_entry *entries,
                          struct error *err) {
    struct comparison_view view = view_of(sink);
    return layout_bind(sink->layout, batch->shape, err) && link_open(sink->link, err) &&
           comparison_rows(&view, batch, entries, err);
}

static bool redis_scan(struct sink *sink, const struct shape *shape, bool first,
                       struct key_page *page, struct error *err) {
    struct comparison_view view = view_of(sink);
    return layout_bind(sink->layout, shape, err) && link_open(sink->link, err) &&
           comparison_scan_page(&view, &sink->scan, shape, first, page, err);
}

const struct sink_type redis_sink = {
    .name = "redis",
    .help = "Strings, hashes, sets or sorted sets of a Redis or Valkey",
    .needs = "url key",
    .takes = "as member score ttl document user password ca_file certificate_file key_file",
    .takes_many = true, /* as JSON */
    .check = redis_check,
    .fits = redis_fits,
    .probe = redis_probe,
    .ops =
        {
            .create = redis_create,
            .destroy = redis_destroy,
            .open = redis_open,
            .reshape = redis_reshape,
            .apply = redis_apply,
            .clear_older = redis_clear_older,
            .flush = redis_flush,
            .load_position = redis_load_position,
            .look = redis_look,
            .compare = redis_compare,
            .scan = redis_scan,
            .resumes_loads = true,
            .versioned = true,
        },
};
