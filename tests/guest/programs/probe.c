/*
 * Tries to read and to write physical memory by /dev/mem, in both ways that there are, and says what came of it.
 *
 *     probe ADDRESS
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf back;

static void on_fault(int number)
{
    siglongjmp(back, number);
}

/* 0, or the signal. */
static int touch(volatile unsigned long *word, int write)
{
    int number = sigsetjmp(back, 1);
    if (number)
        return number;
    if (write)
        *word = 0x666;
    else
        (void)*word;
    return 0;
}

static const char *outcome(int number)
{
    return number ? strsignal(number) : "done";
}

int main(int argc, char **argv)
{
    unsigned long address = strtoul(argv[argc - 1], NULL, 0), word = 0;
    volatile unsigned long *page;
    int fd = open("/dev/mem", O_RDWR);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    printf("read: %s\n", pread(fd, &word, 8, (off_t)address) == 8 ? "done" : strerror(errno));
    printf("write: %s\n", pwrite(fd, &word, 8, (off_t)address) == 8 ? "done" : strerror(errno));
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)address);
    if (page == MAP_FAILED)
        return 1;
    printf("load: %s\n", outcome(touch(page, 0)));
    printf("store: %s\n", outcome(touch(page, 1)));
    return 0;
}
