/* Holes, what is only reserved, and mremap. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define BOTH (PROT_READ | PROT_WRITE)

static const char *said(long failed)
{
    return failed ? strerror(errno) : "ok";
}

static void remap(const char *what, char *at, size_t old, size_t new, int flags)
{
    printf("%s: %s\n", what, said(mremap(at, old, new, flags) == MAP_FAILED));
}

static void holes(void)
{
    char *p = mmap(0, 9 * PAGE, BOTH, PRIVATE, -1, 0);
    memset(p, 7, 9 * PAGE);
    printf("two holes: %s", said(munmap(p + PAGE, PAGE) || munmap(p + 4 * PAGE, 2 * PAGE)));
    printf(", once more: %s\n", said(munmap(p + PAGE, PAGE)));
    remap("across a hole", p, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    remap("of a hole", p + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    printf("into the hole: %d\n", mmap(p + PAGE, PAGE, BOTH, PRIVATE | MAP_FIXED, -1, 0) == p + PAGE);
    printf("around it: %d %d %d\n", p[PAGE - 1], p[PAGE], p[2 * PAGE]);
    remap("of the filled hole", p, 4 * PAGE, 2 * PAGE, 0);
    printf("not over it: %s\n",
           said(mmap(p, PAGE, BOTH, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED));
    printf("across all: %s\n", said(munmap(p, 9 * PAGE)));
    printf("odd address: %s\n", said(munmap(p + 1, PAGE)));
    printf("nothing: %s\n", said(munmap(p, 0)));
}

static void reserved(void)
{
    size_t size = 4UL << 30;
    char *p = mmap(0, size, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0);
    printf("reserve: %s\n", said(p == MAP_FAILED));
    printf("commit: %s\n", said(mprotect(p + (1UL << 30), 3 * PAGE, BOTH)));
    memset(p + (1UL << 30), 5, 3 * PAGE);
    printf("commit more: %s\n", said(mprotect(p + (1UL << 30) + PAGE, 4 * PAGE, BOTH)));
    printf("kept %d, new %d\n", p[(1UL << 30) + PAGE], p[(1UL << 30) + 4 * PAGE]);
    printf("decommit: %s\n", said(madvise(p + (1UL << 30), size / 2, MADV_DONTNEED)));
    printf("cleared %d\n", p[(1UL << 30) + PAGE]);
    printf("over it: %d\n", mmap(p, PAGE, BOTH, PRIVATE | MAP_FIXED, -1, 0) == p);
    p[0] = 1;
    printf("reserve again: %d\n", mmap(p, PAGE, PROT_NONE, PRIVATE | MAP_FIXED, -1, 0) == p);
    printf("release: %s\n", said(munmap(p, size)));
    remap("of nothing", p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
}

static void aligned(void)
{
    for (int round = 0; round < 50; round++) {
        size_t want = 1UL << 20;
        char *p = mmap(0, 2 * want, BOTH, PRIVATE, -1, 0);
        char *at = (char *)(((unsigned long)p + want - 1) & -want);
        if (p == MAP_FAILED || (at > p && munmap(p, (size_t)(at - p))))
            puts("head");
        if (munmap(at + want, (size_t)(p + want - at)) && p != at)
            puts("tail");
        memset(at, round, want);
        if (munmap(at, want))
            puts("rest");
    }
}

static void many(void)
{
    static char *pages[1500];
    for (int i = 0; i < 1500; i++) {
        pages[i] = mmap(0, PAGE, BOTH, PRIVATE, -1, 0);
        pages[i][0] = (char)i;
    }
    for (int i = 0; i < 1500; i += 2)
        if (munmap(pages[i], PAGE))
            puts("one of many");
    for (int i = 1; i < 1500; i += 2)
        if (pages[i][0] != (char)i || munmap(pages[i], PAGE))
            puts("another of many");
}

int main(void)
{
    holes();
    reserved();
    aligned();
    many();
    return 0;
}
