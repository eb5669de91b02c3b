/* Text for the host's console. */
#ifndef PENGLAI_PRINT_H
#define PENGLAI_PRINT_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes formatted text and returns its length in bytes.
 *
 * Formats: %d %i %u %x %X %o %c %s %p %%, with the flags - and 0, width, precision (for %s: at most so many
 * bytes), and the lengths hh h l ll z t j.  Nothing is cut: text of any length goes out in pieces of 4095 bytes.
 */
int eapp_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
int eapp_vprint(const char *format, va_list arguments);

#ifdef __cplusplus
}
#endif
#endif
