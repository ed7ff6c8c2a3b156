#include "cache/access/acl_rights.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/access/acl_words.h"
#include "cache/access/categories.h"
#include "cache/access/keyuse.h"
#include "cache/values/glob.h"

enum { WORDS = (COMMAND_IDS_MAX + 63) / 64, ALLOW_READ = 1, ALLOW_WRITE = 2 };

struct acl_rights {
    _Atomic uint32_t references;
    uint32_t flags;
    uint64_t commands[WORDS];   /* by command_id */
    struct acl_words passwords; /* hashes */
    struct acl_words keys;      /* tag: ALLOW_* */
    struct acl_words channels;
    struct acl_words
        first_args; /* tag: the id of a command that is permitted with this argument alone */
};

/* --- life --------------------------------------------------------------------------------------------------- */

struct acl_rights *acl_rights_create(bool all_channels) {
    struct acl_rights *rights = mem_zalloc(sizeof *rights);
    rights->references = 1;
    rights->flags = all_channels ? ACL_ALL_CHANNELS : 0;
    return rights;
}

struct acl_rights *acl_rights_copy(const struct acl_rights *rights) {
    struct acl_rights *copy = acl_rights_create(false);
    copy->flags = rights->flags;
    memcpy(copy->commands, rights->commands, sizeof copy->commands);
    acl_words_copy(&copy->passwords, &rights->passwords);
    acl_words_copy(&copy->keys, &rights->keys);
    acl_words_copy(&copy->channels, &rights->channels);
    acl_words_copy(&copy->first_args, &rights->first_args);
    return copy;
}

struct acl_rights *acl_rights_acquire(struct acl_rights *rights) {
    atomic_fetch_add_explicit(&rights->references, 1, memory_order_relaxed);
    return rights;
}

void acl_rights_release(struct acl_rights **rights) {
    struct acl_rights *r = *rights;
    *rights = NULL;
    if (!r || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1) return;
    acl_words_clear(&r->passwords);
    acl_words_clear(&r->keys);
    acl_words_clear(&r->channels);
    acl_words_clear(&r->first_args);
    mem_free(r);
}

uint32_t acl_rights_flags(const struct acl_rights *rights) { return rights->flags; }

bool acl_rights_are_all(const struct acl_rights *rights) {
    const uint32_t all = ACL_ALL_KEYS | ACL_ALL_CHANNELS | ACL_ALL_COMMANDS;
    return (rights->flags & all) == all;
}

/* --- bits of commands --------------------------------------------------------------------------------------- */

static bool has_bit(const struct acl_rights *rights, uint32_t id) {
    return rights->commands[id / 64] >> id % 64 & 1;
}

static void set_bit(struct acl_rights *rights, uint32_t id, bool on) {
    uint64_t bit = UINT64_C(1) << id % 64;
    if (on) {
        rights->commands[id / 64] |= bit;
    } else {
        rights->commands[id / 64] &= ~bit;
        rights->flags &= ~(uint32_t)ACL_ALL_COMMANDS;
    }
}

/* With its subcommands; what was said of single first arguments is forgotten. */
static void set_command(struct acl_rights *rights, const struct command_ids *ids, uint32_t id,
                        bool on) {
    const struct command *command = command_of_id(ids, id);
    set_bit(rights, id, on);
    acl_words_remove_tag(&rights->first_args, id);
    for (const struct command *sub = command->subcommands; sub && sub->name; sub++)
        set_bit(rights, command_id(ids, sub), on);
}

static void set_category(struct acl_rights *rights, const struct command_ids *ids,
                         uint32_t category, bool on) {
    for (uint32_t id = 0; id < command_ids_count(ids); id++)
        if (command_categories_of_id(ids, id) & category) set_command(rights, ids, id, on);
}

static void set_all(struct acl_rights *rights, bool on) {
    memset(rights->commands, on ? 0xff : 0, sizeof rights->commands);
    const uint32_t flags = ACL_ALL_COMMANDS | ACL_BEGAN_WITH_ALL;
    rights->flags = on ? rights->flags | flags : rights->flags & ~flags;
    acl_words_clear(&rights->first_args);
}

