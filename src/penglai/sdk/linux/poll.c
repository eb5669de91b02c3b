/* Waiting for one of many files: poll and select. */
#include <poll.h>
#include "linux.h"

#define ALWAYS (POLLERR | POLLHUP)
#define SET_WORDS (DESCRIPTORS / 64)

/* When the call is to end; with a timeout of 0 in *at_once. */
static long until(word timeout, int micro, word *end, int *at_once)
{
    word ns = 0;
    *end = NEVER;
    *at_once = 0;
    if (!timeout)
        return 0;
    long error = current->again ? 0 : time_read(timeout, micro, &ns);
    *at_once = !error && !current->again && !ns;
    if (!error)
        *end = wait_until(ns);
    return error;
}

static long look(struct pollfd *list, word count)
{
    long found = 0;
    for (word i = 0; i < count; i++) {
        list[i].revents = 0;
        if (list[i].fd < 0)
            continue;
        struct file *file = descriptor_file((word)list[i].fd);
        unsigned ready = file ? file_ready(file) & ((unsigned short)list[i].events | ALWAYS) : POLLNVAL;
        list[i].revents = (short)ready;
        found += ready != 0;
    }
    return found;
}

long call_ppoll(word list, word count, word timeout, word mask, word size)
{
    word end;
    int at_once;
    if (count > DESCRIPTORS)
        return -EINVAL;
    if (memory_reach(list, count * sizeof(struct pollfd), 1))
        return -EFAULT;
    long error = until(timeout, 0, &end, &at_once);
    if (!error)
        error = signal_mask_for_call(mask, size);
    if (error)
        return error;
    long found = look((struct pollfd *)list, count);
    if (found || at_once || wait_is_over())
        return found;
    return wait_for(WAITS_FILES, end);
}

static int has(const word *set, word number)
{
    return set && set[number / 64] >> number % 64 & 1;
}

struct sets {
    word *in, *out, *errors; /* the program's, NULL: none */
};

static long reach_set(word address, word count)
{
    return address ? memory_reach(address, (count + 63) / 64 * sizeof(word), 1) : 0;
}

/* found: three sets. */
static long look_at_sets(const struct sets *asked, word count, word (*found)[SET_WORDS])
{
    static const unsigned meanings[3] = {POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, 0};
    const word *sets[3] = {asked->in, asked->out, asked->errors};
    long total = 0;
    for (word number = 0; number < count; number++) {
        if (!has(sets[0], number) && !has(sets[1], number) && !has(sets[2], number))
            continue;
        struct file *file = descriptor_file(number);
        if (!file)
            return -EBADF;
        unsigned ready = file_ready(file);
        for (int i = 0; i < 3; i++)
            if (has(sets[i], number) && ready & meanings[i]) {
                found[i][number / 64] |= 1UL << number % 64;
                total++;
            }
    }
    return total;
}

long call_pselect(word count, word in, word out, word errors, word timeout, word mask)
{
    word end, found[3][SET_WORDS] = {{0}};
    int at_once;
    if ((int)count < 0)
        return -EINVAL;
    count = count < DESCRIPTORS ? count : DESCRIPTORS;
    if (reach_set(in, count) || reach_set(out, count) || reach_set(errors, count) ||
        (mask && memory_reach(mask, 16, 0)))
        return -EFAULT;
    long error = until(timeout, 0, &end, &at_once);
    if (!error && mask)
        error = signal_mask_for_call(((word *)mask)[0], ((word *)mask)[1]);
    if (error)
        return error;
    struct sets asked = {(word *)in, (word *)out, (word *)errors};
    long total = look_at_sets(&asked, count, found);
    if (!total && !at_once && !wait_is_over())
        return wait_for(WAITS_FILES, end);
    word *sets[3] = {asked.in, asked.out, asked.errors};
    for (int i = 0; total >= 0 && i < 3; i++)
        for (word at = 0; sets[i] && at < (count + 63) / 64; at++)
            sets[i][at] = found[i][at];
    return total;
}
