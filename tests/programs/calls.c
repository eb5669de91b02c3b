/* Calls the monitor all the time: each has to happen once, with its own result. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    unsigned long sum = 0, base = (unsigned long)sbrk(0);
    for (unsigned long i = 0; i < ROUNDS; i++) {
        sum += get_enclave_id() > 0;
        if (i % 16 == 0) {
            unsigned long top = (unsigned long)sbrk(EAPP_PAGE_SIZE);
            *(volatile unsigned long *)(top - 8) = i;
            sum += top - base == EAPP_PAGE_SIZE;
            sum += (unsigned long)sbrk(-EAPP_PAGE_SIZE) == base;
        }
        if (i % 64 == 0)
            EAPP_YIELD();
        if (i % 128 == 0)
            eapp_print("%lu\n", i);
    }
    EAPP_RETURN(sum);
}
