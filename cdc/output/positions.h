/* positions.h: the compacted topic <prefix>.positions: one record a slot, which says how far its events are in
 * Kafka. It is written in the same Kafka transaction as the events, so that the two cannot disagree.
 *
 *     positions_read(&config, "shop.positions", "freshet", log, &position, err)
 *     position_compose_key("freshet", &key);  position_compose_value(&position, &value);
 */
#ifndef FRESHET_CDC_POSITIONS_H
#define FRESHET_CDC_POSITIONS_H

#include "base/buf.h"
#include "base/change.h"
#include "base/kafka.h"

/* {"slot":"freshet"} */
void position_compose_key(const char *slot, struct buf *out);
/* {"end_lsn":26734656,"lsn":"0/197F080","snapshot_done":true,"system_identifier":"7...","last_end_lsn":26734600}, and inside a
 * split transaction "part":{"commit_lsn":26735000,"changes":50000,"number":1} */
void position_compose_value(const struct change_position *position, struct buf *out);
/* False: malformed. */
bool position_parse(struct slice value, struct change_position *position) MUST_CHECK;

/* Records beside it, written only when they have changed. */
enum position_note {
    NOTE_SNAPSHOT, /* the note of base/change.h */
    NOTE_SCHEMAS,  /* schema_registry.h's memory */
    N_POSITION_NOTES
};
/* {"slot":"freshet","note":"snapshot"} */
void position_compose_note_key(const char *slot, enum position_note note, struct buf *out);

/* The last committed record of the slot; zero where there is none, or no such topic. Reads the topic's only
 * partition to its end: the caller has fenced whoever else wrote there. Blocks up to timeout_ms. `notes` (NULL: not wanted)
 * get those beside it, N_POSITION_NOTES, empty where there is none. */
bool positions_read(const struct kafka_config *config, const char *topic, const char *slot,
                    struct log *log, int timeout_ms, struct change_position *position,
                    struct buf *notes, struct error *err) MUST_CHECK;

#endif
