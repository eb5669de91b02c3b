// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Reading an enclave program: a static ELF for rv64.  The file is a copy of ours, and everything in
 * it hostile.
 *
 * What is loaded is what the segments say, as on Linux.  The section table adds zeros where no
 * segment lies, if it has any to add; whatever else is in it, or wrong with it, changes nothing.
 * driver/elf.py, of the other host, does the same.
 */
#include <linux/elf.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "abi.h"
#include "image.h"

#ifndef SHF_TLS
#define SHF_TLS 0x400
#endif

/* The same limit as Linux's. */
#define MAX_PROGRAM_HEADERS (65536 / sizeof(struct elf64_phdr))

/* How much the section table may add: the limits of the original's driver. */
#define MAX_ZERO_SECTIONS 64
#define MAX_ZERO_BYTES (512ULL << 20)

struct elf_file {
	const void *bytes;
	size_t size;
	struct elf64_hdr header;
};

static bool inside(u64 offset, u64 bytes, size_t size)
{
	return offset <= size && bytes <= size - offset;
}

static int read_header(struct elf_file *file)
{
	const struct elf64_hdr *header = &file->header;
	bool good;

	if (file->size < sizeof(*header))
		return -EINVAL;
	memcpy(&file->header, file->bytes, sizeof(*header));
	good = !memcmp(header->e_ident, ELFMAG, SELFMAG) &&
	       header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
	       header->e_machine == EM_RISCV && header->e_type == ET_EXEC &&
	       header->e_phentsize == sizeof(struct elf64_phdr) &&
	       header->e_phnum <= MAX_PROGRAM_HEADERS &&
	       inside(header->e_phoff, header->e_phnum * sizeof(struct elf64_phdr), file->size);
	return good ? 0 : -EINVAL;
}

/* Inserts a segment in order of address, after those that begin at the same one. */
static void insert(struct program *program, const struct segment *segment)
{
	int at = program->count++;

	for (; at && program->segments[at - 1].start > segment->start; at--)
		program->segments[at] = program->segments[at - 1];
	program->segments[at] = *segment;
}

static bool in_region(const struct segment *segment)
{
	u64 end;

	return !check_add_overflow(segment->start, segment->size, &end) &&
	       segment->start >= ENCLAVE_TEXT_BASE && end <= ENCLAVE_HEAP_BASE;
}

/* ---- segments ---- */

static u8 permissions_of(u32 flags)
{
	return (flags & PF_R ? PTE_R : 0) | (flags & PF_W ? PTE_W : 0) | (flags & PF_X ? PTE_X : 0);
}

static int add_segment(const struct elf_file *file, const struct elf64_phdr *header,
		       struct program *program)
{
	struct segment segment = {
		.start = header->p_vaddr,
		.size = header->p_memsz,
		.offset = header->p_offset,
		.filled = header->p_filesz,
		.permissions = permissions_of(header->p_flags),
	};

	if (header->p_type == PT_INTERP)
		return -EINVAL;
	if (header->p_type != PT_LOAD)
		return 0;
	if (segment.filled > segment.size)
		return -EINVAL;
	if (segment.filled && !inside(segment.offset, segment.filled, file->size))
		return -EINVAL;
	if (!segment.size)
		return 0;
	if (!in_region(&segment) || !(segment.permissions & (PTE_R | PTE_X)) ||
	    (segment.permissions & (PTE_W | PTE_X)) == (PTE_W | PTE_X))
		return -EINVAL;
	insert(program, &segment);
	return 0;
}

static int add_segments(const struct elf_file *file, struct program *program)
{
	const void *table = file->bytes + file->header.e_phoff;
	int error = 0, i;

	for (i = 0; i < file->header.e_phnum && !error; i++) {
		struct elf64_phdr header;

		memcpy(&header, table + i * sizeof(header), sizeof(header));
		error = add_segment(file, &header, program);
	}
	return error;
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

/* ---- sections ---- */

static struct elf64_shdr section_at(const struct elf_file *file, int i)
{
	struct elf64_shdr section;

	memcpy(&section, file->bytes + file->header.e_shoff + i * sizeof(section), sizeof(section));
	return section;
}

static bool has_sections(const struct elf_file *file)
{
	const struct elf64_hdr *header = &file->header;
	u64 size = header->e_shnum * sizeof(struct elf64_shdr);

	return header->e_shnum && header->e_shentsize == sizeof(struct elf64_shdr) &&
	       inside(header->e_shoff, size, file->size) && section_at(file, 0).sh_type == SHT_NULL;
}

/* Whether the section has memory and no content. */
static bool is_zeros(const struct elf64_shdr *section)
{
	return section->sh_type == SHT_NOBITS && section->sh_size &&
	       (section->sh_flags & (SHF_ALLOC | SHF_TLS)) == SHF_ALLOC;
}

/*
 * Whether part of the section belongs to a segment. If not all of it does, the two contradict each
 * other.
 */
static bool has_segment(const struct program *program, const struct segment *zeros)
{
	int i;

	for (i = 0; i < program->count; i++) {
		const struct segment *segment = &program->segments[i];

		if (!segment->zeros && segment->start < zeros->start + zeros->size &&
		    zeros->start < segment->start + segment->size)
			return true;
	}
	return false;
}

/* Sections without content outside all segments: programs of Penglai's own SDK count on them. */
static void add_zeros(const struct elf_file *file, struct program *program)
{
	int left = MAX_ZERO_SECTIONS, i;
	u64 room = MAX_ZERO_BYTES;

	if (!has_sections(file))
		return;
	for (i = 1; i < file->header.e_shnum; i++) {
		struct elf64_shdr section = section_at(file, i);
		struct segment zeros = {
			.start = section.sh_addr,
			.size = section.sh_size,
			.permissions = section.sh_flags & SHF_WRITE ? PTE_R | PTE_W : PTE_R,
			.zeros = true,
		};

		if (!is_zeros(&section) || !in_region(&zeros) || has_segment(program, &zeros))
			continue;
		if (left && zeros.size <= room) {
			left--;
			room -= zeros.size;
			insert(program, &zeros);
		}
	}
}

/* ---- the whole ---- */

static int read_program(const struct elf_file *file, struct program *program)
{
	int error = add_segments(file, program);

	program->entry = file->header.e_entry;
	if (error || program->entry % 2 || !is_code(program, program->entry))
		return -EINVAL;
	add_zeros(file, program);
	return 0;
}

/* The program, to be freed with kvfree; -EINVAL if it is not an enclave program, or -ENOMEM. */
struct program *elf_parse(const void *elf, size_t size)
{
	struct elf_file file = { .bytes = elf, .size = size };
	struct program *program;
	int error = read_header(&file);

	if (error)
		return ERR_PTR(error);
	program = kvzalloc(struct_size(program, segments, file.header.e_phnum + MAX_ZERO_SECTIONS),
			   GFP_KERNEL);
	if (!program)
		return ERR_PTR(-ENOMEM);
	error = read_program(&file, program);
	if (!error)
		return program;
	kvfree(program);
	return ERR_PTR(error);
}
