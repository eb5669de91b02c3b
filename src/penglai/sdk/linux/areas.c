/* The list of what the address space has where, sorted by address. */
#include "areas.h"

_Static_assert(512 * sizeof(struct area) % PAGE == 0, "FIRST of them fill whole pages");

#define FIRST 512 /* so many fill whole pages; the room for more is doubled when it is needed */
#define MOST (32 * FIRST)

static struct area *list;
static size_t count, room;
static word backed_bytes;

int areas_begin(void)
{
    if (!monitor_map(OWN_START, FIRST * sizeof *list))
        return 0;
    list = (struct area *)OWN_START;
    list[0] =
        (struct area){.start = OWN_START, .end = OWN_START + MOST * sizeof *list, .kind = OWN, .backed = 1};
    count = 1;
    room = FIRST;
    return 1;
}

size_t areas_at(word address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct area *area(size_t index)
{
    return index < count ? &list[index] : NULL;
}

int areas_room(size_t more)
{
    while (count + more > room) {
        word bytes = room * sizeof *list;
        if (room == MOST || !monitor_map(OWN_START + bytes, bytes))
            return 0;
        room *= 2;
    }
    return 1;
}

void areas_insert(struct area new)
{
    size_t index = areas_at(new.start);
    memmove(list + index + 1, list + index, (count - index) * sizeof *list);
    list[index] = new;
    count++;
}

void areas_remove(size_t index)
{
    count--;
    memmove(list + index, list + index + 1, (count - index) * sizeof *list);
}

void areas_split(word address)
{
    size_t index = areas_at(address);
    struct area *found = area(index);
    if (!found || found->start >= address)
        return;
    struct area upper = *found;
    found->end = address;
    upper.start = address;
    areas_insert(upper);
}

static int are_alike(const struct area *a, const struct area *b)
{
    return a->kind == b->kind && a->protection == b->protection && a->backed == b->backed &&
           a->executable == b->executable;
}

void areas_join(word start, word end)
{
    size_t index = areas_at(start ? start - 1 : 0);
    while (index + 1 < count && list[index].start <= end) {
        if (list[index].end == list[index + 1].start && are_alike(&list[index], &list[index + 1])) {
            list[index].end = list[index + 1].end;
            areas_remove(index + 1);
        } else {
            index++;
        }
    }
}

int areas_free(word start, word end)
{
    struct area *found = area(areas_at(start));
    return !found || found->start >= end;
}

word areas_gap(word low, word high, word size)
{
    word top = high;
    for (size_t index = areas_at(high - 1) + 1; index-- > 0;) {
        struct area *found = area(index);
        if (!found || found->start >= top)
            continue;
        if (found->end <= top && top - found->end >= size && top >= low + size && top - size >= low)
            return top - size;
        if (found->end <= low)
            break;
        top = found->start;
    }
    return top >= low + size ? top - size : 0;
}

word areas_backed(void)
{
    return backed_bytes;
}

void areas_count(word change)
{
    backed_bytes += change;
}
