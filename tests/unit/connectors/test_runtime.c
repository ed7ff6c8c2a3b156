/* The runtime and its sender against a sink in memory: order, retries, positions, loads, backpressure. */
#include "connectors/runtime/runtime.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "connectors/runtime/position.h"
#include "rows.h"

enum { STORE_MAX = 64, DEADLINE_US = 10000000 };

/* ---- a sink that remembers ---- */

struct stored {
    char key[16];
    char name[16];
    char note[16];
    uint64_t version;
    bool deleted;
};

struct sink {
    pthread_mutex_t lock;
    struct stored store[STORE_MAX];
    size_t n_stored;
    _Atomic size_t n_applied; /* calls of apply */
    _Atomic size_t n_writes;  /* given to them */
    int fail_next;            /* attempts that fail as a whole */
    const char *put_off;      /* this key alone is put off, once */
    const char *refuse;       /* this key is refused for good */
    bool lost;                /* the target is gone */
    bool held;                /* apply fails until released */
    struct sink_target target;
    _Atomic uint64_t cleared_version;
    _Atomic uint64_t cleared_newest;
    _Atomic size_t n_reshaped;
    _Atomic size_t n_opened;
};

static struct stored *find(struct sink *sink, struct slice key) {
    for (size_t i = 0; i < sink->n_stored; i++) {
        if (slice_equal(slice_from(sink->store[i].key), key)) return &sink->store[i];
    }
    assert_true(sink->n_stored < STORE_MAX);
    struct stored *stored = &sink->store[sink->n_stored++];
    *stored = (struct stored){.deleted = true};
    snprintf(stored->key, sizeof stored->key, "%.*s", (int)key.len, key.data);
    return stored;
}

static void copy_value(char *to, size_t size, const struct value *value) {
    snprintf(to, size, "%.*s", (int)value->len, value->data ? value->data : "");
}

static void apply_one(struct sink *sink, struct batch *batch, struct write *write) {
    sink->n_writes++;
    if (sink->refuse && slice_equal(write->key, slice_from(sink->refuse))) {
        batch_refuse(batch, write, 400, SLICE("{\"type\":\"test\"}"));
        return;
    }
    struct stored *stored = find(sink, write->key);
    if (write->stamp.version <= stored->version) {
        write->outcome = WRITE_STALE;
        return;
    }
    stored->version = write->stamp.version;
    stored->deleted = write->operation == WRITE_REMOVE;
    if (!stored->deleted) {
        copy_value(stored->name, sizeof stored->name, &write->row[1]);
        copy_value(stored->note, sizeof stored->note, &write->row[2]);
    }
    write->outcome = WRITE_DONE;
}

static bool fake_apply(struct sink *sink, struct batch *batch, struct error *err) {
    pthread_mutex_lock(&sink->lock);
    sink->n_applied++;
    bool whole = !sink->held && sink->fail_next == 0 && !sink->lost;
    if (sink->fail_next) sink->fail_next--;
    bool all = whole;
    struct write *write;
    for (size_t at = 0; whole && (write = batch_next(batch, &at, batch->n_writes));) {
        if (sink->put_off && slice_equal(write->key, slice_from(sink->put_off))) {
            sink->put_off = NULL;
            all = false;
        } else {
            apply_one(sink, batch, write);
        }
    }
    enum error_code code = sink->lost ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE;
    pthread_mutex_unlock(&sink->lock);
    return all || error_set(err, code, true, "the sink says no");
}

static bool fake_open(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                      struct sink_target *target, struct error *err) {
    (void)shape, (void)system_identifier, (void)err;
    pthread_mutex_lock(&sink->lock);
    sink->lost = false;
    sink->n_opened++;
    *target = sink->target;
    pthread_mutex_unlock(&sink->lock);
    return true;
}

static bool fake_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    (void)shape, (void)err;
    sink->n_reshaped++;
    return true;
}

static bool fake_clear(struct sink *sink, const struct clearing *clearing, uint64_t *removed,
                       struct error *err) {
    (void)err;
    uint64_t version = clearing->version;
    pthread_mutex_lock(&sink->lock);
    sink->cleared_version = version;
    sink->cleared_newest = clearing->newest;
    *removed = 0;
    for (size_t i = 0; i < sink->n_stored; i++) {
        if (sink->store[i].deleted || sink->store[i].version >= version) continue;
        sink->store[i].deleted = true;
        sink->store[i].version = version;
        (*removed)++;
    }
    pthread_mutex_unlock(&sink->lock);
    return true;
}

