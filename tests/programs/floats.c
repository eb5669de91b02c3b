/* Chaotic sequences in every floating-point register, under changing rounding modes, with the flags. */
#include "eapp.h"

static double lane[32];

int EAPP_ENTRY main(void)
{
    unsigned long hash = 0xcbf29ce484222325UL;
    for (int i = 0; i < 32; i++)
        lane[i] = 0.2 + i * 0.015;
    for (unsigned long round = 0; round < ROUNDS; round++) {
        __asm__ volatile("fsrm %0" : : "r"(round % 5));
        for (int i = 0; i < 32; i++)
            lane[i] = 3.999 * lane[i] * (1.0 - lane[i]);
        unsigned long flags;
        __asm__ volatile("csrrw %0, fflags, zero" : "=r"(flags));
        hash = (hash ^ flags) * 0x100000001b3UL;
    }
    for (int i = 0; i < 32; i++) {
        union {
            double number;
            unsigned long bits;
        } value = {lane[i]};
        hash = (hash ^ value.bits) * 0x100000001b3UL;
    }
    EAPP_RETURN(hash);
}
