/* What the parts of the SDK's library share; not for enclaves. */
#ifndef PENGLAI_RUNTIME_H
#define PENGLAI_RUNTIME_H

#include <stddef.h>
#include <sys/uio.h>
#include "eapp.h"
#include "ocall.h"

#define hidden __attribute__((visibility("hidden")))

/* Ends the enclave here and now. */
hidden void eapp_end(unsigned long value) __attribute__((noreturn));

/* The value of EAPP_RETURN, which exit() has no room for. */
hidden extern unsigned long eapp_value;
hidden extern int eapp_has_value;

/* Results of the calls below are those of Linux's system calls: negative is an errno. */
hidden long eapp_console_write(const struct iovec *pieces, long count);
hidden int eapp_random(void *buffer, size_t size);
hidden long eapp_memory_call(long number, long a, long b, long c, long d, long e);
hidden long eapp_time_call(long number, long a, long b, long c, long d);
hidden long eapp_file_call(long number, long a, long b, long c, long d);

#endif
