// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Reading an enclave program: a static ELF for rv64.  The file is a copy of ours, and everything in
 * it hostile.
 */
#include <linux/elf.h>
#include <linux/errno.h>
#include <linux/sort.h>
#include <linux/string.h>
#include "penglai.h"

#define PTE_R 2
#define PTE_W 4
#define PTE_X 8

#ifndef SHF_TLS
#define SHF_TLS 0x400
#endif

static bool inside(u64 offset, u64 bytes, size_t size)
{
	return offset <= size && bytes <= size - offset;
}

static int check_kind(const struct elf64_hdr *header)
{
	bool good = !memcmp(header->e_ident, ELFMAG, SELFMAG) &&
		    header->e_ident[EI_CLASS] == ELFCLASS64 &&
		    header->e_ident[EI_DATA] == ELFDATA2LSB && header->e_machine == EM_RISCV &&
		    header->e_type == ET_EXEC && header->e_phentsize == sizeof(struct elf64_phdr);

	return good ? 0 : -EINVAL;
}

static int add_segment(struct program *program, const struct segment *segment)
{
	u64 end;

	if (!segment->size)
		return 0;
	if (program->count == MAX_SEGMENTS ||
	    check_add_overflow(segment->start, segment->size, &end))
		return -EINVAL;
	if (segment->start < ENCLAVE_TEXT_BASE || end > ENCLAVE_HEAP_BASE)
		return -EINVAL;
	if (!(segment->permissions & (PTE_R | PTE_X)))
		return -EINVAL;
	program->segments[program->count++] = *segment;
	return 0;
}

static int add_loaded(const void *elf, size_t size, const struct elf64_phdr *header,
		      struct program *program)
{
	struct segment segment = {
		.start = header->p_vaddr,
		.size = header->p_memsz,
		.offset = header->p_offset,
		.filled = header->p_filesz,
	};

	if (header->p_type == PT_INTERP)
		return -EINVAL;
	if (header->p_type != PT_LOAD)
		return 0;
	if (header->p_filesz > header->p_memsz || !inside(header->p_offset, header->p_filesz, size))
		return -EINVAL;
	if (header->p_flags & PF_R)
		segment.permissions |= PTE_R;
	if (header->p_flags & PF_W)
		segment.permissions |= PTE_W;
	if (header->p_flags & PF_X)
		segment.permissions |= PTE_X;
	return add_segment(program, &segment);
}

/*
 * Sections without content that have an address: linkers that leave them out of the segments exist.
 *
 */
static int add_zero(const struct elf64_shdr *header, struct program *program)
{
	struct segment segment = {
		.start = header->sh_addr,
		.size = header->sh_size,
		.permissions = PTE_R,
	};

	if (header->sh_type != SHT_NOBITS || !(header->sh_flags & SHF_ALLOC) || !header->sh_addr)
		return 0;
	if (header->sh_flags & SHF_TLS) /* no memory of its own */
		return 0;
	if (header->sh_flags & SHF_WRITE)
		segment.permissions |= PTE_W;
	if (header->sh_flags & SHF_EXECINSTR)
		segment.permissions |= PTE_X;
	return add_segment(program, &segment);
}

static int by_address(const void *a, const void *b)
{
	u64 first = ((const struct segment *)a)->start, second = ((const struct segment *)b)->start;

	return first < second ? -1 : first > second;
}

static bool is_code(const struct program *program, u64 address)
{
	int i;

	for (i = 0; i < program->count; i++) {
		const struct segment *segment = &program->segments[i];

		if (segment->permissions & PTE_X && address - segment->start < segment->size)
			return true;
	}
	return false;
}

/* Fills in the program; -EINVAL for what is no enclave program. */
int elf_parse(const void *elf, size_t size, struct program *program)
{
	struct elf64_hdr header;
	int error, i;

	*program = (struct program){};
	if (size < sizeof(header))
		return -EINVAL;
	memcpy(&header, elf, sizeof(header));
	error = check_kind(&header);
	if (error || !inside(header.e_phoff, (u64)header.e_phnum * sizeof(struct elf64_phdr), size))
		return -EINVAL;
	for (i = 0; i < header.e_phnum && !error; i++) {
		struct elf64_phdr segment;

		memcpy(&segment, elf + header.e_phoff + i * sizeof(segment), sizeof(segment));
		error = add_loaded(elf, size, &segment, program);
	}
	if (error || !program->count)
		return -EINVAL;
	if (header.e_shnum && header.e_shentsize != sizeof(struct elf64_shdr))
		return -EINVAL;
	if (!inside(header.e_shoff, (u64)header.e_shnum * sizeof(struct elf64_shdr), size))
		return -EINVAL;
	for (i = 0; i < header.e_shnum && !error; i++) {
		struct elf64_shdr section;

		memcpy(&section, elf + header.e_shoff + i * sizeof(section), sizeof(section));
		error = add_zero(&section, program);
	}
	program->entry = header.e_entry;
	if (error || header.e_entry % 2 || !is_code(program, header.e_entry))
		return -EINVAL;
	sort(program->segments, program->count, sizeof(program->segments[0]), by_address, NULL);
	return 0;
}
