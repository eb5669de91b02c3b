/*
 * Runs an enclave that works with files, with the servers that keep them.
 *
 *     ./fshost portable filesystem persistency
 *     ./fshost portable psa_server filesystem persistency
 *
 * Each server has its file's name, and the last one keeps blocks: it gets the shared memory through which sectors
 * pass to the disk, which is the file /mnt/persistencty_file.
 */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"

#define MOST_SERVERS 4
#define SECTOR_MEMORY (128UL << 10)

static int start_server(struct server *server, const char *file, int shmid)
{
    struct enclave_args args;
    char *copy = strdup(file);
    if (!copy || load_program(&server->elf, file))
        return -1;
    enclave_args_init(&args);
    snprintf(args.name, sizeof args.name, "%s", basename(copy));
    free(copy);
    args.type = SERVER_ENCLAVE;
    if (shmid) {
        args.shmid = shmid;
        args.shm_size = SECTOR_MEMORY;
    }
    PLenclave_init(&server->enclave);
    if (PLenclave_create(&server->enclave, &server->elf, &args)) {
        failed("cannot create the server %s", args.name);
        elf_args_destroy(&server->elf);
        return -1;
    }
    return 0;
}

/* The id of shared memory for sectors; 0, with a message, if there can be none. */
static int name_memory(void)
{
    int shmid = PLenclave_shmget(SECTOR_MEMORY);
    if (shmid > 0 && !PLenclave_fs_persistency_init(shmid))
        return shmid;
    failed("cannot use a disk");
    return 0;
}

int main(int argc, char **argv)
{
    static struct server servers[MOST_SERVERS];
    int count = argc - 2, started = 0, status = EXIT_FAILURE, shmid;
    if (count < 1 || count > MOST_SERVERS)
        return usage("CLIENT SERVER... BLOCK-SERVER   (at most 4 servers)");
    if (!(shmid = name_memory()))
        return status;
    while (started < count &&
           !start_server(&servers[started], argv[started + 2], started == count - 1 ? shmid : 0))
        started++;
    if (started == count)
        status = run_file(argv[1]);
    while (started--)
        if (end_server(&servers[started]) != EXIT_SUCCESS)
            status = EXIT_FAILURE;
    PLenclave_shmctl(shmid);
    return status;
}
