/* Bytes and texts.  The compiler calls the first four by name. */
#include "linux.h"

typedef word __attribute__((may_alias)) any_word;

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    char *target = to;
    const char *source = from;
    if (!(((word)target ^ (word)source) & 7)) {
        for (; size && (word)target & 7; size--)
            *target++ = *source++;
        for (; size >= 32; size -= 32, target += 32, source += 32) {
            ((any_word *)target)[0] = ((const any_word *)source)[0];
            ((any_word *)target)[1] = ((const any_word *)source)[1];
            ((any_word *)target)[2] = ((const any_word *)source)[2];
            ((any_word *)target)[3] = ((const any_word *)source)[3];
        }
    }
    for (; size; size--)
        *target++ = *source++;
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    char *target = to;
    const char *source = from;
    if (target <= source || target >= source + size)
        return memcpy(to, from, size);
    while (size--)
        target[size] = source[size];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    char *target = to;
    word pattern = 0x0101010101010101UL * (unsigned char)value;
    for (; size && (word)target & 7; size--)
        *target++ = (char)value;
    for (; size >= 8; size -= 8, target += 8)
        *(any_word *)target = pattern;
    for (; size; size--)
        *target++ = (char)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *left = a, *right = b;
    for (; size; size--, left++, right++)
        if (*left != *right)
            return *left - *right;
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

int text_is(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && !memcmp(text, word, length);
}

/* In decimal, with a NUL behind it; its length. */
size_t format_number(char *out, word value)
{
    char digits[20];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    out[count] = 0;
    return count;
}
