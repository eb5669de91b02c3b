/* Who a program is: one process, of root. */
#include <sys/resource.h>
#include "linux.h"

long call_zero(void)
{
    return 0;
}

long call_getpid(void)
{
    return PROCESS_ID;
}

long call_gettid(void)
{
    return current->id;
}

long if_own(word process, long result)
{
    return (int)process == 0 || (int)process == PROCESS_ID ? result : -ESRCH;
}

long call_getpgid(word process)
{
    return if_own(process, PROCESS_ID);
}

long call_setpgid(word process, word group)
{
    return (int)group < 0 ? -EINVAL : if_own(process, -EPERM); /* it leads its session */
}

long call_setsid(void)
{
    return -EPERM; /* it leads its group already */
}

long call_setid(word id)
{
    return (int)id == 0 || (int)id == -1 ? 0 : -EPERM;
}

long call_setids(word real, word effective, word saved)
{
    return call_setid(real) || call_setid(effective) || call_setid(saved) ? -EPERM : 0;
}

long call_setids2(word real, word effective)
{
    return call_setids(real, effective, 0);
}

#define GROUPS 32
#define GROUPS_MOST 65536

static unsigned groups[GROUPS];
static word group_count;

long call_getgroups(word count, word out)
{
    if ((int)count < 0 || ((unsigned)count && (unsigned)count < group_count))
        return -EINVAL;
    if (count && memory_reach(out, group_count * sizeof *groups, 1))
        return -EFAULT;
    if (count)
        memcpy((void *)out, groups, group_count * sizeof *groups);
    return (long)group_count;
}

long call_setgroups(word count, word in)
{
    count = (unsigned)count;
    if (count > GROUPS_MOST)
        return -EINVAL;
    if (count > GROUPS)
        return -ENOMEM;
    if (memory_reach(in, count * sizeof *groups, 0))
        return -EFAULT;
    memcpy(groups, (const void *)in, count * sizeof *groups);
    group_count = count;
    return 0;
}

long call_getresid(word real, word effective, word saved)
{
    word all[3] = {real, effective, saved};
    for (int i = 0; i < 3; i++)
        if (memory_reach(all[i], sizeof(int), 1))
            return -EFAULT;
    for (int i = 0; i < 3; i++)
        *(int *)all[i] = 0;
    return 0;
}

long call_getpriority(word which, word who)
{
    return which > PRIO_USER ? -EINVAL : (int)who > PROCESS_ID ? -ESRCH : 20;
}

long call_setpriority(word which, word who, word value)
{
    (void)value;
    return which > PRIO_USER ? -EINVAL : (int)who > PROCESS_ID ? -ESRCH : 0;
}
