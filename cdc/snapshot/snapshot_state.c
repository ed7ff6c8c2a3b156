#include "cdc/snapshot/snapshot_state.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

static const char *const origin_names[] = {
    [TASK_INITIAL] = "initial", [TASK_JOINED] = "joined", [TASK_REQUESTED] = "requested"};

struct snapshot_state *snapshot_state_create(void) {
    return mem_zalloc(sizeof(struct snapshot_state));
}

static void clear_after(struct snapshot_task *task) {
    for (uint32_t i = 0; i < task->n_after; i++)
        mem_free(task->after[i]);
    mem_free(task->after);
    task->after = NULL;
    task->n_after = 0;
}

void snapshot_task_deinit(struct snapshot_task *task) {
    clear_after(task);
    mem_free(task->schema);
    mem_free(task->name);
    mem_free(task->where);
    mem_free(task->filenode);
    mem_free(task->pages_done);
}

void snapshot_state_destroy(struct snapshot_state **state) {
    struct snapshot_state *self = *state;
    if (!self) return;
    while (self->tasks)
        snapshot_state_remove(self, self->tasks);
    mem_free(self->exported);
    mem_free(self->known);
    mem_free(self);
    *state = NULL;
}

/* ---- the list ---- */

struct snapshot_task *snapshot_state_add(struct snapshot_state *state, const char *schema,
                                         const char *name, enum task_origin origin) {
    struct snapshot_task *task = mem_zalloc(sizeof *task);
    task->origin = origin;
    task->id = ++state->last_id;
    task->schema = mem_strdup(schema);
    task->name = mem_strdup(name);
    task->filenode = mem_strdup("");
    struct snapshot_task **end = &state->tasks;
    while (*end)
        end = &(*end)->next;
    *end = task;
    return task;
}

void snapshot_state_remove(struct snapshot_state *state, struct snapshot_task *task) {
    struct snapshot_task **link = &state->tasks;
    while (*link != task)
        link = &(*link)->next;
    *link = task->next;
    snapshot_task_deinit(task);
    mem_free(task);
}

struct snapshot_task *snapshot_state_find(const struct snapshot_state *state, uint64_t id) {
    struct snapshot_task *task = state->tasks;
    while (task && task->id != id)
        task = task->next;
    return task;
}

uint32_t snapshot_state_count(const struct snapshot_state *state) {
    uint32_t n = 0;
    for (const struct snapshot_task *task = state->tasks; task; task = task->next)
        n++;
    return n;
}

void snapshot_state_complete(struct snapshot_state *state) {
    for (struct snapshot_task *task = state->tasks, *next; task; task = next) {
        next = task->next;
        if (task->origin == TASK_INITIAL) snapshot_state_remove(state, task);
    }
    state->consistent_lsn = 0;
    mem_free(state->exported);
    state->exported = NULL;
}

bool snapshot_state_has_initial(const struct snapshot_state *state) {
    for (const struct snapshot_task *task = state->tasks; task; task = task->next) {
        if (task->origin == TASK_INITIAL) return true;
    }
    return false;
}

/* ---- the tables that are known ---- */