static bool fake_flush(struct sink *sink, const struct change_position *position,
                       struct error *err) {
    (void)sink, (void)position, (void)err;
    return true;
}

static const struct sink_ops fake_ops = {.open = fake_open,
                                         .reshape = fake_reshape,
                                         .apply = fake_apply,
                                         .clear_older = fake_clear,
                                         .flush = fake_flush,
                                         .resumes_loads = true};

/* ---- a source ---- */

struct fake_source {
    struct shape *shape;
    uint64_t system_identifier;
    _Atomic bool visible; /* may a row be read again? */
    bool gone;            /* and is it there? */
    bool touches;         /* rows are made of what changes, not the changes' own */
};

static bool source_prepare(void *self, struct shape **shape, uint64_t *system_identifier,
                           struct error *err) {
    (void)err;
    struct fake_source *source = self;
    *shape = shape_acquire(source->shape);
    *system_identifier = source->system_identifier;
    return true;
}

static bool source_floor(void *self, const char *slot, uint64_t *floor_lsn, struct error *err) {
    (void)self, (void)slot, (void)err;
    *floor_lsn = 1000;
    return true;
}

static bool source_follows(void *self, const struct relation *relation) {
    (void)self;
    return strcmp(relation->name, "users") == 0;
}

static bool source_shape(void *self, const struct relation *relation, struct shape **shape,
                         struct error *err) {
    (void)relation, (void)err;
    struct fake_source *source = self;
    *shape = shape_acquire(source->shape);
    return true;
}

static bool source_reread(void *self, struct batch *batch, uint64_t *rows, struct error *err) {
    static const struct value fresh[] = {
        {VALUE_TEXT, 1, "1"}, {VALUE_TEXT, 5, "fresh"}, {VALUE_TEXT, 5, "whole"}};
    struct fake_source *source = self;
    struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        if (!write->incomplete) continue;
        if (!atomic_load(&source->visible))
            return error_set(err, ERROR_TIMEOUT, true, "not visible yet");
        write->incomplete = false;
        write->vanished = source->gone;
        write->row = fresh;
        (*rows)++;
    }
    return true;
}

static const struct source_ops fake_source_ops = {.prepare = source_prepare,
                                                  .load_floor = source_floor,
                                                  .follows = source_follows,
                                                  .shape_of = source_shape,
                                                  .reread = source_reread};

/* TRUNCATE touches all keys, of which a walk finds none; any other change that of its row. */
static bool source_touch(void *self, const struct change *change, const struct touched *touched,
                         struct error *err) {
    (void)self, (void)err;
    if (change->operation == CHANGE_TRUNCATE)
        touched->walk(touched->arg, WALK_ALL, 0, NULL);
    else
        touched->key(touched->arg, change->new_row);
    return true;
}

static bool source_walk(void *self, const struct batch *walk, struct batch *part,
                        struct error *err) {
    (void)self, (void)walk, (void)part, (void)err;
    return true;
}

static void source_forget(void *self) { (void)self; }

static const struct source_ops touching_source_ops = {.prepare = source_prepare,
                                                      .load_floor = source_floor,
                                                      .follows = source_follows,
                                                      .touch = source_touch,
                                                      .walk = source_walk,
                                                      .forget = source_forget,
                                                      .reread = source_reread};

/* ---- one of everything ---- */

struct bench {
    char folder[64];
    char path[128];
    char letters_path[128];
    struct log *log;
    struct metrics *metrics;
    struct figures figures;
    struct deadletters *letters;
    struct sink sink;
    struct fake_source source;
    _Atomic bool stop;
    struct sender *sender;
    struct runtime *runtime;
    struct change_sink feed;
    struct change_position position; /* as prepare told it */
    struct relation relation;
    uint64_t lsn;
    int64_t interval_us;
};

static const struct relation users = {
    .oid = 5, .version = 1, .schema = "public", .name = "users", .n_columns = 3};

