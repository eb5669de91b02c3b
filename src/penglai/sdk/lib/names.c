/* Penglai's other names for calls, the same for every kind of enclave. */
#include "runtime.h"

int EAPP_PERSISTENCY_READ_SEC(unsigned long ocall_func_id, unsigned long sec)
{
    return (int)eapp_ocall(ocall_func_id, sec);
}

int EAPP_PERSISTENCY_WRITE_SEC(unsigned long ocall_func_id, unsigned long sec)
{
    return (int)eapp_ocall(ocall_func_id, sec);
}

int eapp_persistency_read_sec(unsigned long sec)
{
    return EAPP_PERSISTENCY_READ_SEC(OCALL_READ_SECT, sec);
}

int eapp_persistency_write_sec(unsigned long sec)
{
    return EAPP_PERSISTENCY_WRITE_SEC(OCALL_WRITE_SECT, sec);
}

unsigned long EAPP_ACQUIRE_ENCLAVE(char *name)
{
    return acquire_enclave(name);
}

unsigned long EAPP_CALL_ENCLAVE(unsigned long handle, struct call_enclave_arg_t *arg)
{
    return call_enclave(handle, arg);
}

unsigned long EAPP_GET_CALLER_ID(void)
{
    return get_caller_id();
}

unsigned long EAPP_GET_ENCLAVE_ID(void)
{
    return get_enclave_id();
}

int EAPP_GET_REPORT(char *name, struct report_t *report, unsigned long nonce)
{
    return get_report(name, report, nonce);
}

int EAPP_GET_KEY(int key_type, char *key, int key_size)
{
    return get_key(key_type, key, key_size);
}
