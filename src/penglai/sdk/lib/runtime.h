/* What the parts of the SDK's library share; not for enclaves. */
#ifndef PENGLAI_RUNTIME_H
#define PENGLAI_RUNTIME_H

#include <stddef.h>
#include <sys/uio.h>
#include <time.h>
#include "eapp.h"
#include "ocall.h"

#define hidden __attribute__((visibility("hidden")))

/* Ends the enclave here and now. */
hidden void eapp_end(unsigned long value) __attribute__((noreturn));

/* The value of EAPP_RETURN, which exit() would truncate. */
hidden extern unsigned long eapp_value;
hidden extern int eapp_has_value;

/* Addresses that a mapping has, [start, end).  reserved: there are no pages behind them, and a touch faults. */
struct eapp_range {
    unsigned long start, end;
    int reserved;
};

hidden int eapp_ranges_ready(void);
hidden const struct eapp_range *eapp_range_behind(unsigned long address); /* the first that ends behind it */
hidden void eapp_ranges_note(unsigned long start, unsigned long end, int reserved);
hidden void eapp_ranges_forget(unsigned long start, unsigned long end);
hidden unsigned long eapp_ranges_gap(unsigned long low, unsigned long high, unsigned long size);

/* Results of the calls below are those of Linux's system calls: negative is an errno. */
#ifdef EAPP_PORTABLE
hidden void eapp_console_flush(void); /* sends what is left of a line */
#endif
hidden long eapp_console_write(const struct iovec *pieces, long count);
hidden int eapp_random(void *buffer, size_t size);
hidden long eapp_memory_call(long number, long a, long b, long c, long d, long e);
hidden long eapp_signal_call(long number, long a, long b, long c, long d);
hidden long eapp_poll_call(long number, long a, long b, long c, long d, long e);
hidden long eapp_get_random(char *buffer, size_t size);
hidden int eapp_readiness(long descriptor); /* POLLIN and POLLOUT, or POLLNVAL */
hidden long eapp_wait(int clock, int absolute, const struct timespec *time);
hidden unsigned long eapp_monotonic(void); /* ns */
hidden long eapp_time_call(long number, long a, long b, long c, long d);
hidden long eapp_file_call(long number, long a, long b, long c, long d);

#endif