static void start_threads(struct bench *b) {
    struct error err = {0};
    atomic_store(&b->stop, false);
    b->letters = deadletters_create(b->letters_path, 1 << 20, &err);
    struct source source = {.ops = b->source.touches ? &touching_source_ops : &fake_source_ops,
                            .self = &b->source};
    b->sender = sender_create(&(struct sender_config){.name = "test",
                                                      .table = "public.users",
                                                      .position_path = b->path,
                                                      .rebuilt_path = "/nonexistent/rebuilt",
                                                      .queue_bytes = 4096,
                                                      .save_interval_us = 1000,
                                                      .seed = 1},
                              &(struct sender_deps){.ops = &fake_ops,
                                                    .sink = &b->sink,
                                                    .source = source,
                                                    .deadletters = b->letters,
                                                    .figures = &b->figures,
                                                    .log = b->log},
                              &b->stop);
    b->runtime = runtime_create(
        &(struct runtime_config){.name = "test",
                                 .database_url = "",
                                 .slot = "s",
                                 .batch_bytes = 1 << 20,
                                 .batch_interval_us = b->interval_us},
        &(struct runtime_deps){
            .sender = b->sender, .source = source, .figures = &b->figures, .log = b->log});
    b->feed = runtime_sink(b->runtime);
    assert_true(sender_start(b->sender, &err));
}

static void stop_threads(struct bench *b) {
    sender_stop(b->sender);
    runtime_destroy(&b->runtime);
    sender_destroy(&b->sender);
    deadletters_destroy(&b->letters);
}

static int setup(void **state) {
    struct bench *b = mem_zalloc(sizeof *b);
    snprintf(b->folder, sizeof b->folder, "/tmp/freshet-runtime-XXXXXX");
    if (!mkdtemp(b->folder)) return -1;
    snprintf(b->path, sizeof b->path, "%s/test.position", b->folder);
    snprintf(b->letters_path, sizeof b->letters_path, "%s/test.jsonl", b->folder);
    b->log = log_create(STDERR_FILENO, LOG_ERROR + 1);
    b->metrics = metrics_create();
    figures_init(&b->figures, b->metrics, "test");
    pthread_mutex_init(&b->sink.lock, NULL);
    snprintf(b->sink.target.id, sizeof b->sink.target.id, "target-1");
    b->sink.target.made = true;
    b->source.shape = users_shape();
    b->source.system_identifier = 77;
    atomic_store(&b->source.visible, true);
    b->relation = users;
    start_threads(b);
    *state = b;
    return 0;
}

static int teardown(void **state) {
    struct bench *b = *state;
    stop_threads(b);
    shape_release(&b->source.shape);
    metrics_destroy(&b->metrics);
    log_destroy(&b->log);
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", b->folder);
    int status = system(command);
    mem_free(b);
    return status;
}

static bool prepare(struct bench *b) {
    struct error err = {0};
    return b->feed.ops->prepare(b->feed.self, &b->position, &err);
}

static void start_session(struct bench *b, bool created) {
    struct error err = {0};
    assert_true(prepare(b));
    struct feed_identity identity = {
        .slot = "s", .slot_lsn = 1010, .slot_created = created, .start_lsn = b->position.end_lsn};
    assert_true(b->feed.ops->started(b->feed.self, &identity, &err));
}

static void change_at(struct bench *b, struct transaction *tx, uint64_t row_lsn,
                      enum change_operation operation, const struct value *old_row,
                      const struct value *new_row) {
    struct error err = {0};
    struct change change = {.operation = operation,
                            .relation = &b->relation,
                            .row_lsn = row_lsn,
                            .old_row = old_row,
                            .new_row = new_row,
                            .old_is_key = true};
    assert_true(b->feed.ops->change(b->feed.self, tx, &change, &err));
}

static void change(struct bench *b, struct transaction *tx, enum change_operation operation,
                   const struct value *old_row, const struct value *new_row) {
    change_at(b, tx, ++b->lsn, operation, old_row, new_row);
}

static struct transaction begin(struct bench *b) {
    struct error err = {0};
    struct transaction tx = {.xid = 9, .commit_lsn = ++b->lsn};
    assert_true(b->feed.ops->begin(b->feed.self, &tx, &err));
    return tx;
}

static void commit(struct bench *b, struct transaction *tx) {
    struct error err = {0};
    tx->end_lsn = ++b->lsn;
    assert_true(b->feed.ops->commit(b->feed.self, tx, &err));
}

