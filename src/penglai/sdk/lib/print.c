/* eapp_print: formats straight into the kernel buffer. */
#include "print.h"
#include "ocall.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out {
    unsigned used; /* bytes in the kernel buffer */
    int total;
};

struct spec {
    bool left, zero;
    int width, precision; /* precision -1: none */
    int bytes;            /* size of an integer argument */
};

static void flush(struct out *out)
{
    if (!out->used)
        return;
    EAPP_KERNEL_BUFFER[out->used] = 0;
    eapp_ocall(OCALL_WRITE, 0);
    out->used = 0;
}

static void put(struct out *out, char c)
{
    if (out->used == EAPP_PAGE_SIZE - 1)
        flush(out);
    EAPP_KERNEL_BUFFER[out->used++] = c;
    out->total++;
}

static void pad(struct out *out, char c, int count)
{
    while (count-- > 0)
        put(out, c);
}

static void put_text(struct out *out, const struct spec *spec, const char *text, int length)
{
    int space = spec->width - length;
    if (!spec->left)
        pad(out, ' ', space);
    for (int i = 0; i < length; i++)
        put(out, text[i]);
    if (spec->left)
        pad(out, ' ', space);
}

static void put_number(struct out *out, const struct spec *spec, uint64_t value, const char *prefix,
                       unsigned base, bool upper)
{
    char digits[64];
    int count = 0, prefix_length = 0;
    for (uint64_t rest = value; rest; rest /= base)
        digits[count++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
    while (prefix[prefix_length])
        prefix_length++;
    int zeros = (spec->precision < 0 ? 1 : spec->precision) - count;
    if (zeros < 0)
        zeros = 0;
    int space = spec->width - prefix_length - zeros - count;
    if (spec->zero && !spec->left && spec->precision < 0 && space > 0) {
        zeros += space;
        space = 0;
    }
    if (!spec->left)
        pad(out, ' ', space);
    for (int i = 0; i < prefix_length; i++)
        put(out, prefix[i]);
    pad(out, '0', zeros);
    while (count)
        put(out, digits[--count]);
    if (spec->left)
        pad(out, ' ', space);
}

static int read_int(const char **format)
{
    int value = 0;
    while (**format >= '0' && **format <= '9')
        value = value * 10 + (*(*format)++ - '0');
    return value;
}

static int read_length(const char **format)
{
    switch (**format) {
    case 'h':
        ++*format;
        if (**format != 'h')
            return 2;
        ++*format;
        return 1;
    case 'l':
        ++*format;
        if (**format == 'l')
            ++*format;
        return 8;
    case 'z':
    case 't':
    case 'j':
        ++*format;
        return 8;
    }
    return 4;
}

static void convert(struct out *out, const struct spec *spec, char kind, va_list *arguments)
{
    int drop = 64 - 8 * spec->bytes;
    switch (kind) {
    case 'd':
    case 'i': {
        uint64_t raw = spec->bytes == 8 ? va_arg(*arguments, uint64_t) : (uint64_t)va_arg(*arguments, int);
        int64_t value = (int64_t)(raw << drop) >> drop;
        uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
        put_number(out, spec, size, value < 0 ? "-" : "", 10, false);
        return;
    }
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
        uint64_t raw = spec->bytes == 8 ? va_arg(*arguments, uint64_t) : va_arg(*arguments, unsigned);
        unsigned base = kind == 'u' ? 10 : kind == 'o' ? 8 : 16;
        put_number(out, spec, raw << drop >> drop, "", base, kind == 'X');
        return;
    }
    case 'p':
        put_number(out, spec, (uintptr_t)va_arg(*arguments, void *), "0x", 16, false);
        return;
    case 'c': {
        char c = (char)va_arg(*arguments, int);
        put_text(out, spec, &c, 1);
        return;
    }
    case 's': {
        const char *text = va_arg(*arguments, const char *);
        int length = 0;
        if (!text)
            text = "(null)";
        while (length != spec->precision && text[length])
            length++;
        put_text(out, spec, text, length);
        return;
    }
    case '%':
        put(out, '%');
        return;
    }
    put(out, '%'); /* unknown: show it */
    put(out, kind);
}

int eapp_vprint(const char *format, va_list arguments)
{
    struct out out = {0};
    va_list rest;
    va_copy(rest, arguments);
    while (*format) {
        if (*format != '%') {
            put(&out, *format++);
            continue;
        }
        format++;
        struct spec spec = {.precision = -1};
        for (; *format == '-' || *format == '0'; format++)
            *(*format == '-' ? &spec.left : &spec.zero) = true;
        spec.width = read_int(&format);
        if (*format == '.') {
            format++;
            spec.precision = read_int(&format);
        }
        spec.bytes = read_length(&format);
        if (!*format)
            break;
        convert(&out, &spec, *format++, &rest);
    }
    va_end(rest);
    flush(&out);
    return out.total;
}

int eapp_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = eapp_vprint(format, arguments);
    va_end(arguments);
    return length;
}
