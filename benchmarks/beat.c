/* The peer of life.c: a process that tells when it runs, in a file that it maps. */
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

struct board {
    unsigned long first, asked, answered, time, beats;
};

static unsigned long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000UL + time.tv_nsec;
}

int main(int argc, char **argv)
{
    unsigned long first = now(), seen = 0;
    int file = argc > 1 ? open(argv[1], O_RDWR) : -1;
    volatile struct board *board = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (board == MAP_FAILED)
        return 1;
    board->first = first;
    for (;;) {
        board->beats++;
        if (board->asked != seen) {
            seen = board->asked;
            board->time = now();
            board->answered = seen;
        }
    }
}