/* Where the OID is, or belongs. */
static uint32_t known_place(const struct snapshot_state *state, uint32_t oid) {
    uint32_t low = 0;
    uint32_t high = state->n_known;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (state->known[middle] < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void snapshot_state_know(struct snapshot_state *state, uint32_t oid) {
    uint32_t at = known_place(state, oid);
    if (at < state->n_known && state->known[at] == oid) return;
    state->known = mem_realloc(state->known, (state->n_known + 1) * sizeof *state->known);
    memmove(state->known + at + 1, state->known + at, (state->n_known - at) * sizeof *state->known);
    state->known[at] = oid;
    state->n_known++;
}

bool snapshot_state_knows(const struct snapshot_state *state, uint32_t oid) {
    uint32_t at = known_place(state, oid);
    return at < state->n_known && state->known[at] == oid;
}

/* ---- how far a table has come ---- */

/* Parts are done nearly in order: what joins the last range grows it, and a gap is closed sooner or later. */
void snapshot_task_pages_done(struct snapshot_task *task, uint32_t from, uint32_t to) {
    uint32_t at = task->n_pages_done;
    struct page_range *pages =
        mem_realloc(task->pages_done, (task->n_pages_done + 1) * sizeof *pages);
    task->pages_done = pages;
    while (at > 0 && pages[at - 1].from > from)
        at--;
    memmove(pages + at + 1, pages + at, (task->n_pages_done - at) * sizeof *pages);
    pages[at] = (struct page_range){.from = from, .to = to};
    uint32_t n = ++task->n_pages_done;
    uint32_t kept = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (pages[i].from <= pages[kept].to) {
            if (pages[i].to > pages[kept].to) pages[kept].to = pages[i].to;
        } else {
            pages[++kept] = pages[i];
        }
    }
    task->n_pages_done = kept + 1;
}

void snapshot_task_begin_anew(struct snapshot_task *task) {
    clear_after(task);
    task->n_pages_done = 0;
    mem_free(task->filenode);
    task->filenode = mem_strdup("");
}

void snapshot_task_reach(struct snapshot_task *task, uint32_t n, const char *const *after) {
    clear_after(task);
    task->after = mem_calloc(n, sizeof *task->after);
    task->n_after = n;
    for (uint32_t i = 0; i < n; i++)
        task->after[i] = mem_strdup(after[i]);
}

/* ---- as JSON ---- */

static void compose_text(struct buf *out, const char *name, const char *text) {
    buf_printf(out, ",\"%s\":", name);
    json_append_string(out, slice_from(text));
}

static void compose_task(const struct snapshot_task *task, struct buf *out) {
    buf_printf(out, "{\"origin\":\"%s\",\"id\":%llu", origin_names[task->origin],
               (unsigned long long)task->id);
    compose_text(out, "schema", task->schema);
    compose_text(out, "name", task->name);
    if (task->where) compose_text(out, "where", task->where);
    if (*task->filenode) compose_text(out, "filenode", task->filenode);
    if (task->n_pages_done) {
        buf_append_text(out, ",\"pages\":[");
        for (uint32_t i = 0; i < task->n_pages_done; i++)
            buf_printf(out, "%s[%u,%u]", i ? "," : "", task->pages_done[i].from,
                       task->pages_done[i].to);
        buf_append_char(out, ']');
    }
    if (task->n_after) {
        buf_append_text(out, ",\"after\":[");
        for (uint32_t i = 0; i < task->n_after; i++) {
            if (i) buf_append_char(out, ',');
            json_append_string(out, slice_from(task->after[i]));
        }
        buf_append_char(out, ']');
    }
    buf_printf(out, ",\"rows\":%llu}", (unsigned long long)task->rows);
}

void snapshot_state_compose(const struct snapshot_state *state, struct buf *out) {
    buf_printf(out, "{\"last_id\":%llu", (unsigned long long)state->last_id);
    if (state->consistent_lsn) {
        buf_printf(out, ",\"consistent_lsn\":%llu", (unsigned long long)state->consistent_lsn);
        if (state->exported) compose_text(out, "exported", state->exported);
    }
    if (state->knows_tables) {
        buf_append_text(out, ",\"known\":[");
        for (uint32_t i = 0; i < state->n_known; i++)
            buf_printf(out, "%s%u", i ? "," : "", state->known[i]);
        buf_append_char(out, ']');
    }
    buf_append_text(out, ",\"tasks\":[");
    for (const struct snapshot_task *task = state->tasks; task; task = task->next) {
        if (task != state->tasks) buf_append_char(out, ',');
        compose_task(task, out);
    }
    buf_append_text(out, "]}");
}

static bool is_page(json_int_t number) { return number >= 0 && number <= UINT32_MAX; }

static bool parse_pages(json_t *pages, struct snapshot_task *task) {
    size_t i;
    json_t *range;
    json_array_foreach(pages, i, range) {
        json_int_t from;
        json_int_t to;
        if (json_unpack(range, "[I, I!]", &from, &to) != 0 || !is_page(from) || !is_page(to) ||
            from >= to)
            return false;
        snapshot_task_pages_done(task, (uint32_t)from, (uint32_t)to);
    }
    return true;
}

static bool parse_after(json_t *after, struct snapshot_task *task) {
    size_t n = json_array_size(after);
    if (n == 0) return true;
    const char **texts = mem_calloc(n, sizeof *texts);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        texts[i] = json_string_value(json_array_get(after, i));
        ok = texts[i] != NULL;
    }
    if (ok) snapshot_task_reach(task, (uint32_t)n, texts);
    mem_free(texts);
    return ok;
}

