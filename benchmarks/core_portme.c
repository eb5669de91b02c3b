/*
 * CoreMark as a function, the same for each machine: who calls it takes the time, so here is no clock.  What
 * it would print is read instead, since that is how it says whether its results are right.
 */
#include <stdarg.h>
#include "coremark.h"

#define VALIDATION 0x3415
#define PERFORMANCE 0
#define SMALL_SEED 0x66
#define FAILED 0x10000UL /* no CRC of 16 bits */

volatile ee_s32 seed1_volatile, seed2_volatile, seed3_volatile, seed4_volatile, seed5_volatile;
ee_u32 default_num_contexts = 1;

static _Alignas(16) ee_u8 block[TOTAL_DATA_SIZE];
static int known;    /* runs whose seeds and size are such that the right CRCs are known */
static int mistakes; /* wrong CRCs, and types of a wrong size */
static unsigned long last_crc;

static void run(ee_s32 seed, ee_s32 iterations)
{
    seed1_volatile = seed2_volatile = seed;
    seed3_volatile = SMALL_SEED;
    seed4_volatile = iterations;
    coremark_main();
}

/* Both runs that its rules ask for.  The last CRC, which depends on all that has been computed; or FAILED. */
unsigned long coremark(void)
{
    run(VALIDATION, 1);
    run(PERFORMANCE, ITERATIONS);
    return known == 2 && mistakes == 0 ? last_crc : FAILED;
}

static int begins(const char *text, const char *with)
{
    while (*with && *text == *with)
        text++, with++;
    return *with == 0;
}

/* That it ran for less than 10 s is an "ERROR! ..." too, but none of its results. */
int ee_printf(const char *format, ...)
{
    if (begins(format, "2K "))
        known++;
    else if (begins(format, "[%u]ERROR!") || begins(format, "ERROR:"))
        mistakes++;
    else if (begins(format, "[%d]crcfinal")) {
        va_list arguments;
        va_start(arguments, format);
        (void)va_arg(arguments, int); /* the context */
        last_crc = (unsigned long)va_arg(arguments, int);
        va_end(arguments);
    }
    return 0;
}

void *portable_malloc(ee_size_t size)
{
    return size <= sizeof block ? block : NULL;
}

void portable_free(void *memory)
{
    (void)memory;
}

void portable_init(core_portable *port, int *argc, char *argv[])
{
    (void)argc, (void)argv;
    port->portable_id = 1;
}

void portable_fini(core_portable *port)
{
    port->portable_id = 0;
}

void start_time(void)
{
}

void stop_time(void)
{
}

CORE_TICKS get_time(void)
{
    return 0;
}

secs_ret time_in_secs(CORE_TICKS ticks)
{
    return ticks;
}
