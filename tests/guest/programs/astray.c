/*
 * Relay pages that an enclave gives away do not come back with its end.  They are nobody's here until the one that has
 * them ends, whatever is tried meanwhile.
 *
 *     astray GIVER KEEPER
 */
#include <sys/wait.h>
#include "device.h"

#define SIZE (4 * 4096UL)

static int get(void)
{
    struct get_param size = {.size = SIZE};
    long id = call(RELAY_GET, &size);
    if (id <= 0)
        die("relay get");
    return (int)id;
}

static char *map(int id)
{
    struct at_param at = {.id = id};
    char *pages;
    if (call(RELAY_AT, &at))
        die("relay at");
    pages = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    if (pages == MAP_FAILED)
        die("mmap");
    return pages;
}

/* What becomes of a process that touches them: 0 or a signal. */
static int touch(volatile char *page)
{
    int status;
    if (fork() == 0) {
        *page = 1;
        _exit(0);
    }
    wait(&status);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static long give(const char *giver, int id)
{
    struct user_param param = make(giver, NORMAL, "giver");
    param.relay_id = id;
    param.relay_size = SIZE;
    return call(RUN, &param);
}

static void expect(int right, const char *what)
{
    printf("%s: %s\n", what, right ? "ok" : "wrong");
}

int main(int argc, char **argv)
{
    struct user_param keeper;
    int first, second;
    char *pages;
    (void)argc;
    device_open();
    first = get();
    second = get();
    pages = map(first);
    memset(pages, 0x55, SIZE);
    keeper = make(argv[2], SERVER, "keeper");
    expect(give(argv[1], first) == 0, "given away");
    expect(touch(pages) == SIGBUS, "not here");
    expect(give(argv[1], first) == -EFAULT, "not to be lent");
    expect(give(argv[1], second) == 0, "others given away");
    expect(call(RELAY_CTL, &second) == 0, "others forgotten");
    expect(on(DESTROY, keeper.eid) == 0, "keeper destroyed");
    expect(touch(pages) == 0, "here again");
    expect(pages[5000] == 0, "and empty");
    expect(give(argv[1], first) == 0, "lent again, to be posted");
    expect(touch(pages) == SIGBUS, "on its way");
    return 0; /* with a parcel that nobody will ever open */
}
