/* An ELF file is read, not mapped: what is measured cannot change under the driver's eyes. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "elf.h"

#ifndef EM_RISCV
#define EM_RISCV 243
#endif

static int read_all(int fd, char *to, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t part = read(fd, to + done, size - done);
        if (part < 0 && errno == EINTR)
            continue;
        if (part == 0)
            errno = EIO; /* it has become shorter */
        if (part <= 0)
            return -1;
        done += (size_t)part;
    }
    return 0;
}

static int load(struct elf_args *elf, int fd)
{
    struct stat status;
    if (fstat(fd, &status))
        return -1;
    size_t size = (size_t)status.st_size;
    char *bytes = malloc(size ? size : 1);
    if (!bytes)
        return -1;
    if (read_all(fd, bytes, size)) {
        int reason = errno;
        free(bytes);
        errno = reason;
        return -1;
    }
    elf->ptr = bytes;
    elf->size = size;
    return 0;
}

int elf_args_init(struct elf_args *elf, const char *file)
{
    *elf = (struct elf_args){.fd = -1};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = load(elf, fd);
    int reason = errno;
    close(fd);
    errno = reason;
    return result;
}

int elf_valid(const struct elf_args *elf)
{
    Elf64_Ehdr header;
    if (!elf->ptr || elf->size < sizeof header)
        return 0;
    memcpy(&header, elf->ptr, sizeof header);
    return !memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_ident[EI_CLASS] == ELFCLASS64 &&
           header.e_ident[EI_DATA] == ELFDATA2LSB && header.e_machine == EM_RISCV;
}

void elf_args_destroy(struct elf_args *elf)
{
    free(elf->ptr);
    *elf = (struct elf_args){.fd = -1};
}