static bool parse_origin(const char *name, enum task_origin *origin) {
    for (size_t i = 0; i < sizeof origin_names / sizeof *origin_names; i++) {
        *origin = (enum task_origin)i;
        if (strcmp(origin_names[i], name) == 0) return true;
    }
    return false;
}

static bool parse_task(json_t *json, struct snapshot_state *state) {
    const char *origin_name;
    const char *schema;
    const char *name;
    const char *where = NULL;
    const char *filenode = "";
    json_t *pages = NULL;
    json_t *after = NULL;
    json_int_t id;
    json_int_t rows;
    enum task_origin origin;
    if (json_unpack(json, "{s:s, s:I, s:s, s:s, s?s, s?s, s?o, s?o, s:I}", "origin", &origin_name,
                    "id", &id, "schema", &schema, "name", &name, "where", &where, "filenode",
                    &filenode, "pages", &pages, "after", &after, "rows", &rows) != 0 ||
        id < 1 || rows < 0 || !parse_origin(origin_name, &origin))
        return false;
    uint64_t last_id = state->last_id;
    struct snapshot_task *task = snapshot_state_add(state, schema, name, origin);
    state->last_id = last_id;
    task->id = (uint64_t)id;
    task->rows = (uint64_t)rows;
    if (where) task->where = mem_strdup(where);
    mem_free(task->filenode);
    task->filenode = mem_strdup(filenode);
    return parse_pages(pages, task) && parse_after(after, task);
}

static bool parse_known(json_t *known, struct snapshot_state *state) {
    if (!known) return true;
    size_t i;
    json_t *oid;
    json_array_foreach(known, i, oid) {
        json_int_t number = json_integer_value(oid);
        if (number < 1 || number > UINT32_MAX) return false;
        snapshot_state_know(state, (uint32_t)number);
    }
    state->knows_tables = true;
    return true;
}

static bool parse_state(json_t *json, struct snapshot_state *state) {
    json_int_t last_id;
    json_int_t consistent_lsn = 0;
    const char *exported = NULL;
    json_t *known = NULL;
    json_t *tasks;
    if (json_unpack(json, "{s:I, s?I, s?s, s?o, s:o}", "last_id", &last_id, "consistent_lsn",
                    &consistent_lsn, "exported", &exported, "known", &known, "tasks",
                    &tasks) != 0 ||
        last_id < 0 || consistent_lsn < 0)
        return false;
    state->last_id = (uint64_t)last_id;
    state->consistent_lsn = (uint64_t)consistent_lsn;
    if (exported) state->exported = mem_strdup(exported);
    size_t i;
    json_t *task;
    json_array_foreach(tasks, i, task) {
        if (!parse_task(task, state)) return false;
    }
    return parse_known(known, state);
}

struct snapshot_state *snapshot_state_parse(struct slice text, struct error *err) {
    struct snapshot_state *state = snapshot_state_create();
    json_t *json = json_loadb(text.data, text.len, 0, NULL);
    bool ok = json && parse_state(json, state);
    json_decref(json);
    if (ok) return state;
    snapshot_state_destroy(&state);
    error_set(err, ERROR_CONFLICT, false,
              "the stored state of the snapshot is malformed; delete its record, and what was "
              "still to be read is read no more");
    return NULL;
}