static bool tick_in(struct bench *b, int64_t us) {
    struct error err = {0};
    return b->feed.ops->tick(b->feed.self, clock_mono_us() + us, &err);
}

static bool tick(struct bench *b) { return tick_in(b, 0); }

static void one(struct bench *b, enum change_operation operation, const struct value *old_row,
                const struct value *new_row) {
    struct transaction tx = begin(b);
    change(b, &tx, operation, old_row, new_row);
    commit(b, &tx);
    assert_true(tick(b));
}

/* Loads nothing and is then streaming, from LSN 1010 on. */
static void start_streaming(struct bench *b) {
    struct error err = {0};
    start_session(b, true);
    assert_true(b->feed.ops->snapshot_done(b->feed.self, 1010, &err));
    b->lsn = 1010;
}

static uint64_t confirmed(struct bench *b) { return b->feed.ops->confirmed_lsn(b->feed.self); }

#define wait_for(condition)                                                                        \
    do {                                                                                           \
        int64_t deadline_us = clock_mono_us() + DEADLINE_US;                                       \
        while (!(condition)) {                                                                     \
            assert_true(clock_mono_us() < deadline_us);                                            \
            usleep(500);                                                                           \
        }                                                                                          \
    } while (0)

static struct stored get(struct bench *b, const char *key) {
    pthread_mutex_lock(&b->sink.lock);
    struct stored stored = *find(&b->sink, slice_from(key));
    pthread_mutex_unlock(&b->sink.lock);
    return stored;
}

static void with_sink(struct bench *b, void (*change_it)(struct sink *sink)) {
    pthread_mutex_lock(&b->sink.lock);
    change_it(&b->sink);
    pthread_mutex_unlock(&b->sink.lock);
}

static void hold(struct sink *sink) { sink->held = true; }
static void release(struct sink *sink) { sink->held = false; }
static void lose(struct sink *sink) { sink->lost = true; }
static void fail_thrice(struct sink *sink) { sink->fail_next = 3; }
static void put_off_key_1(struct sink *sink) { sink->put_off = "1"; }
static void refuse_key_1(struct sink *sink) { sink->refuse = "1"; }

/* As an earlier slot would have had them. */
static void age(struct sink *sink) {
    for (size_t i = 0; i < sink->n_stored; i++)
        sink->store[i].version = 500;
    sink->target.made = false;
}

/* A row of a table that is read, in a part of its own with its note. */
static void read_row(struct bench *b, const struct value *row, const char *note) {
    struct error err = {0};
    struct transaction tx = {.commit_lsn = 1010, .end_lsn = 1010, .snapshot = true};
    assert_true(b->feed.ops->begin(b->feed.self, &tx, &err));
    change_at(b, &tx, 1010, CHANGE_READ, NULL, row);
    assert_true(b->feed.ops->note(b->feed.self, slice_from(note), &err));
    assert_true(b->feed.ops->commit(b->feed.self, &tx, &err));
    assert_true(tick(b));
}

static bool is_saved(struct bench *b, const char *note) {
    struct position_record record;
    enum position_state state;
    struct error err;
    return position_load(b->path, &record, &state, &err) && state == POSITION_LOADED &&
           strcmp(record.note, note) == 0;
}

/* ---- what is promised ---- */

static void a_load_that_is_cut_off_goes_on_where_its_note_is_saved(void **state) {
    struct bench *b = *state;
    struct error err = {0};
    start_session(b, true);
    assert_true(b->position.keeps_notes && !b->position.note);
    read_row(b, ROW(V("1"), V("a"), V("x")), "part 1");
    wait_for(is_saved(b, "999 part 1"));
    stop_threads(b);
    start_threads(b);
    b->sink.target.made = false;
    start_session(b, false);
    assert_string_equal(b->position.note, "part 1");
    b->lsn = 1500;
    one(b, CHANGE_UPDATE, NULL, ROW(V("1"), V("b"), V("x")));
    read_row(b, ROW(V("2"), V("c"), V("x")), "part 2");
    wait_for(is_saved(b, "999 part 2"));
    assert_int_equal(get(b, "2").version, 999);
    assert_true(b->feed.ops->snapshot_done(b->feed.self, b->lsn, &err));
    wait_for(is_saved(b, "") && confirmed(b) == b->lsn);
    assert_string_equal(get(b, "1").name, "b");
    /* What the stream has brought meanwhile is newer than the load, and is of no other history. */
    assert_int_equal(b->sink.cleared_version, 999);
    assert_int_equal(b->sink.cleared_newest, b->lsn);
}

