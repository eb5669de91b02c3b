/* A server that says when it is at work, and never returns. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    eapp_print("at work\n");
    for (volatile unsigned long count = 0;; count++)
        ;
}
