/*
 * Floating point, in a way that shows any lost bit of its context.
 *
 * Computes 30 chaotic sequences, changes the rounding mode as it goes, and returns a hash of every bit: one
 * lost bit of a register or of fcsr, once, and the value is another.
 */
#include "eapp.h"
#include "print.h"

#define ROUNDS 200000UL
#define LANES 30

static double lane[LANES];

#ifdef __riscv_flen
static void set_rounding(unsigned long mode)
{
    __asm__ volatile("fsrm %0" : : "r"(mode));
}

static unsigned long flags(void)
{
    unsigned long value;
    __asm__ volatile("frflags %0" : "=r"(value));
    return value;
}
#else /* without a floating-point unit there is one mode */
static void set_rounding(unsigned long mode)
{
    (void)mode;
}

static unsigned long flags(void)
{
    return 0;
}
#endif

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    for (int i = 0; i < LANES; i++)
        lane[i] = 0.1 + i * 0.02;
    for (unsigned long round = 0; round < ROUNDS; round++) {
        set_rounding(round % 5);
        for (int i = 0; i < LANES; i++)
            lane[i] = 3.9999 * lane[i] * (1.0 - lane[i]); /* the logistic map: errors double each step */
    }
    unsigned long hash = 0xcbf29ce484222325UL ^ flags();
    for (int i = 0; i < LANES; i++) {
        union {
            double number;
            unsigned long bits;
        } value = {lane[i]};
        hash = (hash ^ value.bits) * 0x100000001b3UL;
    }
    eapp_print("float: %lx\n", hash);
    EAPP_RETURN(hash);
}
