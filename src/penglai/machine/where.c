/*
 * Where a program is: how many jumps back it has made since its run began, and its pc.  A jump back leads to an
 * address below the end of its own instruction.  Between two of them the pc only grows, so that the two numbers
 * name one moment of the run, and they are the same on every engine, whatever its blocks are.
 */
#include "hart.h"

/* Unicorn's blocks end with whatever jumps.  Those that it cuts for other reasons go on at their ends. */
static void on_counted_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    struct hart *h = user;
    if (address < h->block_end)
        h->run->jumps++;
    h->block_start = address;
    h->block_end = address + bytes;
    if (h->run->jumps >= h->goal) {
        h->interrupt = CAUSE_DEBUG;
        uc_emu_stop(uc);
    }
}

bool count_jumps(struct hart *h)
{
    uc_hook hook;
    h->goal = UINT64_MAX;
    return !uc_hook_add(h->uc, &hook, UC_HOOK_BLOCK, on_counted_block, h, 1, 0);
}

void begin_at_place(struct hart *h, uint64_t pc)
{
    h->block_start = h->block_end = pc;
}

/* A jump to a block that has not begun has been made. */
void stopped_at_place(struct hart *h, uint64_t pc)
{
    if (h->run && h->run->counted && pc < h->block_start)
        h->run->jumps++;
    begin_at_place(h, pc);
}

uint64_t jumps_left(const struct hart *h)
{
    return h->goal > h->run->jumps ? h->goal - h->run->jumps : 0;
}

uint64_t told_time(struct run *run, uint64_t now)
{
    uint64_t number = run->times_read++;
    if (number >= run->times_room)
        return run->times_room ? run->times[run->times_room - 1] : 0;
    if (number >= run->times_known) {
        run->times[number] = now;
        run->times_known = number + 1;
    }
    return run->times[number];
}
