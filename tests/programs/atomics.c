/* Counters changed by AMO and by LR/SC: one done twice or lost shows in the value. */
#include "eapp.h"

static unsigned long by_amo, by_reservation;
static unsigned by_amo_word;

static void add_reserved(unsigned long *to, unsigned long amount)
{
    unsigned long old, failed;
    do {
        __asm__ volatile("lr.d %0, (%2)\n\tadd %0, %0, %3\n\tsc.d %1, %0, (%2)"
                         : "=&r"(old), "=&r"(failed)
                         : "r"(to), "r"(amount)
                         : "memory");
    } while (failed);
}

int EAPP_ENTRY main(void)
{
    for (unsigned long i = 1; i <= ROUNDS; i++) {
        __atomic_fetch_add(&by_amo, i, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&by_amo_word, 1, __ATOMIC_RELAXED);
        add_reserved(&by_reservation, i);
    }
    unsigned long expected = ROUNDS * (ROUNDS + 1) / 2;
    EAPP_RETURN(by_amo == expected && by_reservation == expected && by_amo_word == ROUNDS ? ROUNDS : 0);
}
