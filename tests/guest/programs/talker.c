/* Writes 500 lines of 60 characters, and returns 7. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    for (int i = 0; i < 500; i++)
        eapp_print("%055d...\n", i);
    EAPP_RETURN(7);
}
