/*
 * Creates enclaves until one cannot be created, and says how many there are; then runs each to its end, and does it
 * all again.
 *
 *     hoard FILE ROUNDS
 */
#include "device.h"

#define MOST 1000

static struct user_param made[MOST];

static int create_all(const char *file)
{
    int count = 0, fd = open(file, O_RDONLY | O_CLOEXEC);
    long size = lseek(fd, 0, SEEK_END), result = 0;
    void *elf = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    while (count < MOST) {
        made[count] = (struct user_param){.elf = elf, .elf_size = size, .stack_size = 65536};
        result = call(CREATE, &made[count]);
        if (result)
            break;
        count++;
    }
    printf("created %d, then: %s\n", count, strerror((int)-result));
    munmap(elf, (size_t)size);
    close(fd);
    return count;
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 1;
    device_open();
    while (rounds--) {
        int count = create_all(argv[1]);
        for (int i = 0; i < count; i++) {
            if (call(RUN, &made[i]))
                die("run");
            if (made[i].retval != 7)
                return 1;
        }
    }
    return 0;
}
