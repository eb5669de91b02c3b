/* Adds up the numbers on its relay pages, gives them back, and adds up those of the next ones. */
#include "eapp.h"
#include "print.h"

#define ADDRESS 13 /* a3 */
#define SIZE 14    /* a4 */

static unsigned long sum(const unsigned long *numbers, unsigned long size)
{
    unsigned long total = 0;
    for (unsigned long i = 0; i < size / sizeof *numbers; i++)
        total += numbers[i];
    return total;
}

int EAPP_ENTRY main(void)
{
    unsigned long *args, total = 0;
    EAPP_RESERVE_REG;
    for (int round = 1; round <= 2; round++) {
        if (!args[SIZE]) {
            eapp_print("relay-page: round %d: no pages\n", round);
            break;
        }
        unsigned long part = sum((const unsigned long *)args[ADDRESS], args[SIZE]);
        eapp_print("relay-page: round %d: %lu bytes, sum %lu\n", round, args[SIZE], part);
        total += part;
        if (round == 1 && eapp_return_relay_page())
            break;
    }
    EAPP_RETURN(total);
}
