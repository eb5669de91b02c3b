/* An enclave that maps pages until it is refused, and ends with how many. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned long count = 0;
    while (eapp_mmap(NULL, EAPP_PAGE_SIZE) != (void *)-1)
        count++;
    EAPP_RETURN(count);
}
