/*
 * Text for the host, for hosts to whom it is a format of the kernel's log: at most 511 bytes at once, each a whole
 * line, and no percent sign, in whose place is "pct".
 */
#include <string.h>
#include "../lib/runtime.h"

#define ROOM 510

static char line[ROOM + 2];
static size_t used;

static void send(void)
{
    line[used++] = '\n';
    line[used] = 0;
    for (size_t i = 0; i <= used; i++)
        EAPP_KERNEL_BUFFER[i] = line[i];
    used = 0;
    eapp_ocall(OCALL_WRITE, 0);
}

static void put(char letter)
{
    if (used == ROOM)
        send();
    line[used++] = letter;
}

static void put_all(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n')
            send();
        else if (text[i] == '%')
            put_all("pct", 3);
        else if (text[i])
            put(text[i]);
    }
}

void eapp_console_flush(void)
{
    if (used)
        send();
}

long eapp_console_write(const struct iovec *pieces, long count)
{
    size_t total = 0;
    for (long i = 0; i < count; i++) {
        put_all(pieces[i].iov_base, pieces[i].iov_len);
        total += pieces[i].iov_len;
    }
    return (long)total;
}
