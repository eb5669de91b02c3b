/* Counts, and returns how far; for penglai fleet demo, which moves it meanwhile and lets clones go on from snapshots. */
#include "eapp.h"
#include "print.h"

#define ROUNDS 80UL
#define STEPS_PER_ROUND 5000000UL

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile unsigned long count = 0;
    eapp_set_policy(EAPP_MAY_MOVE | EAPP_MAY_CLONE);
    for (unsigned long round = 1; round <= ROUNDS; round++) {
        for (unsigned long step = 0; step < STEPS_PER_ROUND; step++)
            count++;
        eapp_print("count: %lu of %lu\n", round, ROUNDS);
    }
    EAPP_RETURN(count);
}
