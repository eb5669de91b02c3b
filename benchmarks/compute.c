/*
 * Five kinds of work, the same source for each machine: INTEGER, FLOAT, MEMORY, BRANCHY or COREMARK, ROUNDS
 * times.
 *
 * For an enclave (ENCLAVE), for a processor without a system (BARE), or for Linux, where it prints how long
 * it took, in ns, and its result.
 */
#define SIZE (1UL << 20)
#define SKEW (37 * 512UL) /* so that what is copied and its copy are no power of 2 apart */

static unsigned long data[SIZE]; /* 8 MiB */
static unsigned long seed = 88172645463325252UL;

static unsigned long number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

#if defined(INTEGER)

static unsigned long work(void)
{
    unsigned long sum = 0;
    for (int i = 0; i < 100000; i++) {
        unsigned long n = number();
        sum = (sum << 5 | sum >> 59) + n % 1000003 * 2654435761UL;
        sum ^= sum >> 29;
    }
    return sum;
}

#elif defined(FLOAT)

/* Points of the Mandelbrot set: multiplications and additions that wait for each other. */
static unsigned long work(void)
{
    unsigned long sum = 0;
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 60; x++) {
            double a = x / 20.0 - 2.1, b = y / 16.0 - 1.25, re = 0, im = 0;
            int i = 0;
            for (; i < 200 && re * re + im * im < 4; i++) {
                double next = re * re - im * im + a;
                im = 2 * re * im + b;
                re = next;
            }
            sum += (unsigned long)i;
        }
    return sum;
}

#elif defined(MEMORY)

/* A stream of copies, then loads from all over 8 MiB, each from where the last one says. */
static unsigned long work(void)
{
    unsigned long place = 1, sum = 0;
    for (unsigned long i = 0; i < SIZE / 2 - SKEW; i++)
        data[SIZE / 2 + SKEW + i] = data[i] + i;
    for (int i = 0; i < 200000; i++) {
        place = (place * 6364136223846793005UL + data[place] + 1442695040888963407UL) % SIZE;
        sum += place;
    }
    return sum;
}

#elif defined(BRANCHY)

/* Sorts: every branch is as likely as not. */
static void sort(unsigned long *first, unsigned long *last)
{
    while (last - first > 8) {
        unsigned long pivot = first[(last - first) / 2], *low = first, *high = last - 1;
        while (low <= high) {
            while (*low < pivot)
                low++;
            while (*high > pivot)
                high--;
            if (low <= high) {
                unsigned long kept = *low;
                *low++ = *high;
                *high-- = kept;
            }
        }
        sort(first, high + 1);
        first = low;
    }
    for (unsigned long *next = first; next < last; next++) {
        unsigned long value = *next, *at = next;
        for (; at > first && at[-1] > value; at--)
            *at = at[-1];
        *at = value;
    }
}

static unsigned long work(void)
{
    for (int i = 0; i < 20000; i++)
        data[i] = number();
    sort(data, data + 20000);
    return data[10000];
}

#else

unsigned long coremark(void);

static unsigned long work(void)
{
    return coremark();
}

#endif

static unsigned long all(void)
{
    unsigned long sum = 0;
    for (int round = 0; round < ROUNDS; round++)
        sum = sum * 31 + work();
    return sum;
}

#if defined(ENCLAVE)

#include "eapp.h"

int EAPP_ENTRY main(void)
{
    EAPP_RETURN(all());
}

#elif defined(BARE)

unsigned long bare_main(void)
{
    return all();
}

/* There is no C library, but the compiler makes calls of it from loops. */
void *memset(void *memory, int value, unsigned long size)
{
    for (char *at = memory; size > 0; size--)
        *at++ = (char)value;
    return memory;
}

__asm__(".section .text._entry, \"ax\"\n"
        ".globl bare_start\n"
        ".globl bare_end\n"
        "bare_start:\n"
        "        call    bare_main\n"
        "bare_end:\n"
        "        j       bare_end\n");

#else

#include <stdio.h>
#include <time.h>

int main(void)
{
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    unsigned long sum = all();
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%ld %lu\n", (ended.tv_sec - begun.tv_sec) * 1000000000L + ended.tv_nsec - begun.tv_nsec, sum);
}

#endif
