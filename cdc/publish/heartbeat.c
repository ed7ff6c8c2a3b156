#include "cdc/publish/heartbeat.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

struct heartbeat {
    const struct publisher_config *config;
    const struct event_encoder *encoder;
    struct event_source *source;
    const struct output_ops *output_ops;
    void *output;
    struct arena *names;
    void *topic;      /* the output's handle, made at first use */
    int64_t last_us;  /* monotonic */
    struct buf key;   /* encoded */
    struct buf value; /* encoded */
    struct buf bare;  /* before it is framed */
    struct metric *written;
};

struct heartbeat *heartbeat_create(const struct publisher_config *config,
                                   const struct publisher_deps *deps,
                                   const struct event_encoder *encoder, struct event_source *source,
                                   const struct output_ops *output_ops, void *output) {
    if (!config->heartbeat_interval_ms) return NULL;
    struct heartbeat *heartbeat = mem_zalloc(sizeof *heartbeat);
    heartbeat->config = config;
    heartbeat->encoder = encoder;
    heartbeat->source = source;
    heartbeat->output_ops = output_ops;
    heartbeat->output = output;
    heartbeat->names = arena_create(256);
    heartbeat->written = metrics_counter(
        deps->metrics, "freshet_cdc_heartbeats_total",
        "Records written to the topic of heartbeats (cdc.heartbeat_interval).", NULL);
    return heartbeat;
}

void heartbeat_destroy(struct heartbeat **heartbeat) {
    struct heartbeat *old = *heartbeat;
    *heartbeat = NULL;
    if (!old) return;
    buf_deinit(&old->key);
    buf_deinit(&old->value);
    buf_deinit(&old->bare);
    arena_destroy(&old->names);
    mem_free(old);
}

void heartbeat_start(struct heartbeat *heartbeat, int64_t now_us) {
    if (heartbeat) heartbeat->last_us = now_us;
}

bool heartbeat_is_due(const struct heartbeat *heartbeat, int64_t now_us) {
    return heartbeat &&
           now_us - heartbeat->last_us >= heartbeat->config->heartbeat_interval_ms * 1000;
}

static void frame(struct heartbeat *heartbeat, enum event_frame kind, struct buf *out) {
    out->len = 0;
    heartbeat->encoder->frame(heartbeat->source, kind, buf_slice(&heartbeat->bare), out);
}

static void compose(struct heartbeat *heartbeat) {
    struct buf *bare = &heartbeat->bare;
    bare->len = 0;
    buf_append_text(bare, "{\"serverName\":");
    json_append_string_java(bare, slice_from(heartbeat->config->prefix));
    buf_append_char(bare, '}');
    frame(heartbeat, FRAME_HEARTBEAT_KEY, &heartbeat->key);
    bare->len = 0;
    buf_append_text(bare, "{\"ts_ms\":");
    buf_append_i64(bare, clock_wall_us() / 1000);
    buf_append_char(bare, '}');
    frame(heartbeat, FRAME_HEARTBEAT, &heartbeat->value);
}

bool heartbeat_write(struct heartbeat *heartbeat, int64_t now_us, struct error *err) {
    static const struct topic_kind kind = {.ordered = true};
    if (!heartbeat->topic) {
        const char *name =
            event_topic(heartbeat->names, "__debezium-heartbeat", heartbeat->config->prefix, NULL);
        heartbeat->topic = heartbeat->output_ops->topic(heartbeat->output, name, &kind, err);
        if (!heartbeat->topic) return false;
    }
    const struct event_encoder *encoder = heartbeat->encoder;
    if (encoder->prepare_side && !encoder->prepare_side(heartbeat->source, SIDE_HEARTBEAT, err))
        return false;
    compose(heartbeat);
    struct record record = {.topic = heartbeat->topic,
                            .key = buf_slice(&heartbeat->key),
                            .value = buf_slice(&heartbeat->value)};
    heartbeat->last_us = now_us;
    metric_bump(heartbeat->written, 1);
    return heartbeat->output_ops->write(heartbeat->output, &record, err) == WRITE_DONE;
}
