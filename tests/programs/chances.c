/* Does what chance says, and says in the end what it has computed.  The server "test-server" is there. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "eapp.h"
#include "print.h"

static unsigned long state;

static unsigned long chance(unsigned long below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

__attribute__((noinline)) static unsigned long down(unsigned long depth)
{
    volatile unsigned long here = chance(100);
    return depth ? down(depth - 1) + here : here;
}

static unsigned long work(unsigned long times)
{
    static unsigned long table[512];
    volatile double sum = 0;
    for (unsigned long i = 0; i < times; i++) {
        table[chance(512)] += i;
        sum = sum * 0.5 + table[i % 512];
    }
    return (unsigned long)(sum < 1e18 ? sum : 1);
}

static unsigned long clocks(void)
{
    unsigned long first, second, sum = 0;
    for (int i = 0; i < 20; i++) {
        __asm__ volatile("rdtime %0" : "=r"(first));
        __asm__ volatile("rdcycle %0" : "=r"(second));
        sum += first ^ second;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return sum + (unsigned long)now.tv_nsec;
}

static unsigned long pages(void)
{
    unsigned long size = (1 + chance(8)) * 4096, found = 0;
    unsigned char *page = eapp_mmap(0, size);
    if (!page)
        return 0;
    getrandom(page, 64, 0);
    for (int i = 0; i < 64; i++)
        found += page[i];
    if (chance(2))
        eapp_unmap(page, size);
    return found;
}

static unsigned long serve(void)
{
    unsigned long handle = acquire_enclave("test-server");
    struct call_enclave_arg_t arg = {.req_arg = chance(1000)};
    return handle != (unsigned long)-1 && !call_enclave(handle, &arg) ? arg.resp_val : 1;
}

static unsigned long heap(void)
{
    char *text = malloc(1 + chance(20000));
    text[0] = (char)chance(100);
    unsigned long found = (unsigned long)text[0];
    if (chance(3))
        free(text);
    return found;
}

int EAPP_ENTRY main(void)
{
    unsigned long sum = 0;
    getrandom(&state, sizeof state, 0);
    state |= 1;
    for (int i = 0; i < 40; i++) {
        switch (chance(9)) {
        case 0:
            sum += work(chance(60000));
            break;
        case 1:
            sum += clocks();
            break;
        case 2:
            sum += pages();
            break;
        case 3:
            sum += serve();
            break;
        case 4:
            sum += heap();
            break;
        case 5:
            sum += down(chance(200));
            break;
        case 6:
            eapp_yield();
            break;
        case 7:
            eapp_print("%lu\n", sum);
            break;
        default:
            sum += work(chance(300));
        }
    }
    if (!chance(10))
        *(volatile long *)chance(64) = 1;
    EAPP_RETURN((long)(sum >> 1));
}