/* --- rules about commands ----------------------------------------------------------------------------------- */

static const char unknown_command[] = "Unknown command or category name in ACL";
static const char syntax[] = "Syntax error";

/* Or a NUL: neither could be read back from a file. */
static bool has_space(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (memchr(" \t\n\v\f\r", text.data[i], 7)) return true; /* the literal's NUL among them */
    return false;
}

/* "config|get" is a subcommand; "select|0" a command with one first argument, which can only be added. */
static const char *add_with_bar(struct acl_rights *rights, const struct command_ids *ids,
                                struct slice name, size_t bar) {
    struct slice sub = slice_make(name.data + bar + 1, name.len - bar - 1);
    int32_t id = command_id_of_name(ids, slice_make(name.data, bar));
    if (id < 0) return unknown_command;
    if (command_parent_of_id(ids, (uint32_t)id))
        return "Allowing first-arg of a subcommand is not supported";
    if (sub.len == 0 || has_space(sub)) return syntax;
    if (command_of_id(ids, (uint32_t)id)->subcommands) {
        id = command_id_of_name(ids, name);
        if (id < 0) return unknown_command;
        set_command(rights, ids, (uint32_t)id, true);
        return NULL;
    }
    acl_words_add(&rights->first_args, sub, (uint32_t)id, false);
    return NULL;
}

static const char *apply_command(struct acl_rights *rights, const struct command_ids *ids,
                                 struct slice name, bool on) {
    const char *bar = memrchr(name.data, '|', name.len);
    if (on && bar) return add_with_bar(rights, ids, name, (size_t)(bar - name.data));
    int32_t id = command_id_of_name(ids, name);
    if (id < 0) return unknown_command;
    set_command(rights, ids, (uint32_t)id, on);
    return NULL;
}

static const char *apply_category(struct acl_rights *rights, const struct command_ids *ids,
                                  struct slice name, bool on) {
    uint32_t category = category_find(name);
    if (slice_equal_nocase(name, SLICE("all")))
        set_all(rights, on);
    else if (category)
        set_category(rights, ids, category, on);
    else
        return unknown_command;
    return NULL;
}

/* --- rules about keys and channels --------------------------------------------------------------------------- */

static const char after_all_keys[] =
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have "
    "any effect. Try 'resetkeys' to start with an empty list of patterns";

static const char *apply_keys(struct acl_rights *rights, struct slice pattern, uint32_t allowed) {
    if (rights->flags & ACL_ALL_KEYS) return after_all_keys;
    if (has_space(pattern)) return syntax;
    acl_words_add(&rights->keys, pattern, allowed, true);
    return NULL;
}

/* "%R~...", "%W~...", "%RW~...". */
static const char *apply_keys_for(struct acl_rights *rights, struct slice rule) {
    uint32_t allowed = 0;
    size_t at = 1;
    if (rights->flags & ACL_ALL_KEYS) return after_all_keys;
    for (; at < rule.len && rule.data[at] != '~'; at++) {
        char letter = rule.data[at] & ~0x20;
        uint32_t one = letter == 'R' ? ALLOW_READ : letter == 'W' ? ALLOW_WRITE : 0;
        if (!one || allowed & one) return syntax;
        allowed |= one;
    }
    if (!allowed) return syntax;
    if (at < rule.len) at++; /* "%R" alone is a pattern for the empty key, as in Redis */
    return apply_keys(rights, slice_make(rule.data + at, rule.len - at), allowed);
}

static const char *apply_channel(struct acl_rights *rights, struct slice pattern) {
    if (rights->flags & ACL_ALL_CHANNELS)
        return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
               "does not have any effect. Try 'resetchannels' to start with an empty list of "
               "channels";
    if (has_space(pattern)) return syntax;
    acl_words_add(&rights->channels, pattern, 0, false);
    return NULL;
}

