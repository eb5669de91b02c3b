#define _GNU_SOURCE
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
int main(void)
{
    size_t want = 1 << 20;
    char *p = mmap(0, 2 * want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *al = (char *)(((uintptr_t)p + want - 1) & -want);
    if (al > p)
        munmap(p, al - p);
    if (p + 2 * want > al + want)
        munmap(al + want, p + 2 * want - (al + want));
    memset(al, 5, want);
    printf("hole %d\n", munmap(al + 4096, 4096));
    printf("hole again (Linux: 0) %d\n", munmap(al + 4096, 4096));
    printf("across hole (Linux: 0) %d\n", munmap(al, want));
    char *r = mmap(0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    printf("reserve %d, commit %d\n", r != MAP_FAILED, mprotect(r, 4096, PROT_READ | PROT_WRITE));
    r[0] = 1;
    void *q = mmap(0, 4096UL << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    printf("reserve 4 GiB: %s\n", q == MAP_FAILED ? strerror(errno) : "ok");
    void *x;
    printf("posix_memalign %d aligned_alloc %d\n", posix_memalign(&x, 65536, 100),
           aligned_alloc(4096, 8192) != NULL);
    errno = 0;
    void *z = mremap((void *)0x2000000000, 4096, 8192, 0);
    printf("mremap of nothing (EFAULT expected): %s %s\n", z == MAP_FAILED ? "failed" : "MAPPED",
           strerror(errno));
    return 0;
}
