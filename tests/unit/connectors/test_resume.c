/* Whose position a connector goes on from after a rebuild has taken its target over. */
#include "connectors/runtime/resume.h"

#include <unistd.h>

#include "rows.h"

struct scene {
    char folder[64];
    char path[96];
    char rebuilt_path[96];
    struct resume resume;
    struct sink_target target;
    struct position_record now;
};

static struct position_record record_of(const char *target, uint64_t lsn) {
    struct position_record record = {.position = {.end_lsn = lsn, .snapshot_done = true}};
    record.position.system_identifier = 7;
    snprintf(record.table, sizeof record.table, "public.users");
    snprintf(record.keys, sizeof record.keys, "id");
    snprintf(record.target, sizeof record.target, "%s", target);
    return record;
}

static void set_scene(struct scene *s, uint64_t lsn, const char *rebuilt, uint64_t rebuilt_lsn) {
    *s = (struct scene){0};
    snprintf(s->folder, sizeof s->folder, "/tmp/freshet_resume_XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->path, sizeof s->path, "%s/a.position", s->folder);
    snprintf(s->rebuilt_path, sizeof s->rebuilt_path, "%s/a.rebuild.position", s->folder);
    struct error err;
    struct position_record old = record_of("old", lsn);
    assert_true(position_save(s->path, &old, &err));
    struct position_record other = record_of(rebuilt ? rebuilt : "", rebuilt_lsn);
    if (rebuilt_lsn) assert_true(position_save(s->rebuilt_path, &other, &err));
    assert_true(resume_load(&s->resume, s->path, 7, &err));
    snprintf(s->target.id, sizeof s->target.id, "new");
    s->now = record_of("new", 0);
}

static void adopt(struct scene *s) {
    struct error err;
    assert_true(resume_adopt(&s->resume, s->path, s->rebuilt_path, &s->target, &s->now, &err));
}

static void clear_scene(struct scene *s) {
    unlink(s->path);
    unlink(s->rebuilt_path);
    rmdir(s->folder);
}

static void expect_saved(struct scene *s, const char *target, uint64_t lsn) {
    struct position_record saved;
    enum position_state state;
    struct error err;
    assert_true(position_load(s->path, &saved, &state, &err));
    assert_string_equal(saved.target, target);
    assert_true(saved.position.end_lsn == lsn);
    assert_string_equal(s->resume.found.target, target);
}

static void the_rebuilds_position_is_taken_but_not_beyond_our_own(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, 1000, "new", 2000);
    adopt(&s);
    expect_saved(&s, "new", 1000);
    clear_scene(&s);
    set_scene(&s, 3000, "new", 2000);
    adopt(&s);
    expect_saved(&s, "new", 2000);
    clear_scene(&s);
}

static void another_target_or_none_leaves_everything(void **state) {
    (void)state;
    struct scene s;
    set_scene(&s, 1000, "other", 2000);
    adopt(&s);
    expect_saved(&s, "old", 1000);
    clear_scene(&s);
    set_scene(&s, 1000, NULL, 0);
    adopt(&s);
    expect_saved(&s, "old", 1000);
    clear_scene(&s);
    set_scene(&s, 1000, "new", 2000);
    snprintf(s.now.keys, sizeof s.now.keys, "id,shop");
    adopt(&s);
    expect_saved(&s, "old", 1000);
    clear_scene(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rebuilds_position_is_taken_but_not_beyond_our_own),
        cmocka_unit_test(another_target_or_none_leaves_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
