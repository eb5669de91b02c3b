#include <stdio.h>
#include <string.h>
#include <sys/times.h>
#include <unistd.h>
static void dirty(void)
{
    volatile char used[4000];
    memset((char *)used, 0x5a, sizeof used);
}
int main(void)
{
    struct tms spent;
    dirty();
    printf("pages %d, free %d\n", sysconf(_SC_PHYS_PAGES) > 0, sysconf(_SC_AVPHYS_PAGES) > 0);
    printf("times %d, group %d\n", (long)times(&spent) >= 0, getpgrp() > 0);
    return 0;
}
