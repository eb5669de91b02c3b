/* A long integer computation; the value tells whether one step was lost or done twice. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned long state = 88172645463325252UL, sum = 0;
    static unsigned long table[512];
    for (unsigned long i = 0; i < ROUNDS; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        table[state % 512] += state;
        sum += table[state / 512 % 512] ^ i;
    }
    EAPP_RETURN(sum);
}
