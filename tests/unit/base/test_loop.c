#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

enum { TRACE = 64 };

/* What happened, in order. */
struct scene {
    struct loop *loop;
    int trace[TRACE];
    int n;
    int until; /* stops the loop at so many events */
};

static void note(struct scene *scene, int what) {
    assert_true(scene->n < TRACE);
    scene->trace[scene->n++] = what;
    if (scene->n == scene->until) loop_stop(scene->loop);
}

static int setup(void **state) {
    static struct scene scene;
    scene = (struct scene){.loop = loop_create(NULL)};
    *state = &scene;
    return scene.loop ? 0 : -1;
}

static int teardown(void **state) {
    struct scene *scene = *state;
    loop_destroy(&scene->loop);
    return 0;
}

/* --- timers --- */

struct noting_timer {
    struct loop_timer timer;
    struct scene *scene;
    int what;
};

static void note_timer(void *arg, int64_t now_us) {
    struct noting_timer *timer = arg;
    assert_int_equal(now_us, loop_now_us(timer->scene->loop));
    note(timer->scene, timer->what);
}

static struct noting_timer make_timer(struct scene *scene, int what) {
    return (struct noting_timer){.timer = {.fire = note_timer}, .scene = scene, .what = what};
}

static void timers_fire_in_the_order_of_their_time(void **state) {
    struct scene *scene = *state;
    struct noting_timer timers[50];
    int64_t now = loop_now_us(scene->loop);
    for (int i = 0; i < 50; i++) {
        int rank = i * 7 % 50;
        timers[i] = make_timer(scene, rank);
        timers[i].timer.arg = &timers[i];
        loop_timer_set(scene->loop, &timers[i].timer, now + 1 + rank * 20);
    }
    scene->until = 50;
    loop_run(scene->loop);
    for (int i = 0; i < 50; i++)
        assert_int_equal(scene->trace[i], i);
}

static void a_timer_can_be_moved_and_cleared(void **state) {
    struct scene *scene = *state;
    struct noting_timer timers[3];
    int64_t now = loop_now_us(scene->loop);
    for (int i = 0; i < 3; i++) {
        timers[i] = make_timer(scene, i);
        timers[i].timer.arg = &timers[i];
        loop_timer_set(scene->loop, &timers[i].timer, now + 100 + i);
    }
    loop_timer_set(scene->loop, &timers[0].timer, now + 5000); /* behind the others */
    loop_timer_clear(scene->loop, &timers[1].timer);
    loop_timer_clear(scene->loop, &timers[1].timer); /* idle already: nothing */
    scene->until = 2;
    loop_run(scene->loop);
    assert_int_equal(scene->trace[0], 2);
    assert_int_equal(scene->trace[1], 0);
    assert_true(clock_mono_us() >= now + 5000);
}

static void set_again(void *arg, int64_t now_us) {
    struct noting_timer *timer = arg;
    loop_timer_set(timer->scene->loop, &timer->timer, now_us);
    note(timer->scene, timer->what);
}

static void count_turn(void *arg) {
    struct scene *scene = arg;
    note(scene, -1);
}

static void a_timer_that_is_set_to_now_waits_for_the_next_turn(void **state) {
    struct scene *scene = *state;
    struct noting_timer timer = make_timer(scene, 7);
    timer.timer.fire = set_again;
    timer.timer.arg = &timer;
    loop_each_turn(scene->loop, count_turn, scene);
    loop_timer_set(scene->loop, &timer.timer, loop_now_us(scene->loop));
    scene->until = 6;
    loop_run(scene->loop);
    for (int i = 0; i < 6; i += 2) {
        assert_int_equal(scene->trace[i], 7);
        assert_int_equal(scene->trace[i + 1], -1);
    }
}

/* --- descriptors --- */

struct noting_watch {
    struct loop_watch watch;
    struct scene *scene;
    int what;
    struct noting_watch *rival; /* taken away when this one fires */
    unsigned seen;
};

static void note_watch(void *arg, unsigned events) {
    struct noting_watch *watch = arg;
    watch->seen = events;
    if (watch->rival) loop_unwatch(watch->scene->loop, &watch->rival->watch);
    loop_watch_events(watch->scene->loop, &watch->watch, 0);
    note(watch->scene, watch->what);
}

static void watch_fd(struct noting_watch *watch, struct scene *scene, int fd, unsigned events) {
    *watch = (struct noting_watch){.scene = scene};
    watch->watch = (struct loop_watch){fd, events, note_watch, watch};
    assert_true(loop_watch(scene->loop, &watch->watch, NULL));
}

static void readiness_is_reported_as_asked_for(void **state) {
    struct scene *scene = *state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct noting_watch reader, writer;
    watch_fd(&reader, scene, pair[0], LOOP_READ);
    watch_fd(&writer, scene, pair[1], LOOP_WRITE);
    assert_int_equal(write(pair[1], "x", 1), 1);
    scene->until = 2;
    loop_run(scene->loop);
    assert_int_equal(reader.seen, LOOP_READ);
    assert_int_equal(writer.seen, LOOP_WRITE);
    close(pair[0]);
    close(pair[1]);
}

static void a_watch_that_is_taken_away_in_the_same_turn_does_not_fire(void **state) {
    struct scene *scene = *state;
    int first[2], second[2];
    assert_int_equal(pipe(first), 0);
    assert_int_equal(pipe(second), 0);
    struct noting_watch a, b;
    watch_fd(&a, scene, first[0], LOOP_READ);
    watch_fd(&b, scene, second[0], LOOP_READ);
    a.rival = &b;
    b.rival = &a;
    assert_int_equal(write(first[1], "x", 1), 1);
    assert_int_equal(write(second[1], "x", 1), 1);
    loop_each_turn(scene->loop, count_turn, scene);
    scene->until = 2; /* whichever comes first, and the turn's end */
    loop_run(scene->loop);
    assert_int_equal(scene->trace[1], -1);
    close(first[0]), close(first[1]), close(second[0]), close(second[1]);
}

