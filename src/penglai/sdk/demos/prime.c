/* Counts the primes below LIMIT with a sieve on the heap, and returns the count. */
#include "eapp.h"
#include "print.h"

#define LIMIT 1000000UL
#define HEAP_BYTES ((LIMIT + EAPP_PAGE_SIZE - 1) / EAPP_PAGE_SIZE * EAPP_PAGE_SIZE)

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned char *composite = sbrk(0);
    if (sbrk(HEAP_BYTES) == (void *)-1) {
        eapp_print("prime: no memory\n");
        EAPP_RETURN(-1);
    }
    unsigned long count = 0;
    for (unsigned long number = 2; number < LIMIT; number++) {
        if (composite[number])
            continue;
        count++;
        for (unsigned long multiple = number * number; multiple < LIMIT; multiple += number)
            composite[multiple] = 1;
    }
    eapp_print("prime: %lu primes below %lu\n", count, LIMIT);
    EAPP_RETURN(count);
}
