#include "cdc/shape/mask.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct masker {
    EVP_MD_CTX *salted; /* has taken in the salt; each value goes on from a copy */
    EVP_MD_CTX *value;
};

/* Java's names, and OpenSSL's. */
static const struct {
    const char *name;
    const char *openssl;
} algorithms[] = {
    {"MD5", "MD5"},           {"SHA-1", "SHA1"},        {"SHA-224", "SHA224"},
    {"SHA-256", "SHA256"},    {"SHA-384", "SHA384"},    {"SHA-512", "SHA512"},
    {"SHA3-256", "SHA3-256"}, {"SHA3-512", "SHA3-512"},
};

static const EVP_MD *find_algorithm(const char *name) {
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return EVP_get_digestbyname(algorithms[i].openssl);
    }
    return NULL;
}

struct masker *masker_create(const char *algorithm, const char *salt) {
    const EVP_MD *digest = find_algorithm(algorithm);
    if (!digest) return NULL;
    struct masker *masker = mem_zalloc(sizeof *masker);
    masker->salted = EVP_MD_CTX_new();
    masker->value = EVP_MD_CTX_new();
    bool ok = masker->salted && masker->value && EVP_DigestInit_ex(masker->salted, digest, NULL) &&
              EVP_DigestUpdate(masker->salted, salt, strlen(salt));
    if (!ok) masker_destroy(&masker);
    return masker;
}

void masker_destroy(struct masker **masker) {
    if (!*masker) return;
    EVP_MD_CTX_free((*masker)->salted);
    EVP_MD_CTX_free((*masker)->value);
    mem_free(*masker);
    *masker = NULL;
}

uint32_t masker_hash(struct masker *masker, struct slice value, uint32_t longest, char *out) {
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool ok = EVP_MD_CTX_copy_ex(masker->value, masker->salted) &&
              EVP_DigestUpdate(masker->value, value.data, value.len) &&
              EVP_DigestFinal_ex(masker->value, hash, &len);
    ASSERT(ok && len * 2 <= MASK_HASH_MAX);
    for (unsigned i = 0; i < len; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    return longest && longest < len * 2 ? longest : len * 2;
}

struct slice mask_cut(struct slice text, uint32_t characters) {
    if (text.len <= characters) return text;
    size_t at = 0;
    for (uint32_t n = 0; at < text.len;) {
        unsigned char lead = (unsigned char)text.data[at];
        n += lead >= 0xf0 ? 2 : 1;
        if (n > characters) break;
        do
            at++;
        while (at < text.len && ((unsigned char)text.data[at] & 0xc0) == 0x80);
    }
    return slice_make(text.data, at);
}
