/*
 * PSA Certified Secure Storage API 1.0, protected storage: objects by number, kept by the server "psa_server".  For
 * programs that are linked with -lpsa.
 *
 * All enclaves have the same objects.
 */
#ifndef PSA_PROTECTED_STORAGE_H
#define PSA_PROTECTED_STORAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t psa_status_t;
typedef uint64_t psa_storage_uid_t; /* not 0 */
typedef uint32_t psa_storage_create_flags_t;

#define PSA_SUCCESS ((psa_status_t)0)
#define PSA_ERROR_PROGRAMMER_ERROR ((psa_status_t) - 129)
#define PSA_ERROR_GENERIC_ERROR ((psa_status_t) - 132) /* there is no server, or it cannot store */
#define PSA_ERROR_NOT_PERMITTED ((psa_status_t) - 133) /* PSA_STORAGE_FLAG_WRITE_ONCE */
#define PSA_ERROR_NOT_SUPPORTED ((psa_status_t) - 134)
#define PSA_ERROR_INVALID_ARGUMENT ((psa_status_t) - 135)
#define PSA_ERROR_DOES_NOT_EXIST ((psa_status_t) - 140)
#define PSA_ERROR_INSUFFICIENT_STORAGE ((psa_status_t) - 142)

#define PSA_STORAGE_FLAG_NONE 0u
#define PSA_STORAGE_FLAG_WRITE_ONCE 1u
#define PSA_STORAGE_FLAG_NO_CONFIDENTIALITY 2u  /* allowed; it is encrypted all the same */
#define PSA_STORAGE_FLAG_NO_REPLAY_PROTECTION 4u /* allowed */

struct psa_storage_info_t {
    size_t capacity, size;
    psa_storage_create_flags_t flags;
};

/* Stores data_length bytes, at most 16384, in place of what the object had. */
psa_status_t psa_ps_set(psa_storage_uid_t uid, size_t data_length, const void *p_data,
                        psa_storage_create_flags_t create_flags);

/* Reads at most data_size bytes from data_offset on. */
psa_status_t psa_ps_get(psa_storage_uid_t uid, size_t data_offset, size_t data_size, void *p_data,
                        size_t *p_data_length);

psa_status_t psa_ps_get_info(psa_storage_uid_t uid, struct psa_storage_info_t *p_info);
psa_status_t psa_ps_remove(psa_storage_uid_t uid);

/* Not supported, as psa_ps_get_support says. */
psa_status_t psa_ps_create(psa_storage_uid_t uid, size_t capacity, psa_storage_create_flags_t create_flags);
psa_status_t psa_ps_set_extended(psa_storage_uid_t uid, size_t data_offset, size_t data_length,
                                 const void *p_data);

/* Optional features: none. */
uint32_t psa_ps_get_support(void);

#ifdef __cplusplus
}
#endif
#endif
