/* Calls to the monitor. */
#include "linux.h"

#define EXTENSION 0x100101
#define EXIT 99
#define OCALL 98
#define YIELD 89
#define CLOCK 3
#define SET_EVENTS 7
#define OCALL_MMAP 1
#define OCALL_UNMAP 2
#define OCALL_WRITE 3
#define OCALL_RANDOM 8
#define OCALL_ASK 64
#define RANDOM_PIECE (1UL << 20)
#define KERNEL_BUFFER ((volatile char *)0xffffffe000000000UL)
#define ROOM (PAGE - 1)
#define NS_PER_TICK 100

long monitor_call(long function, word a, word b, word c)
{
    register word a0 __asm__("a0") = a;
    register word a1 __asm__("a1") = b;
    register word a2 __asm__("a2") = c;
    register long a6 __asm__("a6") = EXTENSION;
    register long a7 __asm__("a7") = function;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1), "+r"(a2) : "r"(a6), "r"(a7) : "memory");
    return (long)a0;
}

void monitor_end(word value)
{
    for (;;)
        monitor_call(EXIT, value, 0, 0);
}

void monitor_yield(void)
{
    monitor_call(YIELD, 0, 0, 0);
}

int monitor_map(word address, word size)
{
    return monitor_call(OCALL, OCALL_MMAP, address, size) == (long)address;
}

int monitor_unmap(word address, word size)
{
    return !monitor_call(OCALL, OCALL_UNMAP, address, size);
}

int monitor_random(void *buffer, word size)
{
    for (word done = 0; done < size; done += RANDOM_PIECE) {
        word piece = size - done < RANDOM_PIECE ? size - done : RANDOM_PIECE;
        if (monitor_call(OCALL, OCALL_RANDOM, (word)buffer + done, piece) != (long)piece)
            return 0;
    }
    return 1;
}

/* NUL ends a text of the host's, so it cannot be part of one: NULs are left out. */
void monitor_write(const char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i])
            KERNEL_BUFFER[used++] = text[i];
        if (used == ROOM || (used && i + 1 == size)) {
            KERNEL_BUFFER[used] = 0;
            monitor_call(OCALL, OCALL_WRITE, 0, 0);
            used = 0;
        }
    }
}

word monitor_time_of_day(void)
{
    return (word)monitor_call(CLOCK, 0, 0, 0);
}

long monitor_ask(word question, word argument)
{
    return monitor_call(OCALL, OCALL_ASK, question, argument);
}

void monitor_give(word at, const char *from, word size)
{
    for (word i = 0; i < size; i++)
        KERNEL_BUFFER[at + i] = from[i];
}

void monitor_take(char *to, word size)
{
    for (word i = 0; i < size; i++)
        to[i] = KERNEL_BUFFER[i];
}

void monitor_events(word handler, word events)
{
    monitor_call(SET_EVENTS, handler, events, 0);
}

word ticks_ns(void)
{
    word ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks * NS_PER_TICK;
}
