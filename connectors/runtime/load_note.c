#include "connectors/runtime/load_note.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lsn.h"
#include "base/mem.h"

static void replace(char **text, char *with) {
    mem_free(*text);
    *text = with;
}

void load_note_deinit(struct load_note *note) {
    replace(&note->resumes, NULL);
    replace(&note->heard, NULL);
    replace(&note->due, NULL);
}

void load_note_prepare(struct load_note *note, struct change_position *position,
                       uint64_t *version) {
    bool goes_on = position->note && !note->begins_anew;
    if (position->note && !goes_on) position->end_lsn = position->last_end_lsn = 0;
    load_note_deinit(note);
    note->resumes = goes_on ? mem_strdup(position->note) : NULL;
    note->kept = position->keeps_notes;
    note->begins_anew = false;
    position->note = NULL;
    if (!goes_on) return;
    char *rest;
    *version = strtoull(note->resumes, &rest, 10);
    position->note = rest + (*rest == ' ');
}

void load_note_hear(struct load_note *note, uint64_t version, struct slice text) {
    note->begins_anew |= text.len == 0;
    replace(&note->heard, NULL);
    if (text.len) note->heard = mem_printf("%" PRIu64 " %.*s", version, (int)text.len, text.data);
}

void load_note_commit(struct load_note *note) {
    if (!note->heard) return;
    replace(&note->due, note->heard);
    note->heard = NULL;
}

char *load_note_take(struct load_note *note) {
    char *due = note->due;
    note->due = NULL;
    return due;
}

/* 97548027976 16/B374D848 "the key" */
void load_note_append_walk(struct buf *out, uint64_t version, uint64_t slot_lsn,
                           const char *after) {
    buf_printf(out, "%" PRIu64 " " LSN_FMT " ", version, LSN_ARG(slot_lsn));
    json_append_string(out, slice_from(after));
}

bool load_note_read_walk(const char *text, uint64_t *slot_lsn, char **after) {
    char lsn[32];
    size_t len = strcspn(text, " ");
    if (!text[len] || len >= sizeof lsn) return false;
    snprintf(lsn, sizeof lsn, "%.*s", (int)len, text);
    json_t *key = json_loads(text + len + 1, JSON_DECODE_ANY, NULL);
    bool is_note = json_is_string(key) && lsn_parse(lsn, slot_lsn) && *slot_lsn;
    if (is_note) *after = mem_strdup(json_string_value(key));
    json_decref(key);
    return is_note;
}
