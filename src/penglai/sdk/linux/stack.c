/* The beginning: what Linux puts on a program's stack, and the first instruction. */
#include <elf.h>
#include "linux.h"

#define STACK_TOP 0x3000000000UL
#define HWCAP 0x112d /* imafdc */
#define AUX_WORDS 36
#define TEXT_MOST (1UL << 20)

static word put_text(word *sp, const char *text)
{
    size_t size = strlen(text) + 1;
    *sp -= size;
    memcpy((void *)*sp, text, size);
    return *sp;
}

static word *put_aux(word *at, word type, word value)
{
    at[0] = type;
    at[1] = value;
    return at + 2;
}

static size_t text_size(const struct linux_image *image)
{
    size_t size = strlen(image->path) + 1;
    for (word i = 0; i < image->argument_count; i++)
        size += strlen(image->arguments[i]) + 1;
    for (word i = 0; i < image->environment_count; i++)
        size += strlen(image->environment[i]) + 1;
    return size;
}

static word *put_auxiliary(word *at, const struct linux_image *image, word seed, word name)
{
    at = put_aux(at, AT_PAGESZ, PAGE);
    at = put_aux(at, AT_PHDR, image->headers);
    at = put_aux(at, AT_PHENT, sizeof(Elf64_Phdr));
    at = put_aux(at, AT_PHNUM, image->header_count);
    at = put_aux(at, AT_BASE, image->base);
    at = put_aux(at, AT_FLAGS, 0);
    at = put_aux(at, AT_ENTRY, image->program_entry);
    at = put_aux(at, AT_UID, 0);
    at = put_aux(at, AT_EUID, 0);
    at = put_aux(at, AT_GID, 0);
    at = put_aux(at, AT_EGID, 0);
    at = put_aux(at, AT_SECURE, 0);
    at = put_aux(at, AT_CLKTCK, 100);
    at = put_aux(at, AT_RANDOM, seed);
    at = put_aux(at, AT_HWCAP, HWCAP);
    at = put_aux(at, AT_EXECFN, name);
    return put_aux(at, AT_NULL, 0);
}

word stack_build(const struct linux_image *image, word top)
{
    word argc = image->argument_count, count = image->environment_count;
    size_t size = text_size(image) + (argc + count + 3 + AUX_WORDS) * sizeof(word) + 64;
    if (memory_reach(top - size, size, 1))
        return 0;
    word sp = top, name = put_text(&sp, image->path);
    word texts = sp;
    for (word i = 0; i < argc; i++)
        put_text(&sp, image->arguments[i]);
    for (word i = 0; i < count; i++)
        put_text(&sp, image->environment[i]);
    sp = (sp - 16) & -16UL;
    word seed = sp;
    if (!monitor_random((void *)seed, 16))
        return 0;
    sp = (sp - (argc + count + 3 + AUX_WORDS) * sizeof(word)) & -16UL;
    word *at = (word *)sp;
    *at++ = argc;
    for (word i = 0; i < argc; i++) {
        texts -= strlen(image->arguments[i]) + 1;
        *at++ = texts;
    }
    *at++ = 0;
    for (word i = 0; i < count; i++) {
        texts -= strlen(image->environment[i]) + 1;
        *at++ = texts;
    }
    *at++ = 0;
    put_auxiliary(at, image, seed, name);
    return sp;
}

extern char linux_handler[];
#define SET_HANDLER 1

_Noreturn void linux_begin(void)
{
    const struct linux_image *image = (const struct linux_image *)LINUX_IMAGE;
    monitor_call(SET_HANDLER, (word)linux_handler, 0, 0);
    if (image->magic != LINUX_MAGIC || !memory_begin(image) || !tree_begin(image) || !descriptors_begin())
        monitor_end(255);
    word sp = stack_build(image, STACK_TOP);
    if (sp)
        threads_begin(image->entry, sp);
    complain("there is not enough memory to begin");
    monitor_end(255);
}
