#include <sched.h>
#include <sys/syscall.h>
#include "device.h"

int device;

void die(const char *what)
{
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(1);
}

void device_open(void)
{
    device = open("/dev/penglai_enclave_dev", O_RDWR | O_CLOEXEC);
    if (device < 0)
        die("/dev/penglai_enclave_dev");
}

long call(unsigned long request, void *argument)
{
    int result = ioctl(device, request, argument);
    return result < 0 ? -errno : result;
}

long on(unsigned long request, unsigned long eid)
{
    struct user_param param = {.eid = eid};
    return call(request, &param);
}

long attest(unsigned long eid, struct attest_param *param)
{
    struct attest_param own;
    param = param ? param : &own;
    *param = (struct attest_param){.eid = (int)eid, .nonce = 42};
    return call(ATTEST, param);
}

struct user_param make(const char *file, int type, const char *name)
{
    struct user_param param = {.type = (unsigned)type, .stack_size = 65536};
    struct stat status;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status))
        die(file);
    param.elf_size = status.st_size;
    param.elf = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    snprintf(param.name, sizeof param.name, "%s", name);
    if (call(CREATE, &param))
        die("create");
    munmap(param.elf, (size_t)status.st_size);
    return param;
}

static void *run(void *argument)
{
    struct running *running = argument;
    running->tid = (int)syscall(SYS_gettid);
    running->result = call(RUN, &running->param);
    return NULL;
}

struct running *start(struct user_param param)
{
    struct running *running = calloc(1, sizeof *running);
    running->param = param;
    running->result = 12345;
    if (pthread_create(&running->thread, NULL, run, running))
        die("pthread_create");
    return running;
}

struct user_param finish(struct running *running, long *result)
{
    struct user_param param;
    pthread_join(running->thread, NULL);
    param = running->param;
    *result = running->result;
    free(running);
    return param;
}

void await_sleep(const struct running *running, const char *function)
{
    char path[64], found[64] = "";
    while (strcmp(found, function)) {
        FILE *file;
        sched_yield();
        snprintf(path, sizeof path, "/proc/self/task/%d/wchan", running->tid);
        file = fopen(path, "r");
        if (!file)
            continue; /* the thread has not begun yet */
        if (!fgets(found, sizeof found, file))
            *found = 0;
        fclose(file);
    }
}

long meminfo(const char *name)
{
    char line[128];
    long value = -1;
    FILE *file = fopen("/proc/meminfo", "r");
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            value = atol(line + strlen(name) + 1);
    fclose(file);
    return value;
}
