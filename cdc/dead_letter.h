/* dead_letter.h: the record that stands in <prefix>.dead-letters for an event that could not be published. */
#ifndef FRESHET_CDC_DEAD_LETTER_H
#define FRESHET_CDC_DEAD_LETTER_H

#include "cdc/encode.h"

/* Appends {"cause":...,"op":...,"schema":...,"table":...,"key":...,"lsn":...,"txId":...,"before":{...},
 * "after":{...}}: the columns as PostgreSQL's text, long ones cut. `key` may be empty. */
void dead_letter_compose(const struct event_source *source, const struct event *event,
                         struct slice key, const char *cause, struct buf *out);

#endif
