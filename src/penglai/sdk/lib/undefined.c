/*
 * What -fsanitize=undefined calls: each check that fails is a line on the console, and the program goes on; with
 * -fno-sanitize-recover it ends there, with a fault whose backtrace leads to the place.
 *
 * The structures are clang's, which has no other description of them than its own library (ubsan_handlers.h).
 */
#include <stdio.h>
#include <string.h>
#include "print.h"
#include "runtime.h"

struct place {
    const char *file;
    unsigned line, column;
};

struct type {
    unsigned short kind, info;
    char name[];
};

enum { INTEGER = 0, FLOATING = 1 };

#define VALUE_TEXT 48

static const char *const accesses[] = {
    "load of",
    "store to",
    "reference binding to",
    "member access within",
    "member call on",
    "constructor call on",
    "downcast of",
    "downcast of",
    "upcast of",
    "cast to virtual base of",
    "_Nonnull binding to",
    "dynamic operation on",
};

/* A check says the same thing once: its place is forgotten. */
static int is_new(struct place *place)
{
    unsigned column = __atomic_exchange_n(&place->column, ~0u, __ATOMIC_RELAXED);
    if (column == ~0u)
        return 0;
    eapp_print("%s:%u:%u: runtime error: ", place->file ? place->file : "?", place->line, column);
    return 1;
}

static unsigned bits_of(const struct type *type)
{
    return 1u << (type->info >> 1);
}

/* Values of up to 64 bits are what is passed; of larger ones it is the address. */
static __int128 integer(const struct type *type, unsigned long value)
{
    unsigned bits = bits_of(type);
    if (bits > 64) {
        __int128 large;
        memcpy(&large, (void *)value, sizeof large);
        return large;
    }
    unsigned spare = 64 - bits;
    if (type->info & 1)
        return (long)(value << spare) >> spare;
    return value << spare >> spare;
}

static int is_negative(const struct type *type, unsigned long value)
{
    return type->info & 1 && integer(type, value) < 0;
}

static const char *write_value(char text[VALUE_TEXT], const struct type *type, unsigned long value)
{
    if (type->kind == INTEGER) {
        __int128 number = integer(type, value);
        if (bits_of(type) > 64)
            snprintf(text, VALUE_TEXT, "0x%lx%016lx", (unsigned long)(number >> 64), (unsigned long)number);
        else
            snprintf(text, VALUE_TEXT, type->info & 1 ? "%ld" : "%lu", (long)number);
    } else if (type->kind == FLOATING && type->info <= 64) {
        union {
            unsigned long bits;
            double wide;
            float narrow;
        } number = {value};
        snprintf(text, VALUE_TEXT, "%g", type->info == 32 ? (double)number.narrow : number.wide);
    } else {
        snprintf(text, VALUE_TEXT, "a value");
    }
    return text;
}

/* The fault is for the backtrace; penglai.debug.checks says in words what it is. */
hidden __attribute__((noreturn, noinline)) void eapp_undefined(void);
void eapp_undefined(void)
{
    for (;;)
        __asm__ volatile("ebreak");
}

#define HANDLER(name, parameters, arguments)                                 \
    void __ubsan_handle_##name parameters;                                   \
    __attribute__((noreturn)) void __ubsan_handle_##name##_abort parameters; \
    __attribute__((noreturn)) void __ubsan_handle_##name##_abort parameters  \
    {                                                                        \
        __ubsan_handle_##name arguments;                                     \
        eapp_undefined();                                                    \
    }                                                                        \
    void __ubsan_handle_##name parameters

/* ---- arithmetic ---- */

struct typed {
    struct place place;
    const struct type *type;
};

