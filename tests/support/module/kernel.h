/* As much of the kernel as elf.c and image.c of penglai.ko stand on, for a test outside it. */
#ifndef KERNEL_H
#define KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned long ulong;
typedef u64 phys_addr_t;
typedef u64 dma_addr_t;

#define PAGE_SIZE 4096UL
#define PAGE_SHIFT 12
#define GFP_KERNEL 0

#define ALIGN(x, a) (((x) + (a) - 1) & ~((__typeof__(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define check_add_overflow(a, b, sum) __builtin_add_overflow(a, b, sum)
#define struct_size(pointer, member, count) (sizeof(*(pointer)) + sizeof((pointer)->member[0]) * (count))

#define ERR_PTR(error) ((void *)(long)(error))
#define PTR_ERR(pointer) ((long)(pointer))
#define IS_ERR(pointer) ((unsigned long)(pointer) >= (unsigned long)-4095)

static inline void *kvzalloc(size_t size, int flags)
{
    (void)flags;
    return calloc(1, size);
}

static inline void kvfree(const void *pointer)
{
    free((void *)pointer);
}

static inline void cond_resched(void)
{
}

extern ulong ram_pages;

static inline ulong totalram_pages(void)
{
    return ram_pages;
}

#endif