static void a_load_with_a_new_slot_begins_anew_whatever_was_noted(void **state) {
    struct bench *b = *state;
    start_session(b, true);
    read_row(b, ROW(V("1"), V("a"), V("x")), "part 1");
    wait_for(is_saved(b, "999 part 1"));
    start_session(b, true);
    wait_for(is_saved(b, ""));
    assert_int_equal(b->figures.loads->value, 2);
}

static void a_load_that_cannot_go_on_begins_anew(void **state) {
    struct bench *b = *state;
    struct error err = {0};
    start_session(b, true);
    read_row(b, ROW(V("1"), V("a"), V("x")), "part 1");
    wait_for(is_saved(b, "999 part 1"));
    assert_true(b->feed.ops->note(b->feed.self, slice_from(""), &err));
    assert_true(prepare(b));
    assert_true(b->position.keeps_notes && !b->position.note && !b->position.end_lsn);
}

static void rows_that_are_read_once_all_is_loaded_are_none_of_the_load(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    read_row(b, ROW(V("1"), V("a"), V("x")), "another table joined");
    one(b, CHANGE_INSERT, NULL, ROW(V("2"), V("b"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    assert_int_equal(b->sink.n_stored, 1);
    assert_true(is_saved(b, ""));
}

static void rows_reach_the_sink_and_only_then_is_the_position_confirmed(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    with_sink(b, hold);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    wait_for(b->sink.n_applied > 1);
    assert_int_equal(confirmed(b), 1010);
    with_sink(b, release);
    wait_for(confirmed(b) == b->lsn);
    assert_string_equal(get(b, "1").name, "a");
}

static void a_failed_attempt_is_repeated_and_counted(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    with_sink(b, fail_thrice);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    assert_int_equal(b->figures.retries->value, 3);
    assert_int_equal(b->figures.indexed->value, 1);
}

static void what_was_applied_is_not_given_again_with_what_was_put_off(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    with_sink(b, put_off_key_1);
    struct transaction tx = begin(b);
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("2"), V("b"), V("x")));
    commit(b, &tx);
    assert_true(tick(b));
    wait_for(confirmed(b) == b->lsn);
    assert_true(b->sink.n_writes == 2);
    assert_int_equal(b->figures.stale->value, 0);
    assert_string_equal(get(b, "1").name, "a");
}

static void changes_of_one_key_in_one_transaction_keep_their_order_over_batches(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    struct transaction tx = begin(b);
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    assert_true(tick(b));
    change(b, &tx, CHANGE_UPDATE, NULL, ROW(V("1"), V("b"), V("x")));
    assert_true(tick(b));
    change(b, &tx, CHANGE_DELETE, ROW(V("1"), V(NULL), V(NULL)), NULL);
    assert_true(tick(b));
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("1"), V("c"), V("x")));
    commit(b, &tx);
    assert_true(tick(b));
    wait_for(confirmed(b) == b->lsn);
    assert_string_equal(get(b, "1").name, "c");
    assert_false(get(b, "1").deleted);
    assert_int_equal(b->figures.stale->value, 0);
}

static void a_half_given_transaction_does_not_move_the_position(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    uint64_t before = b->lsn;
    struct transaction tx = begin(b);
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("2"), V("b"), V("x")));
    assert_true(tick(b));
    wait_for(!get(b, "2").deleted);
    wait_for(confirmed(b) == before);
    struct sender_status status;
    sender_status(b->sender, &status);
    assert_true(status.applied_lsn == before);
    commit(b, &tx);
    wait_for(confirmed(b) == b->lsn);
}

/* Else what had ended before would be seen with what ends behind it, an interval later. */
static void a_batch_is_closed_between_transactions_where_one_ends_soon(void **state) {
    struct bench *b = *state;
    const int64_t interval_us = 100000000;
    stop_threads(b);
    b->interval_us = interval_us;
    start_threads(b);
    start_streaming(b);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("Ann"), V(NULL)));
    struct transaction tx = begin(b);
    assert_true(tick_in(b, interval_us));
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("2"), V("Bob"), V(NULL)));
    commit(b, &tx);
    assert_true(tick_in(b, interval_us));
    wait_for(get(b, "2").version);
    assert_int_equal(b->sink.n_applied, 1);
    tx = begin(b); /* but a long one holds up nothing for long */
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("3"), V("Cid"), V(NULL)));
    assert_true(tick_in(b, 2 * interval_us));
    wait_for(get(b, "3").version);
    commit(b, &tx);
}

