/*
 * An enclave without a library, as small as the ABI: `body` gets the registers of the entry, and its result is the
 * enclave's value, or the value of a server's answer.
 */
#ifndef RAW_H
#define RAW_H

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define PAGE 4096UL
#define KBUFFER ((volatile char *)0xffffffe000000000UL)
#define RELAY 0x3800000000UL
#define SHM 0x3900000000UL
#define MINUS_ONE (-1UL)

struct call_arg {
    u64 req_arg, resp_val, req_vaddr, req_size, resp_vaddr, resp_size;
};

/* What an ecall leaves in a0..a5, a6 and a7. */
struct after {
    u64 a[8];
};

static inline struct after raw(u64 six, u64 seven, u64 a, u64 b, u64 c, u64 d)
{
    register u64 a0 __asm__("a0") = a;
    register u64 a1 __asm__("a1") = b;
    register u64 a2 __asm__("a2") = c;
    register u64 a3 __asm__("a3") = d;
    register u64 a4 __asm__("a4") = 104;
    register u64 a5 __asm__("a5") = 105;
    register u64 a6 __asm__("a6") = six;
    register u64 a7 __asm__("a7") = seven;
    __asm__ volatile("ecall"
                     : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(a4), "+r"(a5), "+r"(a6), "+r"(a7)
                     :
                     : "memory");
    return (struct after){{a0, a1, a2, a3, a4, a5, a6, a7}};
}

static inline u64 penglai(u64 function, u64 a, u64 b, u64 c)
{
    return raw(0x100101, function, a, b, c, 0).a[0];
}

static inline u64 ocall(u64 id, u64 a, u64 b)
{
    return penglai(98, id, a, b);
}

static inline u64 map(u64 address, u64 pages)
{
    return ocall(1, address, pages * PAGE);
}

static inline void say(const char *text)
{
    int i = 0;
    for (; text[i]; i++)
        KBUFFER[i] = text[i];
    KBUFFER[i] = 0;
    ocall(3, 0, 0);
}

/* One page each, so that nothing that the monitor reads or writes lies across two. */
__attribute__((aligned(4096), unused)) static union {
    char bytes[4096];
    u64 words[512];
    struct call_arg arg;
} page, other;

static inline u64 acquire(const char *name)
{
    int i = 0;
    for (; name[i]; i++)
        other.bytes[i] = name[i];
    other.bytes[i] = 0;
    return penglai(97, (u64)other.bytes, 0, 0);
}

/* Calls a server as a client does that fills in three fields and leaves the others as they are. */
static inline u64 call(u64 handle, u64 number, u64 address, u64 size)
{
    page.arg.resp_val = page.arg.resp_vaddr = page.arg.resp_size = 0x5a5a5a5a5a5a5a5aUL;
    page.arg.req_arg = number;
    page.arg.req_vaddr = address;
    page.arg.req_size = size;
    return penglai(96, handle, (u64)&page.arg, 0);
}

/* A server's answer with all six fields. */
static inline void answer(u64 value, u64 address, u64 size, u64 given, u64 given_size)
{
    page.arg = (struct call_arg){0, value, address, size, given, given_size};
    penglai(95, (u64)&page.arg, 0, 0);
}

void *memset(void *to, int value, u64 size)
{
    for (u64 i = 0; i < size; i++)
        ((volatile char *)to)[i] = (char)value;
    return to;
}

void *memcpy(void *to, const void *from, u64 size)
{
    for (u64 i = 0; i < size; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

static u64 body(const u64 *x);

__attribute__((used)) static void begin(const u64 *x)
{
    u64 value = body(x);
#ifdef SERVER
    answer(value, x[11], x[12], 0, 0);
#else
    penglai(99, value, 0, 0);
#endif
    for (;;)
        ;
}

__asm__(".section .text._entry, \"ax\"\n"
        ".globl _start\n"
        "_start:\n"
        "addi sp, sp, -256\n"
        ".irp n, 0,1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "sd x\\n, 8*\\n(sp)\n"
        ".endr\n"
        "addi t0, sp, 256\n"
        "sd t0, 16(sp)\n"
        "mv a0, sp\n"
        "call begin\n"
        "unimp\n"
        ".text\n");

#endif
