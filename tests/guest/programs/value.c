/* Writes a line and returns 7. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    eapp_print("# value\n");
    EAPP_RETURN(7);
}