static void overflow(struct typed *data, unsigned long a, unsigned long b, const char *sign)
{
    char first[VALUE_TEXT], second[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("%s integer overflow: %s %s %s cannot be represented in type %s\n",
                   data->type->info & 1 ? "signed" : "unsigned", write_value(first, data->type, a), sign,
                   write_value(second, data->type, b), data->type->name);
}

HANDLER(add_overflow, (struct typed * data, unsigned long a, unsigned long b), (data, a, b))
{
    overflow(data, a, b, "+");
}

HANDLER(sub_overflow, (struct typed * data, unsigned long a, unsigned long b), (data, a, b))
{
    overflow(data, a, b, "-");
}

HANDLER(mul_overflow, (struct typed * data, unsigned long a, unsigned long b), (data, a, b))
{
    overflow(data, a, b, "*");
}

HANDLER(negate_overflow, (struct typed * data, unsigned long a), (data, a))
{
    char value[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("negation of %s cannot be represented in type %s\n", write_value(value, data->type, a),
                   data->type->name);
}

HANDLER(divrem_overflow, (struct typed * data, unsigned long a, unsigned long b), (data, a, b))
{
    char value[VALUE_TEXT];
    if (!is_new(&data->place))
        return;
    if (data->type->kind == INTEGER && is_negative(data->type, b))
        eapp_print("division of %s by -1 cannot be represented in type %s\n",
                   write_value(value, data->type, a), data->type->name);
    else
        eapp_print("division by zero\n");
}

struct shift {
    struct place place;
    const struct type *left, *right;
};

HANDLER(shift_out_of_bounds, (struct shift * data, unsigned long a, unsigned long b), (data, a, b))
{
    char first[VALUE_TEXT], second[VALUE_TEXT];
    if (!is_new(&data->place))
        return;
    write_value(first, data->left, a);
    write_value(second, data->right, b);
    if (is_negative(data->right, b))
        eapp_print("shift exponent %s is negative\n", second);
    else if (integer(data->right, b) >= bits_of(data->left))
        eapp_print("shift exponent %s is too large for %u-bit type %s\n", second, bits_of(data->left),
                   data->left->name);
    else if (is_negative(data->left, a))
        eapp_print("left shift of negative value %s\n", first);
    else
        eapp_print("left shift of %s by %s places cannot be represented in type %s\n", first, second,
                   data->left->name);
}

struct conversion {
    struct place place;
    const struct type *from, *to;
};

HANDLER(float_cast_overflow, (struct conversion * data, unsigned long a), (data, a))
{
    char value[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("%s is outside the range of representable values of type %s\n",
                   write_value(value, data->from, a), data->to->name);
}

HANDLER(implicit_conversion, (struct conversion * data, unsigned long a, unsigned long b), (data, a, b))
{
    char first[VALUE_TEXT], second[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("implicit conversion from type %s of value %s to type %s changed the value to %s\n",
                   data->from->name, write_value(first, data->from, a), data->to->name,
                   write_value(second, data->to, b));
}

/* ---- memory ---- */

struct access {
    struct place place;
    const struct type *type;
    unsigned char alignment_log2, kind;
};

HANDLER(type_mismatch_v1, (struct access * data, unsigned long pointer), (data, pointer))
{
    const char *what = data->kind < sizeof accesses / sizeof *accesses ? accesses[data->kind] : "access to";
    unsigned long alignment = 1UL << data->alignment_log2;
    if (!is_new(&data->place))
        return;
    if (!pointer)
        eapp_print("%s null pointer of type %s\n", what, data->type->name);
    else if (pointer & (alignment - 1))
        eapp_print("%s misaligned address 0x%lx for type %s, which requires %lu byte alignment\n", what,
                   pointer, data->type->name, alignment);
    else
        eapp_print("%s address 0x%lx with insufficient space for an object of type %s\n", what, pointer,
                   data->type->name);
}

struct bounds {
    struct place place;
    const struct type *array, *index;
};

HANDLER(out_of_bounds, (struct bounds * data, unsigned long index), (data, index))
{
    char value[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("index %s out of bounds for type %s\n", write_value(value, data->index, index),
                   data->array->name);
}

HANDLER(pointer_overflow, (struct place * place, unsigned long base, unsigned long result),
        (place, base, result))
{
    if (!is_new(place))
        return;
    if (!base || !result)
        eapp_print("applying an offset to or from a null pointer: 0x%lx to 0x%lx\n", base, result);
    else
        eapp_print("pointer index expression with base 0x%lx overflowed to 0x%lx\n", base, result);
}

HANDLER(vla_bound_not_positive, (struct typed * data, unsigned long bound), (data, bound))
{
    char value[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("variable length array bound evaluates to non-positive value %s\n",
                   write_value(value, data->type, bound));
}

HANDLER(alignment_assumption,
        (struct typed * data, unsigned long pointer, unsigned long alignment, unsigned long offset),
        (data, pointer, alignment, offset))
{
    if (is_new(&data->place))
        eapp_print("assumption of %lu byte alignment for pointer 0x%lx of type %s failed\n", alignment,
                   pointer - offset, data->type->name);
}

HANDLER(load_invalid_value, (struct typed * data, unsigned long a), (data, a))
{
    char value[VALUE_TEXT];
    if (is_new(&data->place))
        eapp_print("load of value %s, which is not a valid value for type %s\n",
                   write_value(value, data->type, a), data->type->name);
}

/* ---- calls and control ---- */

HANDLER(function_type_mismatch, (struct typed * data, unsigned long function), (data, function))
{
    if (is_new(&data->place))
        eapp_print("call to function at 0x%lx through pointer to incorrect function type %s\n", function,
                   data->type->name);
}

HANDLER(nonnull_arg, (struct place * place), (place))
{
    if (is_new(place))
        eapp_print("null pointer passed as an argument that must not be null\n");
}

HANDLER(nullability_arg, (struct place * place), (place))
{
    __ubsan_handle_nonnull_arg(place);
}

HANDLER(nonnull_return_v1, (const void *attribute, struct place *place), (attribute, place))
{
    (void)attribute;
    if (is_new(place))
        eapp_print("null pointer returned from a function that never returns null\n");
}

HANDLER(nullability_return_v1, (const void *attribute, struct place *place), (attribute, place))
{
    __ubsan_handle_nonnull_return_v1(attribute, place);
}

struct builtin {
    struct place place;
    unsigned char kind;
};

HANDLER(invalid_builtin, (struct builtin * data), (data))
{
    if (is_new(&data->place))
        eapp_print(data->kind == 2 ? "assumption is violated during execution\n"
                                   : "passing zero to %s, which is not a valid argument\n",
                   data->kind ? "clz()" : "ctz()");
}

/* After these two there is nothing that a program could go on with. */
__attribute__((noreturn)) void __ubsan_handle_builtin_unreachable(struct place *place);
void __ubsan_handle_builtin_unreachable(struct place *place)
{
    if (is_new(place))
        eapp_print("execution reached an unreachable program point\n");
    eapp_undefined();
}

__attribute__((noreturn)) void __ubsan_handle_missing_return(struct place *place);
void __ubsan_handle_missing_return(struct place *place)
{
    if (is_new(place))
        eapp_print("execution reached the end of a value-returning function without returning a value\n");
    eapp_undefined();
}