static void progress_with_nothing_to_do_is_confirmed(void **state) {
    struct bench *b = *state;
    struct error err = {0};
    start_streaming(b);
    assert_true(b->feed.ops->progress(b->feed.self, 5000, &err));
    wait_for(confirmed(b) == 5000);
}

static void a_changed_key_removes_the_old_document(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    one(b, CHANGE_UPDATE, ROW(V("1"), V(NULL), V(NULL)), ROW(V("7"), V("a"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    assert_true(get(b, "1").deleted);
    assert_string_equal(get(b, "7").name, "a");
}

static void a_value_that_is_not_in_the_stream_is_read_again_once_it_is_visible(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    atomic_store(&b->source.visible, false);
    one(b, CHANGE_UPDATE, NULL, ROW(V("1"), V("b"), V(UNCHANGED)));
    wait_for(b->figures.retries->value > 0);
    assert_true(get(b, "1").deleted);
    atomic_store(&b->source.visible, true);
    wait_for(confirmed(b) == b->lsn);
    assert_string_equal(get(b, "1").note, "whole");
    assert_int_equal(b->figures.reread->value, 1);
}

static void a_row_that_is_gone_when_read_again_is_left_to_its_delete(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    b->source.gone = true;
    one(b, CHANGE_UPDATE, NULL, ROW(V("1"), V("b"), V(UNCHANGED)));
    wait_for(confirmed(b) == b->lsn);
    assert_true(get(b, "1").deleted);
}

static void a_refused_document_is_a_letter_and_the_rest_goes_on(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    with_sink(b, refuse_key_1);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    one(b, CHANGE_INSERT, NULL, ROW(V("2"), V("b"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    assert_string_equal(get(b, "2").name, "b");
    assert_int_equal(b->figures.dead_letters->value, 1);
    struct stat file;
    assert_int_equal(stat(b->letters_path, &file), 0);
    assert_true(file.st_size > 0);
}

static void a_full_queue_is_not_ready_and_ticks_go_on(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    with_sink(b, hold);
    assert_true(b->feed.ops->ready(b->feed.self));
    char key[8];
    for (int i = 0; b->feed.ops->ready(b->feed.self); i++) {
        snprintf(key, sizeof key, "%d", i % 50);
        one(b, CHANGE_INSERT, NULL, ROW(V(key), V("a"), V("x")));
        assert_true(i < 1000);
    }
    for (int i = 0; i < 10; i++)
        assert_true(tick(b));
    with_sink(b, release);
    wait_for(b->feed.ops->ready(b->feed.self));
    wait_for(confirmed(b) == b->lsn);
}

static void truncate_clears_what_is_older_and_nothing_newer(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    struct transaction tx = begin(b);
    change(b, &tx, CHANGE_TRUNCATE, NULL, NULL);
    uint64_t at = b->lsn;
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("2"), V("b"), V("x")));
    commit(b, &tx);
    assert_true(tick(b));
    wait_for(confirmed(b) == b->lsn);
    assert_true(get(b, "1").deleted);
    assert_false(get(b, "2").deleted);
    assert_true(b->sink.cleared_version == at);
}

static void read_rows(struct bench *b, const char *const *keys) {
    struct error err = {0};
    struct transaction tx = {.snapshot = true, .commit_lsn = 1010, .end_lsn = 1010};
    assert_true(b->feed.ops->begin(b->feed.self, &tx, &err));
    for (; *keys; keys++)
        change(b, &tx, CHANGE_READ, NULL, ROW(V(*keys), V("read"), V("x")));
    assert_true(b->feed.ops->commit(b->feed.self, &tx, &err));
}

static void rows_of_a_load_lie_below_everything_that_the_slot_can_stream(void **state) {
    struct bench *b = *state;
    struct error err = {0};
    start_session(b, true);
    read_rows(b, (const char *const[]){"1", "2", NULL});
    assert_true(b->feed.ops->snapshot_done(b->feed.self, 1010, &err));
    /* written before the slot's consistent point, committed behind it */
    b->lsn = 1001;
    struct transaction tx = {.xid = 9, .commit_lsn = 1020, .end_lsn = 1021};
    change(b, &tx, CHANGE_UPDATE, NULL, ROW(V("1"), V("late"), V("x")));
    assert_true(b->feed.ops->commit(b->feed.self, &tx, &err));
    assert_true(tick(b));
    wait_for(confirmed(b) == 1021);
    assert_string_equal(get(b, "1").name, "late");
    assert_string_equal(get(b, "2").name, "read");
    assert_int_equal(get(b, "2").version, 999);
}

static void an_unfinished_load_confirms_nothing_and_leaves_no_position(void **state) {
    struct bench *b = *state;
    start_session(b, true);
    read_rows(b, (const char *const[]){"1", NULL});
    assert_true(tick(b));
    wait_for(!get(b, "1").deleted);
    assert_int_equal(confirmed(b), 0);
    stop_threads(b);
    start_threads(b);
    b->sink.target.made = false;
    b->sink.target.empty = false;
    assert_true(prepare(b));
    assert_false(b->position.snapshot_done);
    assert_int_equal(b->position.end_lsn, 0);
}

static void a_load_that_starts_over_leaves_no_ghosts(void **state) {
    struct bench *b = *state;
    struct error err = {0};
    start_session(b, true);
    read_rows(b, (const char *const[]){"1", "2", NULL});
    assert_true(tick(b));
    wait_for(!get(b, "2").deleted);
    with_sink(b, age);
    start_session(b, true);
    read_rows(b, (const char *const[]){"1", NULL});
    assert_true(b->feed.ops->snapshot_done(b->feed.self, 1010, &err));
    wait_for(confirmed(b) == 1010);
    assert_false(get(b, "1").deleted);
    assert_true(get(b, "2").deleted);
}

static void a_restart_goes_on_from_the_saved_position(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    stop_threads(b);
    start_threads(b);
    b->sink.target.made = false;
    assert_true(prepare(b));
    assert_true(b->position.snapshot_done);
    assert_true(b->position.end_lsn == b->lsn);
    assert_true(b->position.system_identifier == 77);
    assert_true(confirmed(b) == b->lsn);
}

static void another_target_voids_the_position(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    snprintf(b->sink.target.id, sizeof b->sink.target.id, "target-2");
    b->sink.target.made = false;
    b->sink.target.ours = true;
    assert_true(prepare(b));
    assert_false(b->position.snapshot_done);
    assert_int_equal(b->position.end_lsn, 0);
}

static void another_database_system_is_refused_before_the_sink_is_touched(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    b->source.system_identifier = 78;
    size_t opened = b->sink.n_opened;
    assert_false(prepare(b));
    assert_true(b->sink.n_opened == opened);
}

static void documents_that_are_not_ours_are_not_swept_away(void **state) {
    struct bench *b = *state;
    b->sink.target.made = false;
    assert_false(prepare(b));
    b->sink.target.empty = true;
    assert_true(prepare(b));
}

static void a_lost_target_ends_the_session_and_the_next_one_loads_anew(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    with_sink(b, lose);
    struct transaction tx = begin(b);
    change(b, &tx, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    commit(b, &tx);
    wait_for(!tick(b));
    b->feed.ops->ended(b->feed.self, NULL);
    assert_true(prepare(b));
    assert_false(b->position.snapshot_done);
    assert_true(tick(b));
}

static void a_new_session_drops_what_the_old_one_queued(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    b->sink.target.made = false;
    with_sink(b, hold);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    wait_for(b->sink.n_applied > 1);
    b->feed.ops->ended(b->feed.self, NULL);
    assert_true(prepare(b));
    assert_int_equal(b->position.end_lsn, 1010);
    with_sink(b, release);
    struct sender_status status;
    sender_status(b->sender, &status);
    assert_int_equal(status.queue_bytes, 0);
    assert_true(get(b, "1").deleted);
}

static void a_damaged_position_means_loading_anew(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    wait_for(confirmed(b) == 1010);
    stop_threads(b);
    assert_int_equal(truncate(b->path, 30), 0);
    b->sink.target.made = false;
    b->sink.target.ours = true;
    start_threads(b);
    assert_true(prepare(b));
    assert_false(b->position.snapshot_done);
}

static void a_new_version_of_the_relation_is_told_before_its_rows(void **state) {
    struct bench *b = *state;
    start_streaming(b);
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("a"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    struct shape *old = b->source.shape;
    b->source.shape = users_shape();
    shape_release(&old);
    b->relation.version = 2;
    size_t before = b->sink.n_reshaped;
    one(b, CHANGE_INSERT, NULL, ROW(V("2"), V("a"), V("x")));
    wait_for(confirmed(b) == b->lsn);
    assert_true(b->sink.n_reshaped == before + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void start_touching(struct bench *b) {
    stop_threads(b);
    b->source.touches = true;
    start_threads(b);
    start_streaming(b);
}

/* One that writes a row, and commits behind another that wrote its own later. */
static void a_key_that_two_transactions_touch_has_the_version_of_the_later_commit(void **state) {
    struct bench *b = *state;
    start_touching(b);
    uint64_t early = ++b->lsn;
    one(b, CHANGE_INSERT, NULL, ROW(V("1"), V("Ann"), V(NULL)));
    wait_for(get(b, "1").version > early);
    struct transaction tx = begin(b);
    change_at(b, &tx, early, CHANGE_INSERT, NULL, ROW(V("1"), V("Bob"), V(NULL)));
    commit(b, &tx);
    assert_true(tick(b));
    wait_for(get(b, "1").version == tx.commit_lsn);
}

static void a_walk_is_newer_than_what_was_touched_beside_it(void **state) {
    struct bench *b = *state;
    start_touching(b);
    struct transaction all = begin(b);
    change(b, &all, CHANGE_TRUNCATE, NULL, NULL);
    commit(b, &all);
    struct transaction later = begin(b);
    change(b, &later, CHANGE_INSERT, NULL, ROW(V("1"), V("Ann"), V(NULL)));
    commit(b, &later);
    assert_true(tick(b));
    wait_for(b->sink.cleared_version == later.commit_lsn + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_load_that_is_cut_off_goes_on_where_its_note_is_saved),
        TEST(a_load_with_a_new_slot_begins_anew_whatever_was_noted),
        TEST(a_load_that_cannot_go_on_begins_anew),
        TEST(rows_that_are_read_once_all_is_loaded_are_none_of_the_load),
        TEST(rows_reach_the_sink_and_only_then_is_the_position_confirmed),
        TEST(a_failed_attempt_is_repeated_and_counted),
        TEST(what_was_applied_is_not_given_again_with_what_was_put_off),
        TEST(changes_of_one_key_in_one_transaction_keep_their_order_over_batches),
        TEST(a_half_given_transaction_does_not_move_the_position),
        TEST(a_batch_is_closed_between_transactions_where_one_ends_soon),
        TEST(progress_with_nothing_to_do_is_confirmed),
        TEST(a_changed_key_removes_the_old_document),
        TEST(a_value_that_is_not_in_the_stream_is_read_again_once_it_is_visible),
        TEST(a_row_that_is_gone_when_read_again_is_left_to_its_delete),
        TEST(a_refused_document_is_a_letter_and_the_rest_goes_on),
        TEST(a_full_queue_is_not_ready_and_ticks_go_on),
        TEST(truncate_clears_what_is_older_and_nothing_newer),
        TEST(rows_of_a_load_lie_below_everything_that_the_slot_can_stream),
        TEST(an_unfinished_load_confirms_nothing_and_leaves_no_position),
        TEST(a_load_that_starts_over_leaves_no_ghosts),
        TEST(a_restart_goes_on_from_the_saved_position),
        TEST(another_target_voids_the_position),
        TEST(another_database_system_is_refused_before_the_sink_is_touched),
        TEST(documents_that_are_not_ours_are_not_swept_away),
        TEST(a_lost_target_ends_the_session_and_the_next_one_loads_anew),
        TEST(a_new_session_drops_what_the_old_one_queued),
        TEST(a_damaged_position_means_loading_anew),
        TEST(a_new_version_of_the_relation_is_told_before_its_rows),
        TEST(a_key_that_two_transactions_touch_has_the_version_of_the_later_commit),
        TEST(a_walk_is_newer_than_what_was_touched_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
