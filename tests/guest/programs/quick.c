/* Returns 7, and does nothing else. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    EAPP_RETURN(7);
}
