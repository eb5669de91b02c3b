/* eapp_print: formats in the enclave's memory and hands the text to the host, without stdio's buffers. */
#include "print.h"
#include "runtime.h"

#define SHORT_TEXT 512

static void write_text(const char *text, int length)
{
    struct iovec piece = {(void *)text, (size_t)length};
    eapp_console_write(&piece, 1);
}

static int print_long(int length, const char *format, va_list arguments)
{
    size_t size = (size_t)length + 1;
    char *text = eapp_mmap(NULL, size);
    if (text == (char *)-1)
        return -1;
    vsnprintf(text, size, format, arguments);
    write_text(text, length);
    eapp_unmap(text, size);
    return length;
}

int eapp_vprint(const char *format, va_list arguments)
{
    char text[SHORT_TEXT];
    va_list again;
    fflush(NULL);
    va_copy(again, arguments);
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length >= SHORT_TEXT)
        length = print_long(length, format, again);
    else if (length > 0)
        write_text(text, length);
    va_end(again);
    return length;
}

int eapp_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = eapp_vprint(format, arguments);
    va_end(arguments);
    return length;
}
