/* The list of what the address space has where: memory.c decides, areas.c keeps it. */
#ifndef PENGLAI_LINUX_AREAS_H
#define PENGLAI_LINUX_AREAS_H

#include "linux.h"

#define HEAP_START 0x1000000000UL
#define HEAP_END 0x1800000000UL
#define OWN_START HEAP_END
#define OWN_END 0x1c00000000UL
#define MAPS_START OWN_END
#define MAPS_END 0x3000000000UL

enum area_kind {
    PROGRAM, /* the program's, from the monitor's mmap */
    IMAGE,   /* the program's, and part of what was packed: its pages stay */
    OWN,     /* the personality's */
    SHARED,  /* a file's data, which the program has mapped for writing */
};

struct area {
    word start, end;
    unsigned char kind, protection;
    unsigned char backed;     /* it has pages; if not, it gets them when they are needed */
    unsigned char executable; /* IMAGE: holds code */
};

int areas_begin(void);
/* Index of the first area that ends behind the address. */
size_t areas_at(word address);
struct area *area(size_t index); /* NULL behind the last one */
int areas_room(size_t more);
void areas_insert(struct area new);
void areas_remove(size_t index);
/* No area goes across the address any more. */
void areas_split(word address);
/* Areas of one sort that touch are one again, from start to end. */
void areas_join(word start, word end);
int areas_free(word start, word end);
/* The highest gap of this size between low and high; 0 if there is none. */
word areas_gap(word low, word high, word size);
word areas_backed(void);
void areas_count(word change);

/* ---- memory.c: areas and their pages ---- */
#define BOTH (PROT_READ | PROT_WRITE)
#define PIECE (16 * PAGE) /* gets its pages at once */
static inline word page_up(word size)
{
    return (size + PAGE - 1) & -PAGE;
}
/* Gives [start, end), inside of one area, its pages; 0 or -ENOMEM. */
long pages_back(word start, word end);
/* Nothing is at [start, end) any more; 0, -EINVAL if that is not the program's, or -ENOMEM. */
long pages_clear(word start, word end);
long pages_add(word start, word size, word protection);
void pages_of_segment(const struct linux_segment *segment);
long pages_check(word start, word end); /* all of it is mapped, or -ENOMEM */

#endif
