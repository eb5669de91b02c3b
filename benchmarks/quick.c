/* Returns at once. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    EAPP_RETURN(0);
}
