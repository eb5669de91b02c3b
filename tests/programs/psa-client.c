/* Protected storage: the value is the number of the line of the first thing that is not as it should be, or 0. */
#include "psa/protected_storage.h"
#include <stdio.h>
#include <string.h>

#define MUST(condition)                    \
    do                                     \
        if (!(condition)) {                \
            printf("line %d\n", __LINE__); \
            return __LINE__;               \
        }                                  \
    while (0)

#define ROOM 16384

static char large[ROOM], back[ROOM + 1];

int main(void)
{
    struct psa_storage_info_t info;
    size_t length = 0;
    MUST(psa_ps_get_support() == 0);
    MUST(psa_ps_get(1, 0, sizeof back, back, &length) == PSA_ERROR_DOES_NOT_EXIST);
    MUST(psa_ps_get_info(1, &info) == PSA_ERROR_DOES_NOT_EXIST);
    MUST(psa_ps_remove(1) == PSA_ERROR_DOES_NOT_EXIST);
    MUST(psa_ps_set(0, 1, "x", 0) == PSA_ERROR_INVALID_ARGUMENT);
    MUST(psa_ps_set(1, 1, "x", 8) == PSA_ERROR_NOT_SUPPORTED);
    MUST(psa_ps_set(1, 5, "hello", 0) == PSA_SUCCESS);
    MUST(psa_ps_get(1, 1, 3, back, &length) == PSA_SUCCESS && length == 3 && !memcmp(back, "ell", 3));
    MUST(psa_ps_get(1, 5, 3, back, &length) == PSA_SUCCESS && length == 0);
    MUST(psa_ps_get(1, 6, 3, back, &length) == PSA_ERROR_INVALID_ARGUMENT);
    MUST(psa_ps_set(1, 0, NULL, 6) == PSA_SUCCESS);
    MUST(psa_ps_get_info(1, &info) == PSA_SUCCESS && info.size == 0 && info.flags == 6);
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 3);
    MUST(psa_ps_set(2, sizeof large, large, 0) == PSA_SUCCESS);
    MUST(psa_ps_get(2, 0, sizeof back, back, &length) == PSA_SUCCESS && length == sizeof large);
    MUST(!memcmp(large, back, sizeof large));
    MUST(psa_ps_set(2, sizeof large + 1, large, 0) == PSA_ERROR_INSUFFICIENT_STORAGE);
    MUST(psa_ps_set(3, 1, "x", PSA_STORAGE_FLAG_WRITE_ONCE) == PSA_SUCCESS);
    MUST(psa_ps_set(3, 1, "y", 0) == PSA_ERROR_NOT_PERMITTED && psa_ps_remove(3) == PSA_ERROR_NOT_PERMITTED);
    MUST(psa_ps_create(4, 1, 0) == PSA_ERROR_NOT_SUPPORTED);
    MUST(psa_ps_set_extended(4, 0, 1, "x") == PSA_ERROR_NOT_SUPPORTED);
    for (psa_storage_uid_t uid = 5; uid < 66; uid++)
        MUST(psa_ps_set(uid, 1, "x", 0) == PSA_SUCCESS);
    MUST(psa_ps_set(66, 1, "x", 0) == PSA_ERROR_INSUFFICIENT_STORAGE);
    MUST(psa_ps_remove(5) == PSA_SUCCESS && psa_ps_set(66, 1, "x", 0) == PSA_SUCCESS);
    return 0;
}