/* --- rules about passwords ---------------------------------------------------------------------------------- */

void acl_hash(struct slice password, char hash[ACL_HASH_LEN]) {
    unsigned char digest[32];
    ASSERT(EVP_Digest(password.data ? password.data : "", password.len, digest, NULL, EVP_sha256(),
                      NULL) == 1);
    for (size_t i = 0; i < sizeof digest; i++) {
        hash[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hash[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}

static bool is_hash(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (!memchr("0123456789abcdef", text.data[i], 16)) return false;
    return text.len == ACL_HASH_LEN;
}

/* `sign` is > or <, with a password, # or !, with a hash: added by the first of each pair, taken away by the second. */
static const char *apply_password(struct acl_rights *rights, char sign, struct slice text) {
    char made[ACL_HASH_LEN];
    struct slice hash = text;
    if (sign == '>' || sign == '<') {
        acl_hash(text, made);
        hash = slice_make(made, sizeof made);
    } else if (!is_hash(text)) {
        return "The password hash must be exactly 64 characters and contain only lowercase "
               "hexadecimal characters";
    }
    if (sign == '>' || sign == '#') {
        acl_words_add(&rights->passwords, hash, 0, false);
        rights->flags &= ~(uint32_t)ACL_NOPASS;
    } else if (!acl_words_remove(&rights->passwords, hash)) {
        return "The password you are trying to remove from the user does not exist";
    }
    return NULL;
}

bool acl_rights_take_password(const struct acl_rights *rights, struct slice password) {
    if (rights->flags & ACL_NOPASS) return true;
    char hash[ACL_HASH_LEN];
    acl_hash(password, hash);
    bool any = false;
    for (uint32_t i = 0; i < rights->passwords.n; i++) {
        const struct acl_word *have = &rights->passwords.items[i];
        unsigned char difference = 0;
        for (size_t c = 0; c < ACL_HASH_LEN; c++)
            difference |= (unsigned char)(hash[c] ^ have->text[c]);
        any |= difference == 0;
    }
    return any;
}

/* --- rules that are words ----------------------------------------------------------------------------------- */

enum word_lists { NO_LIST, PASSWORDS, KEYS_LIST, CHANNELS };

static const struct word_rule {
    const char *word;
    uint32_t set, clear; /* flags */
    enum word_lists emptied;
} word_rules[] = {
    {"on", ACL_ON, 0, NO_LIST},
    {"off", 0, ACL_ON, NO_LIST},
    {"nopass", ACL_NOPASS, 0, PASSWORDS},
    {"resetpass", 0, ACL_NOPASS, PASSWORDS},
    {"skip-sanitize-payload", ACL_SKIP_SANITIZE, ACL_SANITIZE, NO_LIST},
    {"sanitize-payload", ACL_SANITIZE, ACL_SKIP_SANITIZE, NO_LIST},
    {"allkeys", ACL_ALL_KEYS, 0, KEYS_LIST},
    {"~*", ACL_ALL_KEYS, 0, KEYS_LIST},
    {"resetkeys", 0, ACL_ALL_KEYS, KEYS_LIST},
    {"allchannels", ACL_ALL_CHANNELS, 0, CHANNELS},
    {"&*", ACL_ALL_CHANNELS, 0, CHANNELS},
    {"resetchannels", 0, ACL_ALL_CHANNELS, CHANNELS},
    {"clearselectors", 0, 0, NO_LIST},
};

static bool apply_word(struct acl_rights *rights, struct slice rule) {
    struct acl_words *const lists[] = {NULL, &rights->passwords, &rights->keys, &rights->channels};
    for (size_t i = 0; i < sizeof word_rules / sizeof word_rules[0]; i++) {
        const struct word_rule *row = &word_rules[i];
        if (!slice_equal_nocase(rule, slice_from(row->word))) continue;
        rights->flags = (rights->flags | row->set) & ~row->clear;
        if (lists[row->emptied]) acl_words_clear(lists[row->emptied]);
        return true;
    }
    return false;
}

static void reset(struct acl_rights *rights, bool all_channels) {
    static const char *const words[] = {"resetpass", "resetkeys", "off", "sanitize-payload"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        apply_word(rights, slice_from(words[i]));
    apply_word(rights, all_channels ? SLICE("allchannels") : SLICE("resetchannels"));
    set_all(rights, false);
}

static const char *apply(struct acl_rights *rights, const struct command_ids *ids,
                         struct slice rule, bool channels_by_default) {
    struct slice rest = slice_make(rule.data + 1, rule.len - 1);
    if (apply_word(rights, rule)) return NULL;
    if (slice_equal_nocase(rule, SLICE("reset"))) {
        reset(rights, channels_by_default);
        return NULL;
    }
    if (slice_equal_nocase(rule, SLICE("allcommands")) ||
        slice_equal_nocase(rule, SLICE("nocommands"))) {
        set_all(rights, rule.len == strlen("allcommands"));
        return NULL;
    }
    bool adds = rule.data[0] == '+';
    switch (rule.data[0]) {
    case '+':
    case '-':
        if (rest.len && rest.data[0] == '@')
            return apply_category(rights, ids, slice_make(rest.data + 1, rest.len - 1), adds);
        return apply_command(rights, ids, rest, adds);
    case '~': return apply_keys(rights, rest, ALLOW_READ | ALLOW_WRITE);
    case '%': return apply_keys_for(rights, rule);
    case '&': return apply_channel(rights, rest);
    case '>':
    case '<':
    case '#':
    case '!': return apply_password(rights, rule.data[0], rest);
    case '(': return "Selectors are not supported: give these rights to a user of their own";
    default: return syntax;
    }
}

bool acl_rights_apply(struct acl_rights *rights, const struct command_ids *ids, struct slice rule,
                      bool channels_by_default, const char **why) {
    *why = rule.len ? apply(rights, ids, rule, channels_by_default) : NULL;
    return !*why;
}

/* --- checking ----------------------------------------------------------------------------------------------- */

static bool may_run(const struct acl_rights *rights, uint32_t id, const struct command *command,
                    const struct slice *argv, uint32_t argc) {
    if (rights->flags & ACL_ALL_COMMANDS || command->flags & CMD_NO_AUTH || has_bit(rights, id))
        return true;
    for (uint32_t i = 0; i < rights->first_args.n && argc > 1; i++) {
        const struct acl_word *word = &rights->first_args.items[i];
        if (word->tag == id && slice_equal_nocase(argv[1], acl_word_slice(word))) return true;
    }
    return false;
}

static bool may_use(const struct acl_rights *rights, struct slice key, uint32_t use) {
    uint32_t wanted = (use & KEY_ACCESS ? ALLOW_READ : 0U) | (use & KEY_CHANGES ? ALLOW_WRITE : 0U);
    for (uint32_t i = 0; i < rights->keys.n; i++) {
        const struct acl_word *word = &rights->keys.items[i];
        if ((word->tag & wanted) == wanted && glob_match(acl_word_slice(word), key)) return true;
    }
    return false;
}

bool acl_rights_has_channel(const struct acl_rights *rights, struct slice channel,
                            bool is_pattern) {
    if (rights->flags & ACL_ALL_CHANNELS) return true;
    for (uint32_t i = 0; i < rights->channels.n; i++) {
        struct slice have = acl_word_slice(&rights->channels.items[i]);
        if (is_pattern ? slice_equal(have, channel) : glob_match(have, channel)) return true;
    }
    return false;
}

bool acl_rights_cover_channels(const struct acl_rights *rights, const struct acl_rights *other) {
    if (rights->flags & ACL_ALL_CHANNELS) return true;
    if (other->flags & ACL_ALL_CHANNELS) return false;
    for (uint32_t i = 0; i < other->channels.n; i++)
        if (!acl_rights_has_channel(rights, acl_word_slice(&other->channels.items[i]), true))
            return false;
    return true;
}

/* Which arguments are channels: from argv[1] to argv[last], 0: to the end. */
static const struct {
    const char *name;
    uint32_t last;
    bool is_pattern;
} channel_commands[] = {
    {"publish", 1, false},    {"spublish", 1, false},  {"subscribe", 0, false},
    {"ssubscribe", 0, false}, {"psubscribe", 0, true},
};

static uint32_t denied_channel(const struct acl_rights *rights, const struct command *command,
                               const struct slice *argv, uint32_t argc) {
    for (size_t i = 0; i < sizeof channel_commands / sizeof channel_commands[0]; i++) {
        if (strcmp(channel_commands[i].name, command->name) != 0) continue;
        uint32_t last = channel_commands[i].last ? channel_commands[i].last : argc - 1;
        for (uint32_t at = 1; at <= last && at < argc; at++)
            if (!acl_rights_has_channel(rights, argv[at], channel_commands[i].is_pattern))
                return at;
    }
    return 0;
}

enum acl_verdict acl_rights_check(const struct acl_rights *rights, const struct command_ids *ids,
                                  const struct command *command, const struct slice *argv,
                                  uint32_t argc, uint32_t *at) {
    uint32_t id = command_id(ids, command);
    const struct command *parent = command_parent_of_id(ids, id);
    *at = 0;
    if (!may_run(rights, id, command, argv, argc)) return ACL_DENIED_COMMAND;
    if (!(rights->flags & ACL_ALL_KEYS)) {
        struct command_key_iter keys = command_keys(command, argv, argc);
        uint32_t nth = 0;
        for (uint32_t i; (i = command_next_key(&keys)); nth++) {
            if (may_use(rights, argv[i], key_use(command, parent, nth, argv, argc))) continue;
            *at = i;
            return ACL_DENIED_KEY;
        }
    }
    if (!(rights->flags & ACL_ALL_CHANNELS) && command->group == GROUP_PUBSUB && !parent &&
        (*at = denied_channel(rights, command, argv, argc)))
        return ACL_DENIED_CHANNEL;
    return ACL_PERMITTED;
}

/* --- describing --------------------------------------------------------------------------------------------- */

static void append_rule(struct buf *out, bool on, const char *mark, const char *name) {
    buf_printf(out, " %c%s%s", on ? '+' : '-', mark, name);
}

/* Of the commands of a category, how many are as the rest is not. */
static void count_category(const struct acl_rights *rights, const struct command_ids *ids,
                           uint32_t category, uint32_t *on, uint32_t *off) {
    *on = *off = 0;
    for (uint32_t id = 0; id < command_ids_count(ids); id++) {
        if (!(command_categories_of_id(ids, id) & category)) continue;
        if (has_bit(rights, id))
            ++*on;
        else
            ++*off;
    }
}

/* Categories first, the one that fits best before the others, as long as one says more that is right than wrong. `made`
 * follows what the rules so far make, `left` forgets what they have dealt with. (Redis: ACLDescribeSelectorCommandRules.) */
static void describe_categories(const struct acl_rights *rights, const struct command_ids *ids,
                                bool additive, struct acl_rights *made, struct buf *out) {
    struct acl_rights *left = acl_rights_copy(rights);
    uint32_t applied = 0;
    for (;;) {
        int best = -1;
        uint32_t least = UINT32_MAX, most = 0;
        for (uint32_t i = 0; i < CATEGORIES; i++) {
            uint32_t on, off;
            if (applied >> i & 1) continue;
            count_category(left, ids, UINT32_C(1) << i, &on, &off);
            uint32_t wrong = additive ? off : on, right = additive ? on : off;
            if (right <= wrong || wrong > least || (wrong == least && right <= most)) continue;
            best = (int)i;
            least = wrong;
            most = right;
        }
        if (best < 0) break;
        uint32_t category = UINT32_C(1) << best;
        set_category(made, ids, category, additive);
        set_category(left, ids, category, !additive);
        append_rule(out, additive, "@", category_names[best]);
        applied |= category;
    }
    acl_rights_release(&left);
}

void acl_rights_describe_commands(const struct acl_rights *rights, const struct command_ids *ids,
                                  struct buf *out) {
    bool additive = !(rights->flags & ACL_BEGAN_WITH_ALL);
    struct acl_rights *made = acl_rights_create(false);
    set_all(made, !additive);
    buf_append_text(out, additive ? "-@all" : "+@all");
    describe_categories(rights, ids, additive, made, out);
    for (uint32_t id = 0; id < command_ids_count(ids); id++) {
        char name[COMMAND_NAME_MAX];
        bool on = has_bit(rights, id);
        command_full_name(ids, id, name);
        if (on != has_bit(made, id)) {
            append_rule(out, on, "", name);
            set_command(made, ids, id, on);
        }
        for (uint32_t i = 0; i < rights->first_args.n && !on; i++) {
            const struct acl_word *word = &rights->first_args.items[i];
            if (word->tag == id) buf_printf(out, " +%s|%.*s", name, (int)word->len, word->text);
        }
    }
    acl_rights_release(&made);
}

void acl_rights_describe_keys(const struct acl_rights *rights, struct buf *out) {
    static const char *const marks[] = {"", "%R~", "%W~", "~"};
    if (rights->flags & ACL_ALL_KEYS) buf_append_text(out, "~*");
    for (uint32_t i = 0; i < rights->keys.n; i++) {
        const struct acl_word *word = &rights->keys.items[i];
        buf_printf(out, "%s%s", i ? " " : "", marks[word->tag]);
        buf_append(out, word->text, word->len);
    }
}

void acl_rights_describe_channels(const struct acl_rights *rights, struct buf *out) {
    if (rights->flags & ACL_ALL_CHANNELS) buf_append_text(out, "&*");
    for (uint32_t i = 0; i < rights->channels.n; i++) {
        const struct acl_word *word = &rights->channels.items[i];
        buf_append_text(out, i ? " &" : "&");
        buf_append(out, word->text, word->len);
    }
}

uint32_t acl_rights_passwords(const struct acl_rights *rights) { return rights->passwords.n; }

struct slice acl_rights_password(const struct acl_rights *rights, uint32_t i) {
    return acl_word_slice(&rights->passwords.items[i]);
}

const char *acl_rights_flag_name(const struct acl_rights *rights, uint32_t *at) {
    static const struct {
        const char *name;
        uint32_t set, clear;
    } names[] = {
        {"on", ACL_ON, 0},
        {"off", 0, ACL_ON},
        {"nopass", ACL_NOPASS, 0},
        {"skip-sanitize-payload", ACL_SKIP_SANITIZE, 0},
        {"sanitize-payload", ACL_SANITIZE, 0},
    };
    for (; *at < sizeof names / sizeof names[0]; ++*at) {
        if ((rights->flags & names[*at].set) != names[*at].set || rights->flags & names[*at].clear)
            continue;
        return names[(*at)++].name;
    }
    return NULL;
}

void acl_rights_describe(const struct acl_rights *rights, const struct command_ids *ids,
                         struct buf *out) {
    const char *flag;
    uint32_t at = 0;
    while ((flag = acl_rights_flag_name(rights, &at)))
        buf_printf(out, "%s ", flag);
    for (uint32_t i = 0; i < rights->passwords.n; i++)
        buf_printf(out, "#%.*s ", ACL_HASH_LEN, rights->passwords.items[i].text);
    size_t before = out->len;
    acl_rights_describe_keys(rights, out);
    if (out->len > before) buf_append_char(out, ' ');
    if (!(rights->flags & ACL_ALL_CHANNELS)) buf_append_text(out, "resetchannels ");
    before = out->len;
    acl_rights_describe_channels(rights, out);
    if (out->len > before) buf_append_char(out, ' ');
    acl_rights_describe_commands(rights, ids, out);
}
