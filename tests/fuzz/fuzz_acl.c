/* ACL rules: lines of an ACL file's rules to one user. Whatever is taken, what is shown of it makes the same user again, and no
 * request is permitted by what permits nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cache/access/acl_rights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice next_rule(struct slice *text) {
    while (text->len && strchr(" \n\t", text->data[0]) && text->data[0])
        *text = slice_make(text->data + 1, text->len - 1);
    size_t len = 0;
    while (len < text->len && !memchr(" \n\t", text->data[len], 3))
        len++;
    struct slice rule = slice_make(text->data, len);
    *text = slice_make(text->data + len, text->len - len);
    return rule;
}

static void apply_all(struct acl_rights *rights, const struct command_ids *ids, struct slice text,
                      bool must_fit) {
    struct slice rule;
    const char *why;
    while ((rule = next_rule(&text)).len) {
        bool fits = acl_rights_apply(rights, ids, rule, false, &why);
        ASSERT(fits == !why && (fits || !must_fit));
    }
}

static void check_round(const struct acl_rights *rights, const struct command_ids *ids) {
    struct buf shown = {0}, again = {0};
    acl_rights_describe(rights, ids, &shown);
    struct acl_rights *copy = acl_rights_create(false);
    apply_all(copy, ids, buf_slice(&shown), true);
    acl_rights_describe(copy, ids, &again);
    ASSERT(slice_equal(buf_slice(&shown), buf_slice(&again)));
    acl_rights_release(&copy);
    buf_deinit(&shown);
    buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct command_ids *ids;
    if (!ids) ids = command_ids_create();
    if (size > 4096) return 0;
    struct acl_rights *rights = acl_rights_create(false);
    apply_all(rights, ids, slice_make(data, size), false);
    check_round(rights, ids);
    struct slice argv[] = {SLICE("x"), slice_make(data, size), SLICE("1"), SLICE("y")};
    for (uint32_t id = 0; id < command_ids_count(ids); id++) {
        uint32_t at;
        enum acl_verdict verdict =
            acl_rights_check(rights, ids, command_of_id(ids, id), argv, 4, &at);
        ASSERT(verdict == ACL_PERMITTED || !acl_rights_are_all(rights));
        ASSERT(at < 4);
    }
    acl_rights_release(&rights);
    return 0;
}
