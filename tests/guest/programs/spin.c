/* Never ends, and never asks the host for anything. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    for (volatile unsigned long count = 0;; count++)
        ;
}
