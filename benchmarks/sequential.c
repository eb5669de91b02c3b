/*
 * Writes a file from its beginning to its end, and reads it, in pieces; again and again, each time anew.
 *
 *     sequential [FILE]     prints what each took: a name and ns, on a line
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef ROUNDS
#define ROUNDS 3
#endif
#define PIECE (32 << 10)
#define SIZE (1 << 20)

static char piece[PIECE];

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* All of the file by one call for each piece; what it took, or -1. */
static long whole(const char *path, int flags, ssize_t (*pass)(int, void *, size_t))
{
    long begun = now();
    int file = open(path, flags, 0600);
    if (file < 0)
        return -1;
    for (int done = 0; done < SIZE; done += PIECE)
        if (pass(file, piece, PIECE) != PIECE)
            return -1;
    return close(file) ? -1 : now() - begun;
}

static ssize_t put(int file, void *from, size_t size)
{
    return write(file, from, size);
}

int main(int count, char **words)
{
    const char *path = count > 1 ? words[1] : "/sequential";
    memset(piece, 'x', sizeof piece);
    for (int round = 0; round < ROUNDS; round++) {
        long wrote = whole(path, O_WRONLY | O_CREAT | O_TRUNC, put);
        long got = whole(path, O_RDONLY, read);
        if (wrote < 0 || got < 0 || unlink(path))
            return 1;
        printf("write %d: %ld\nread %d: %ld\n", round, wrote, round, got);
    }
    return 0;
}
