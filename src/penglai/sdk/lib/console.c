/*
 * Text for the host: one request per 4095 bytes.
 *
 * NUL ends a text in the kernel buffer, so it cannot be part of one: NULs of binary output are left out.
 */
#include <string.h>
#include "runtime.h"

#define ROOM (EAPP_PAGE_SIZE - 1)

typedef unsigned long __attribute__((may_alias)) word;

static int has_nul(word value)
{
    return ((value - 0x0101010101010101UL) & ~value & 0x8080808080808080UL) != 0;
}

static void flush(size_t used)
{
    EAPP_KERNEL_BUFFER[used] = 0;
    eapp_ocall(OCALL_WRITE, 0);
}

/* Appends to the kernel buffer, sends it when it is full, and returns how much is in it. */
static size_t put(size_t used, const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end) {
        if (used == ROOM) {
            flush(used);
            used = 0;
        }
        if (!(used % sizeof(word)) && !((unsigned long)text % sizeof(word))) {
            for (; used + sizeof(word) <= ROOM && text + sizeof(word) <= end; text += sizeof(word)) {
                word value = *(const word *)text;
                if (has_nul(value))
                    break;
                *(volatile word *)(EAPP_KERNEL_BUFFER + used) = value;
                used += sizeof(word);
            }
            if (text == end || used == ROOM)
                continue;
        }
        if (*text)
            EAPP_KERNEL_BUFFER[used++] = *text;
        text++;
    }
    return used;
}

long eapp_console_write(const struct iovec *pieces, long count)
{
    size_t used = 0, total = 0;
    for (long i = 0; i < count; i++) {
        used = put(used, pieces[i].iov_base, pieces[i].iov_len);
        total += pieces[i].iov_len;
    }
    if (used)
        flush(used);
    return (long)total;
}
