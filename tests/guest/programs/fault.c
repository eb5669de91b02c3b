/* Touches what it may not. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    *(volatile int *)0x123000 = 1;
    return 0;
}
