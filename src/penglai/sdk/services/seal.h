/* Sealing: encryption and authentication of blocks that somebody else keeps. */
#ifndef PENGLAI_SEAL_H
#define PENGLAI_SEAL_H

#include <stddef.h>
#include <stdint.h>

#define SEAL_TAG 24

/* What a block is: a tag made for one is never good for another. */
struct seal_place {
    uint32_t kind, number;
    uint64_t turn;
};

/* Takes the enclave's key for storage; 0 or -1. */
int seal_ready(void);

/* Encrypts size bytes; the tag has to be kept where nobody else can change it. */
void seal_close(const struct seal_place *place, const uint8_t *plain, size_t size, uint8_t *cipher,
                uint8_t tag[SEAL_TAG]);

/* Decrypts them; -1 if they, or the place, are not what the tag was made for. */
int seal_open(const struct seal_place *place, const uint8_t *cipher, size_t size, const uint8_t tag[SEAL_TAG],
              uint8_t *plain);

#endif
