/* The smallest enclave; says hello and ends. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    eapp_print("hello world!\n");
    EAPP_RETURN(0);
}
