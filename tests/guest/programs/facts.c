/*
 * One fact on penglai.ko, by the C host library.
 *
 *     facts [-s NAME=SERVER]... [-m BYTES] [-r BYTES] [-d] [-t NAME=ENCLAVE] CLIENT
 *
 * Creates the servers and the client, which all see the shared memory of -m, and runs the client with relay pages
 * of -r, again for as long as it wants.  -d names the shared memory for sectors before.  -t then runs another one,
 * with relay pages of size 0.  The last line is the value of the last one, or "dies".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "penglai-enclave.h"

#define MAX_SERVERS 4

static int shm, relay;
static unsigned long shm_size, relay_size;

static void need(int good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(2);
}

static void create(struct PLenclave *enclave, const char *name, const char *file, int type)
{
    struct elf_args *elf = calloc(1, sizeof *elf);
    struct enclave_args args;
    PLenclave_init(enclave);
    elf_args_init(elf, (char *)file);
    need(elf_valid(elf), file);
    enclave_args_init(&args);
    snprintf(args.name, sizeof args.name, "%s", name);
    args.type = type;
    if (shm_size) {
        args.shmid = shm;
        args.shm_size = shm_size;
    }
    need(!PLenclave_create(enclave, elf, &args), "create");
}

static void create_named(struct PLenclave *enclave, char *text, int type)
{
    char *file = strchr(text, '=');
    need(file != NULL, text);
    *file++ = 0;
    create(enclave, text, file, type);
}

static int run(struct PLenclave *enclave, unsigned long size)
{
    int result;
    if (relay)
        PLenclave_set_mem_arg(enclave, relay, 0, size);
    do {
        result = PLenclave_run(enclave);
        PLenclave_set_rerun_arg(enclave, RETURN_USER_RELAY_PAGE);
    } while (result == RETURN_USER_RELAY_PAGE);
    return result;
}

int main(int count, char **words)
{
    struct PLenclave servers[MAX_SERVERS], client, next;
    char *names[MAX_SERVERS], *then = NULL;
    int option, made = 0, disk = 0, result;
    while ((option = getopt(count, words, "s:m:r:t:d")) >= 0) {
        if (option == 's' && made < MAX_SERVERS)
            names[made++] = optarg;
        else if (option == 'm')
            shm_size = strtoul(optarg, NULL, 0);
        else if (option == 'r')
            relay_size = strtoul(optarg, NULL, 0);
        else if (option == 't')
            then = optarg;
        else if (option == 'd')
            disk = 1;
        else
            return 2;
    }
    if (shm_size)
        need((shm = PLenclave_shmget(shm_size)) > 0, "shmget");
    if (relay_size)
        need((relay = PLenclave_schrodinger_get(relay_size)) > 0, "relay pages");
    if (disk)
        need(!PLenclave_fs_persistency_init(shm), "sectors");
    for (int i = 0; i < made; i++)
        create_named(&servers[i], names[i], SERVER_ENCLAVE);
    create(&client, "client", words[optind], NORMAL_ENCLAVE);
    struct PLenclave *last = &client;
    client.user_param.retval = 4711;
    result = run(&client, relay_size);
    if (then) {
        create_named(&next, then, NORMAL_ENCLAVE);
        last = &next;
        result = run(&next, 0);
    }
    if (!result)
        printf("\ngot %lu\n", last->user_param.retval);
    else if (errno == EFAULT && last->user_param.retval == (then ? 0 : 4711))
        printf("\ngot dies\n");
    else
        printf("\ngot result %d errno %d retval %lu\n", result, errno, last->user_param.retval);
    return 0;
}
