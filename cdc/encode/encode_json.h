/* encode_json.h: what the encoders that write JSON share. Private to encode*.c. */
#ifndef FRESHET_CDC_ENCODE_JSON_H
#define FRESHET_CDC_ENCODE_JSON_H

#include "cdc/encode/encode.h"

/* source.snapshot */
extern const char *const encode_markers[];

/* A row as an object, null for NULL. */
bool encode_json_row(const struct event_table *table, const struct value *row,
                     const struct value *old_row, struct encode_tally *tally, struct buf *out);
/* "before":...,"after":... */
bool encode_json_images(const struct event *event, struct encode_tally *tally, struct buf *out);

/* Some columns of a row as an object. */
bool encode_json_columns(const struct event_table *table, uint16_t n, const uint16_t *places,
                         const struct value *row, const struct value *old_row,
                         struct encode_tally *tally, struct buf *out);
/* The key's, and the field that tells tables of one topic apart where there is one. */
/* The bare key, for a header. */
bool encode_json_header(const struct event_table *table, const struct value *row,
                        const struct value *old_row, struct encode_tally *tally, struct buf *out);
bool encode_json_key(const struct event_table *table, const struct value *row,
                     const struct value *old_row, struct encode_tally *tally, struct buf *out);
void encode_json_message_key(const struct event_source *source, struct slice prefix,
                             struct buf *out);
void encode_json_frame(const struct event_source *source, enum event_frame frame,
                       struct slice payload, struct buf *out);
/* {"prefix":...,"content":...} */
void encode_json_message(const struct event_source *source, const struct event *event,
                         struct buf *out);

#endif
