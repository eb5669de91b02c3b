/* Makes ROUNDS calls of one kind. */
#include "eapp.h"
#include "ocall.h"

int EAPP_ENTRY main(void)
{
    EAPP_KERNEL_BUFFER[0] = 0;
    for (unsigned long i = 0; i < ROUNDS; i++) {
#if defined(OWN_ID)
        get_enclave_id();
#elif defined(WRITE)
        eapp_ocall(OCALL_WRITE, 0);
#elif defined(YIELD)
        EAPP_YIELD();
#else
        sbrk(i % 2 ? -EAPP_PAGE_SIZE : EAPP_PAGE_SIZE);
#endif
    }
    EAPP_RETURN(0);
}
