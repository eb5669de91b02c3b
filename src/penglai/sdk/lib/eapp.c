/* The calls to the monitor, and what a compiler expects of a freestanding program. */
#include "eapp.h"
#include "ocall.h"
#include <stddef.h>

void eapp_exit(unsigned long value)
{
    for (;;)
        eapp_ecall(EAPP_ECALL_EXIT, value, 0, 0);
}

unsigned long get_enclave_id(void)
{
    return (unsigned long)eapp_ecall(EAPP_ECALL_OWN_ID, 0, 0, 0);
}

void *sbrk(long delta)
{
    return (void *)eapp_ocall(OCALL_SBRK, (unsigned long)delta);
}

static void nothing(void)
{
}

eapp_nothing *eapp_yield(void)
{
    eapp_ecall(EAPP_ECALL_YIELD, 0, 0, 0);
    return nothing;
}

__attribute__((weak)) void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    char *target = to;
    const char *source = from;
    while (bytes--)
        *target++ = *source++;
    return to;
}

__attribute__((weak)) void *memmove(void *to, const void *from, size_t bytes)
{
    char *target = to;
    const char *source = from;
    if (target <= source)
        return memcpy(to, from, bytes);
    while (bytes--)
        target[bytes] = source[bytes];
    return to;
}

__attribute__((weak)) void *memset(void *to, int value, size_t bytes)
{
    char *target = to;
    while (bytes--)
        *target++ = (char)value;
    return to;
}

__attribute__((weak)) int memcmp(const void *left, const void *right, size_t bytes)
{
    const unsigned char *a = left, *b = right;
    for (; bytes--; a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}

__attribute__((weak)) size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}
