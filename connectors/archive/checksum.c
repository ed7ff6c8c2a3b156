#include "connectors/archive/checksum.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

struct checksum {
    EVP_MD_CTX *state;
    EVP_MD_CTX *copy; /* finished in place of `state`, which goes on */
};

struct checksum *checksum_create(void) {
    struct checksum *checksum = mem_zalloc(sizeof *checksum);
    checksum->state = EVP_MD_CTX_new();
    checksum->copy = EVP_MD_CTX_new();
    ASSERT(checksum->state && checksum->copy);
    checksum_reset(checksum);
    return checksum;
}

void checksum_destroy(struct checksum **checksum) {
    struct checksum *old = *checksum;
    *checksum = NULL;
    if (!old) return;
    EVP_MD_CTX_free(old->state);
    EVP_MD_CTX_free(old->copy);
    mem_free(old);
}

void checksum_reset(struct checksum *checksum) {
    int ok = EVP_DigestInit_ex(checksum->state, EVP_sha256(), NULL);
    ASSERT(ok);
}

void checksum_add(struct checksum *checksum, struct slice bytes) {
    int ok = EVP_DigestUpdate(checksum->state, bytes.data ? bytes.data : "", bytes.len);
    ASSERT(ok);
}

void checksum_hex(const struct checksum *checksum, char *hex) {
    unsigned char digest[CHECKSUM_CHARS / 2];
    int ok = EVP_MD_CTX_copy_ex(checksum->copy, checksum->state) &&
             EVP_DigestFinal_ex(checksum->copy, digest, NULL);
    ASSERT(ok);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void checksum_of(struct slice bytes, char *hex) {
    struct checksum *checksum = checksum_create();
    checksum_add(checksum, bytes);
    checksum_hex(checksum, hex);
    checksum_destroy(&checksum);
}
