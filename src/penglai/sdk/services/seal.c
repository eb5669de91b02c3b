/*
 * Sealing without random numbers, which Penglai-TVM does not have: the tag is a keyed hash (BLAKE2b) of the place
 * and the text, and the nonce of the cipher (XChaCha20) as well.  So a nonce comes twice only with the same text at
 * the same place, also after a crash, or when the host has put an older disk in place.
 */
#include "seal.h"
#include <string.h>
#include "eapp.h"
#include "monocypher.h"

#define KEY 32

static uint8_t hash_key[KEY], cipher_key[KEY];
static int is_ready;

static void derive(uint8_t key[KEY], const uint8_t from[KEY], const char *purpose)
{
    crypto_blake2b_keyed(key, KEY, from, KEY, (const uint8_t *)purpose, strlen(purpose));
}

int seal_ready(void)
{
    uint8_t key[KEY];
    if (is_ready)
        return 0;
    if (get_key(EAPP_KEY_STORAGE, (char *)key, KEY))
        return -1;
    derive(hash_key, key, "penglai seal 1: hash");
    derive(cipher_key, key, "penglai seal 1: cipher");
    crypto_wipe(key, sizeof key);
    is_ready = 1;
    return 0;
}

static void make_tag(const struct seal_place *place, const uint8_t *plain, size_t size, uint8_t tag[SEAL_TAG])
{
    crypto_blake2b_ctx hash;
    crypto_blake2b_keyed_init(&hash, SEAL_TAG, hash_key, KEY);
    crypto_blake2b_update(&hash, (const uint8_t *)place, sizeof *place);
    crypto_blake2b_update(&hash, plain, size);
    crypto_blake2b_final(&hash, tag);
}

void seal_close(const struct seal_place *place, const uint8_t *plain, size_t size, uint8_t *cipher,
                uint8_t tag[SEAL_TAG])
{
    make_tag(place, plain, size, tag);
    crypto_chacha20_x(cipher, plain, size, cipher_key, tag, 0);
}

int seal_open(const struct seal_place *place, const uint8_t *cipher, size_t size, const uint8_t tag[SEAL_TAG],
              uint8_t *plain)
{
    uint8_t expected[32] = {0}, found[32] = {0}; /* crypto_verify32 takes as long for any difference */
    memcpy(expected, tag, SEAL_TAG);
    crypto_chacha20_x(plain, cipher, size, cipher_key, tag, 0);
    make_tag(place, plain, size, found);
    if (!crypto_verify32(expected, found))
        return 0;
    crypto_wipe(plain, size);
    return -1;
}
