#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cache/front/push.h"
#include "cache/front/roster.h"
#include "cache/signals/notify.h"
#include "cache/signals/pubsub.h"

/* Two clients that have gone: what is sent to them is counted, and dropped. */
struct fixture {
    struct pubsub *pubsub;
    struct mailbox *mailboxes[2];
    struct subscriptions of[2];
};

static int setup(void **state) {
    static struct fixture f;
    f = (struct fixture){.pubsub = pubsub_create()};
    for (uint32_t i = 0; i < 2; i++) {
        f.mailboxes[i] = mailbox_create(&(struct card){.id = i + 1});
        mailbox_close(f.mailboxes[i]);
    }
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 2; i++) {
        pubsub_forget(f->pubsub, &f->of[i]);
        mailbox_release(&f->mailboxes[i]);
    }
    pubsub_destroy(&f->pubsub); /* asserts that nobody is subscribed */
    return 0;
}

static bool subscribe(struct fixture *f, uint32_t client, enum pubsub_kind kind, const char *name) {
    return pubsub_subscribe(f->pubsub, &f->of[client], f->mailboxes[client], kind,
                            slice_from(name));
}

static uint32_t publish(struct fixture *f, enum pubsub_kind kind, const char *channel) {
    return pubsub_publish(f->pubsub, kind, slice_from(channel), SLICE("message"));
}

static void a_message_is_sent_once_for_each_subscription_that_matches(void **state) {
    struct fixture *f = *state;
    assert_true(pubsub_is_silent(f->pubsub));
    assert_int_equal(publish(f, PUBSUB_CHANNEL, "a.b"), 0);
    assert_true(subscribe(f, 0, PUBSUB_CHANNEL, "a.b"));
    assert_false(subscribe(f, 0, PUBSUB_CHANNEL, "a.b"));
    assert_true(subscribe(f, 1, PUBSUB_CHANNEL, "a.b"));
    assert_true(subscribe(f, 1, PUBSUB_PATTERN, "a.*"));
    assert_true(subscribe(f, 1, PUBSUB_PATTERN, "*.b"));
    assert_true(subscribe(f, 1, PUBSUB_SHARD, "a.b"));
    assert_int_equal(publish(f, PUBSUB_CHANNEL, "a.b"), 4);
    assert_int_equal(publish(f, PUBSUB_CHANNEL, "a.c"), 1);
    assert_int_equal(publish(f, PUBSUB_SHARD, "a.b"), 1);
    assert_int_equal(pubsub_subscribers(f->pubsub, PUBSUB_CHANNEL, SLICE("a.b")), 2);
    assert_int_equal(pubsub_topics(f->pubsub, PUBSUB_PATTERN), 2);
}

static void a_topic_goes_with_its_last_subscriber(void **state) {
    struct fixture *f = *state;
    subscribe(f, 0, PUBSUB_CHANNEL, "x");
    subscribe(f, 1, PUBSUB_CHANNEL, "x");
    assert_true(pubsub_unsubscribe(f->pubsub, &f->of[0], PUBSUB_CHANNEL, SLICE("x")));
    assert_false(pubsub_unsubscribe(f->pubsub, &f->of[0], PUBSUB_CHANNEL, SLICE("x")));
    assert_false(subscriptions_has(&f->of[0], PUBSUB_CHANNEL, SLICE("x")));
    assert_true(subscriptions_has(&f->of[1], PUBSUB_CHANNEL, SLICE("x")));
    assert_int_equal(publish(f, PUBSUB_CHANNEL, "x"), 1);
    pubsub_forget(f->pubsub, &f->of[1]);
    assert_int_equal(pubsub_topics(f->pubsub, PUBSUB_CHANNEL), 0);
    assert_int_equal(publish(f, PUBSUB_CHANNEL, "x"), 0);
}

static void who_goes_takes_all_its_subscriptions_along(void **state) {
    struct fixture *f = *state;
    char name[16];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "c%d", i);
        subscribe(f, 0, (enum pubsub_kind)(i % PUBSUB_KINDS), name);
        if (i % 2) subscribe(f, 1, (enum pubsub_kind)(i % PUBSUB_KINDS), name);
    }
    pubsub_forget(f->pubsub, &f->of[0]);
    uint32_t left = 0;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        left += pubsub_topics(f->pubsub, (enum pubsub_kind)kind);
    assert_int_equal(left, 250);
    assert_int_equal(publish(f, PUBSUB_CHANNEL, "c3"), 1);
}

static void classes_are_written_as_redis_writes_them(void **state) {
    (void)state;
    static const struct {
        const char *text, *shown; /* shown NULL: it is refused */
    } cases[] = {
        {"", ""},
        {"KA", "AK"},
        {"EA", "AE"},
        {"gKE", "gKE"},
        {"KEKE", "KE"},
        {"f", "f"},
        {"$lshzxeKE", "$lshzxeKE"},
        {"g$lshzxetdfE", "AE"},
        {"Amn", "Anm"},
        {"KEq", NULL},
        {"kea", NULL},
        {"K E", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t classes;
        bool right = notify_parse(slice_from(cases[i].text), &classes);
        assert_int_equal(right, cases[i].shown != NULL);
        if (!right) continue;
        struct buf shown = {0};
        notify_format(classes, &shown);
        assert_string_equal(buf_text(&shown), cases[i].shown);
        buf_deinit(&shown);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_is_sent_once_for_each_subscription_that_matches,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_goes_with_its_last_subscriber, setup, teardown),
        cmocka_unit_test_setup_teardown(who_goes_takes_all_its_subscriptions_along, setup,
                                        teardown),
        cmocka_unit_test(classes_are_written_as_redis_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
