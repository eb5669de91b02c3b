/* Objects of protected storage, each a sealed file of the server "filesystem". */
#ifndef PENGLAI_OBJECTS_H
#define PENGLAI_OBJECTS_H

#include <stdint.h>
#include "psa/protected_storage.h"

#define OBJECT_SIZE 16384 /* bytes, at most */
#define OBJECT_MOST 64    /* objects */

struct object {
    uint32_t flags, size;
    uint8_t data[OBJECT_SIZE];
};

/* The object of that number; PSA_ERROR_DOES_NOT_EXIST, or PSA_ERROR_GENERIC_ERROR if it is not as it was stored. */
psa_status_t object_load(uint64_t uid, struct object *object);

psa_status_t object_store(uint64_t uid, const struct object *object);
psa_status_t object_remove(uint64_t uid);

#endif
