/*
 * What host programs of Penglai-TVM's rely on, through the device alone.
 *
 *     hostfacts ENCLAVE      which returns 0xfedcba9876543210
 *
 * Writes "host NAME: VALUE" for each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "penglai-enclave.h"

static struct elf_args elf;
static int device;

static void tell(const char *name, long value)
{
    printf("host %s: %ld\n", name, value);
}

static int io(unsigned int request, struct user_param *param)
{
    int result = ioctl(device, request, param);
    return result < 0 ? -errno : result;
}

static struct user_param make(const char *name, int name_bytes)
{
    struct user_param param = {.type = 0, .elf_ptr = (unsigned long)elf.ptr, .elf_size = (long)elf.size};
    param.stack_size = 65536;
    memcpy(param.name, name, name_bytes);
    if (io(0x8070a400, &param))
        param.eid = 0;
    return param;
}

static long get(unsigned int request, int key, int flags)
{
    struct {
        int key;
        unsigned long size;
        int flags;
    } param = {key, 4096, flags};
    return ioctl(device, request, &param);
}

static int attest(unsigned long eid)
{
    struct attest_param param = {.eid = (int)eid, .nonce = 5};
    return ioctl(device, 0x8158a402, &param) < 0 ? -errno : 0;
}

int main(int count, char **words)
{
    device = open("/dev/penglai_enclave_dev", O_RDWR);
    if (device < 0 || count != 2)
        return 2;
    elf_args_init(&elf, words[1]);

    struct user_param one = make("one", 4);
    tell("eid", one.eid > 0);
    tell("attest fresh", attest(one.eid));
    tell("run", io(0x8070a401, &one));
    tell("value", one.retval == 0xfedcba9876543210UL);
    tell("run ended", io(0x8070a401, &one));
    tell("stop ended", io(0x8070a403, &one));
    tell("resume ended", io(0x8070a404, &one));
    tell("destroy ended", io(0x4070a405, &one));
    tell("attest ended", attest(one.eid));

    struct user_param two = make("two", 4);
    tell("destroy fresh", io(0x4070a405, &two));
    struct user_param full = make("sixteen bytes 16", 16);
    tell("name without NUL", io(0x8070a401, &full));
    struct user_param same = make("same", 5), again = make("same", 5);
    tell("equal names", io(0x8070a401, &same) | io(0x8070a401, &again));
    tell("shared memory id", get(0x8018a410, 77, 0777) > 0);
    tell("relay pages id", get(0x8018a414, 77, 0777) > 0);
    struct user_param bad = {.elf_ptr = (unsigned long)elf.ptr, .elf_size = (long)elf.size};
    bad.stack_size = 65536;
    bad.shmid = 0;
    bad.schrodinger_id = 0;
    tell("no shared memory", io(0x8070a400, &bad));
    struct user_param stray = {.elf_ptr = (unsigned long)elf.ptr, .elf_size = (long)elf.size};
    stray.stack_size = 65536;
    stray.shmid = 0x5a5a5a5a;
    tell("stray id", io(0x8070a400, &stray));
    close(device);
    device = open("/dev/penglai_enclave_dev", O_RDWR);
    tell("another file", io(0x8070a401, &bad));
    return 0;
}
