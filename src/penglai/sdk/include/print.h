/* Text for the host's console. */
#ifndef PENGLAI_PRINT_H
#define PENGLAI_PRINT_H

#include <stdarg.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes formatted text and returns its length in bytes, or -1 for an invalid format.  The formats are
 * printf's.  What stdio still has buffered goes out first; text of any length goes out whole, at once.
 */
int eapp_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
int eapp_vprint(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

#ifdef __cplusplus
}
#endif
#endif