struct taking_away {
    struct loop_message message;
    struct scene *scene;
    struct noting_watch *gone;
    int fd;
};

static void take_away(struct loop_message *message, void *owner) {
    (void)message;
    struct taking_away *taking = owner;
    loop_unwatch(taking->scene->loop, &taking->gone->watch);
    taking->gone->watch.fire = NULL;
    note(taking->scene, 7);
}

/* The descriptor becomes ready for the turn at whose beginning the message takes its watch away. */
static void make_ready_and_post(void *arg, int64_t now_us) {
    (void)now_us;
    struct taking_away *taking = arg;
    assert_int_equal(write(taking->fd, "x", 1), 1);
    loop_post(taking->scene->loop, &taking->message);
}

static void a_watch_that_a_message_takes_away_before_it_is_looked_at_does_not_fire(void **state) {
    struct scene *scene = *state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct noting_watch writer, reader;
    watch_fd(&writer, scene, pair[1], LOOP_WRITE);
    watch_fd(&reader, scene, pair[0], LOOP_READ);
    writer.what = 6;
    struct taking_away taking = {.scene = scene, .gone = &reader, .fd = pair[1]};
    taking.message.run = take_away;
    taking.message.owner = &taking;
    struct loop_timer timer = {.fire = make_ready_and_post, .arg = &taking};
    loop_timer_set(scene->loop, &timer, loop_now_us(scene->loop));
    scene->until = 2;
    loop_run(scene->loop);
    assert_int_equal(scene->trace[0], 6);
    assert_int_equal(scene->trace[1], 7);
    loop_unwatch(scene->loop, &writer.watch);
    close(pair[0]);
    close(pair[1]);
}

static void a_failing_watch_says_why(void **state) {
    struct scene *scene = *state;
    struct loop_watch watch = {.fd = 9999, .events = LOOP_READ};
    struct error err = {0};
    assert_false(loop_watch(scene->loop, &watch, &err));
    assert_int_equal(err.code, ERROR_SYSTEM);
}

/* --- messages --- */

enum { POSTS = 20000, POSTERS = 3 };

struct counted {
    struct loop_message message;
    int poster, number;
};

struct crowd {
    struct loop *loop;
    struct counted *messages;
    int poster;
    int *last; /* of each poster: the number of the last message that ran */
    int *left;
};

static void run_counted(struct loop_message *message, void *owner) {
    struct crowd *crowd = owner;
    struct counted *counted = (struct counted *)(void *)message;
    assert_int_equal(counted->number, crowd->last[counted->poster] + 1);
    crowd->last[counted->poster]++;
    if (--*crowd->left == 0) loop_stop(crowd->loop);
}

static void *post_many(void *arg) {
    struct crowd *crowd = arg;
    for (int i = 0; i < POSTS; i++) {
        crowd->messages[i].message.run = run_counted;
        crowd->messages[i].message.owner = crowd;
        crowd->messages[i].poster = crowd->poster;
        crowd->messages[i].number = i + 1;
        loop_post(crowd->loop, &crowd->messages[i].message);
    }
    return NULL;
}

static void messages_of_many_threads_all_run_in_the_order_of_each(void **state) {
    struct scene *scene = *state;
    int last[POSTERS] = {0}, left = POSTS * POSTERS;
    pthread_t threads[POSTERS];
    struct crowd crowds[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        crowds[i] =
            (struct crowd){scene->loop, test_calloc(POSTS, sizeof(struct counted)), i, last, &left};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &crowds[i]), 0);
    }
    loop_run(scene->loop);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(last[i], POSTS);
        test_free(crowds[i].messages);
    }
}

static void run_noting(struct loop_message *message, void *owner) {
    (void)message;
    note(owner, 5);
}

static void what_was_posted_before_the_stop_still_runs(void **state) {
    struct scene *scene = *state;
    struct loop_message message = {.run = run_noting, .owner = scene};
    loop_stop(scene->loop);
    loop_post(scene->loop, &message);
    loop_run(scene->loop);
    assert_int_equal(scene->n, 1);
}

/* --- hooks --- */

static void note_sleep(void *arg) { note(arg, 1); }
static void note_wake(void *arg) { note(arg, 2); }
static void note_turn(void *arg) { note(arg, 3); }

static void hooks_stand_around_each_sleep_and_at_each_end(void **state) {
    struct scene *scene = *state;
    struct loop_message message = {.run = run_noting, .owner = scene};
    loop_around_sleep(scene->loop, note_sleep, note_wake, scene);
    loop_each_turn(scene->loop, note_turn, scene);
    loop_post(scene->loop, &message);
    scene->until = 4;
    loop_run(scene->loop);
    static const int expected[] = {1, 2, 5, 3};
    assert_memory_equal(scene->trace, expected, sizeof expected);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    static const struct CMUnitTest tests[] = {
        CASE(timers_fire_in_the_order_of_their_time),
        CASE(a_timer_can_be_moved_and_cleared),
        CASE(a_timer_that_is_set_to_now_waits_for_the_next_turn),
        CASE(readiness_is_reported_as_asked_for),
        CASE(a_watch_that_is_taken_away_in_the_same_turn_does_not_fire),
        CASE(a_watch_that_a_message_takes_away_before_it_is_looked_at_does_not_fire),
        CASE(a_failing_watch_says_why),
        CASE(messages_of_many_threads_all_run_in_the_order_of_each),
        CASE(what_was_posted_before_the_stop_still_runs),
        CASE(hooks_stand_around_each_sleep_and_at_each_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
