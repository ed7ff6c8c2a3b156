/* bytea and bit strings. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cdc/encode/codec_rules.h"

static void append_bytes(enum format_bytes mode, struct slice bytes, struct buf *out) {
    static const char hex[] = "0123456789abcdef";
    buf_append_char(out, '"');
    size_t start = out->len;
    if (mode == BYTES_HEX) {
        char *at = buf_reserve(out, bytes.len * 2);
        for (size_t i = 0; i < bytes.len; i++) {
            *at++ = hex[(unsigned char)bytes.data[i] >> 4];
            *at++ = hex[(unsigned char)bytes.data[i] & 15];
        }
        out->len += bytes.len * 2;
    } else {
        base64_append(out, bytes.data, bytes.len);
    }
    if (mode == BYTES_BASE64_URL_SAFE) {
        for (size_t i = start; i < out->len; i++) {
            if (out->data[i] == '+') out->data[i] = '-';
            if (out->data[i] == '/') out->data[i] = '_';
        }
    }
    buf_append_char(out, '"');
}

void codec_bytes(const struct event_format *format, struct slice bytes, struct buf *out) {
    append_bytes(format->bytes, bytes, out);
}

static int nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* "\x00ff" (bytea_output = hex). The bytes are made in `out` itself, behind the room that their encoding takes,
 * and so without a buffer of their own. */
enum codec_result codec_bytea(const struct codec *codec, struct slice text, struct buf *out) {
    if (text.len < 2 || text.data[0] != '\\' || text.data[1] != 'x' || text.len % 2)
        return CODEC_AS_TEXT;
    size_t n = (text.len - 2) / 2;
    size_t written = n * 2 + 8;
    char *bytes = buf_reserve(out, written + n) + written;
    for (size_t i = 0; i < n; i++) {
        int high = nibble(text.data[2 + 2 * i]);
        int low = nibble(text.data[3 + 2 * i]);
        if (high < 0 || low < 0) return CODEC_AS_TEXT;
        bytes[i] = (char)(high << 4 | low);
    }
    append_bytes(codec->format->bytes, slice_make(bytes, n), out);
    return CODEC_DONE;
}

/* The placeholder's own text in hex mode, as Debezium has it. */
void codec_placeholder_bytea(const struct codec *codec, struct buf *out) {
    if (codec->format->bytes == BYTES_HEX)
        buf_append_text(out, "\"" CODEC_PLACEHOLDER "\"");
    else
        append_bytes(codec->format->bytes, SLICE(CODEC_PLACEHOLDER), out);
}

/* One bit is a boolean, and none of a varbit(1) neither true nor false; more are the number's bytes, least first, without the
 * trailing zero ones. */
enum codec_result codec_bit(const struct codec *codec, struct slice text, struct buf *out) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '0' && text.data[i] != '1') return CODEC_AS_TEXT;
    }
    if (codec->bits == 1 && text.len <= 1) {
        buf_append_text(out, !text.len ? "null" : text.data[0] == '1' ? "true" : "false");
        return CODEC_DONE;
    }
    size_t n = (text.len + 7) / 8;
    size_t written = n * 2 + 8;
    char *bytes = buf_reserve(out, written + n) + written;
    memset(bytes, 0, n);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[text.len - 1 - i] == '1') bytes[i / 8] |= (char)(1 << i % 8);
    }
    while (n && bytes[n - 1] == 0)
        n--;
    append_bytes(BYTES_BASE64, slice_make(bytes, n), out);
    return CODEC_DONE;
}

void codec_zero_bit(const struct codec *codec, struct buf *out) {
    buf_append_text(out, codec->bits == 1 ? "false" : "\"\"");
}

void codec_placeholder_bit(const struct codec *codec, struct buf *out) {
    (void)codec;
    append_bytes(BYTES_BASE64, SLICE(CODEC_PLACEHOLDER), out);
}
