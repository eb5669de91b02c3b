/*
 * Enclave programs: ELF files in memory.
 *
 * The C library has an elf.h too, and includes it itself (link.h does).  A program that finds this
 * one gets that one as well; the #include_next stands outside the guard because the first file that it leads
 * to may be this one again.  The pragma lets programs that are compiled with -Wpedantic have it.
 */
#pragma GCC system_header
#include_next <elf.h>

#ifndef PENGLAI_ELF_H
#define PENGLAI_ELF_H

#ifdef __cplusplus
extern "C" {
#endif

struct elf_args {
    int fd; /* -1: the file is closed once it is read */
    unsigned long size;
    void *ptr;
};

/* Reads a file; 0, or -1 with errno.  The struct then holds nothing. */
int elf_args_init(struct elf_args *elf, const char *file);

/* 1 if it holds a 64-bit RISC-V program, else 0. */
int elf_valid(const struct elf_args *elf);

/* Frees the file's memory.  Enclaves made from it do not need it. */
void elf_args_destroy(struct elf_args *elf);

#ifdef __cplusplus
}
#endif

#endif
