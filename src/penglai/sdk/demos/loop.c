/* Never ends; for the tutorial, which stops, resumes and destroys it. */
#include "eapp.h"
#include "print.h"

#define STEPS_PER_ROUND 20000000UL

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile unsigned long steps;
    eapp_print("loop: enclave %lu begins\n", get_enclave_id());
    for (unsigned long round = 1;; round++) {
        for (steps = 0; steps < STEPS_PER_ROUND; steps++)
            ;
        eapp_print("loop: round %lu\n", round);
    }
    EAPP_RETURN(0);
}
