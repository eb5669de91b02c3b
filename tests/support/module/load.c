/* The loader of penglai.ko, as a function of a library. */
#include "image.h"
#include <linux/err.h>
#include <sys/mman.h>

#define PADDR 0x80200000ULL

ulong ram_pages;

int contig_alloc(struct contig *contig, size_t size)
{
    *contig = (struct contig){.virt = calloc(1, size), .pa = PADDR, .size = size};
    return contig->virt ? 0 : -ENOMEM;
}

void contig_free(struct contig *contig)
{
    free(contig->virt);
}

/* A copy of the file behind which nothing can be read. */
static void *guarded_copy(const void *bytes, size_t size, void **mapping, size_t *mapped)
{
    size_t whole = ALIGN(size, PAGE_SIZE);
    *mapped = whole + PAGE_SIZE;
    *mapping = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*mapping == MAP_FAILED || mprotect((char *)*mapping + whole, PAGE_SIZE, PROT_NONE))
        abort();
    return memcpy((char *)*mapping + whole - size, bytes, size);
}

/* Loads a program; 0, or a negative errno.  The image is to be given to contig_free. */
int load(const void *bytes, size_t size, ulong stack_size, ulong pages, struct contig *image, u64 *entry)
{
    void *mapping;
    size_t mapped;
    const void *elf = guarded_copy(bytes, size, &mapping, &mapped);
    struct program *program = elf_parse(elf, size);
    int error = IS_ERR(program) ? (int)PTR_ERR(program) : 0;
    ram_pages = pages;
    if (!error) {
        *entry = program->entry;
        error = image_build(elf, program, stack_size, image);
        kvfree(program);
    }
    munmap(mapping, mapped);
    return error;
}
