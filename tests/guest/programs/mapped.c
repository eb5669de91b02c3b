/* mapped FILE: reads a file through private and shared mappings, then writes to it through a shared one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char *map(int fd, size_t size, int protection, int flags)
{
    char *place = mmap(NULL, size, protection, flags, fd, 0);
    if (place == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return place;
}

int main(int argc, char **argv)
{
    struct stat status;
    int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
    if (fd < 0 || fstat(fd, &status)) {
        perror("open");
        return 1;
    }
    size_t size = status.st_size;
    char *read_only = map(fd, size, PROT_READ, MAP_PRIVATE);
    char *own = map(fd, size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    if (memcmp(read_only, own, size))
        return 2;
    memset(own, 'x', size); /* stays ours */
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += (unsigned char)read_only[i];
    printf("sum %u\n", sum);
    fflush(stdout);
    char *shared = map(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
    memcpy(shared + size / 2, "written", 7);
    if (msync(shared, size, MS_SYNC)) {
        perror("msync");
        return 3;
    }
    return 0;
}
