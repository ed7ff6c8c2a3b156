/* The row alone, as an object; a logical message as its prefix and content. */
#include "cdc/encode/encode_json.h"

static bool plain_value(const struct event_source *source, const struct event *event,
                        struct encode_tally *tally, struct buf *out) {
    if (event->table)
        return encode_json_row(event->table, event->after, event->old_row, tally, out);
    encode_json_message(source, event, out);
    return true;
}

const struct event_encoder encode_plain = {
    .name = "plain",
    .rows_only = true,
    .key = encode_json_key,
    .value = plain_value,
    .message_key = encode_json_message_key,
    .frame = encode_json_frame,
};
