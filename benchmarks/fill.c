/* An enclave with SIZE bytes that are not zero, which then does nothing but yield. */
#include "eapp.h"

int EAPP_ENTRY main(void)
{
    unsigned char *memory = eapp_mmap(0, SIZE);
    if (memory == (void *)-1)
        EAPP_RETURN(1);
    for (unsigned long at = 0; at < SIZE; at += sizeof(unsigned long))
        *(unsigned long *)(memory + at) = at * 0x9e3779b97f4a7c15UL + 1;
    for (;;)
        eapp_yield();
}
