/*
 * What CoreMark has to know of where it runs: no floating point, no clock and no output of its own, one
 * context.  It is the same for every machine; what differs between them is in compute.c.
 */
#ifndef CORE_PORTME_H
#define CORE_PORTME_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t ee_u8;
typedef int16_t ee_s16;
typedef uint16_t ee_u16;
typedef int32_t ee_s32;
typedef uint32_t ee_u32;
typedef uintptr_t ee_ptr_int;
typedef size_t ee_size_t;

#define align_mem(x) ((void *)(((ee_ptr_int)(x) + 3) & ~(ee_ptr_int)3))

#define HAS_FLOAT 0
#define HAS_STDIO 0
#define HAS_PRINTF 0

/* Memory from portable_malloc: a static block of bytes might be on any address, and lists are kept in it. */
#define MEM_METHOD MEM_MALLOC
/* The same program runs more than once with different seeds. */
#define SEED_METHOD SEED_VOLATILE
#define MULTITHREAD 1
#define MAIN_HAS_NOARGC 1
#define MAIN_HAS_NORETURN 0

/* A program has one main, and that is in compute.c. */
#define main coremark_main
int coremark_main(void);

#define COMPILER_VERSION __VERSION__
#define COMPILER_FLAGS ""
#define MEM_LOCATION ""

typedef ee_u32 CORE_TICKS;

typedef struct CORE_PORTABLE_S {
    ee_u8 portable_id;
} core_portable;

extern ee_u32 default_num_contexts;

void portable_init(core_portable *port, int *argc, char *argv[]);
void portable_fini(core_portable *port);
int ee_printf(const char *format, ...);

#endif
