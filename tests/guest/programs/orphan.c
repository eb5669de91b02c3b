/*
 * Makes enclaves in every state, shared memory and relay pages, says "ready", and waits to be killed.
 *
 *     orphan SPIN VALUE SERVER CALLER
 */
#include <sched.h>
#include "device.h"

static unsigned long spinning(const char *file)
{
    struct user_param param = make(file, NORMAL, "spin");
    start(param);
    while (on(STOP, param.eid))
        sched_yield();
    if (on(RESUME, param.eid))
        die("resume");
    return param.eid;
}

static void map(unsigned long get, unsigned long at)
{
    struct get_param size = {.size = 5 * 4096};
    struct at_param param = {.id = (int)call(get, &size)};
    char *memory;
    if (param.id <= 0 || call(at, &param))
        die("shared memory");
    memory = mmap(NULL, param.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    memset(memory, 1, param.size);
}

/* Standard output takes nothing any more: the enclave waits in its write. */
static void in_ocall(const char *file)
{
    char fill[4096] = {0};
    int ends[2];
    if (pipe(ends))
        die("pipe");
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], fill, sizeof fill) > 0)
        ;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], 1);
    await_sleep(start(make(file, NORMAL, "ocall")), "pipe_write");
}

int main(int argc, char **argv)
{
    int console = dup(1), ends[2];
    char line[16];
    if (argc != 5)
        return 2;
    device_open();
    make(argv[1], NORMAL, "fresh");
    make(argv[1], SHADOW, "shadow");
    make(argv[3], SERVER, "idle");
    make(argv[3], SERVER, "spinner");
    spinning(argv[1]);
    if (on(STOP, spinning(argv[1])))
        die("stop");
    map(SHMGET, SHMAT);
    map(RELAY_GET, RELAY_AT);
    if (pipe(ends))
        die("pipe");
    dup2(ends[1], 1);
    start(make(argv[4], NORMAL, "caller"));
    if (read(ends[0], line, sizeof line) <= 0) /* the server is at work */
        die("read");
    in_ocall(argv[2]);
    if (fork() == 0) { /* has the device open, too, and lives on */
        setsid();
        pause();
    }
    dprintf(console, "ready %d\n", getpid());
    pause();
    return 0;
}
