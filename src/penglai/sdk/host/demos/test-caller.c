/*
 * Creates servers, runs an enclave that calls them by their names, and destroys the servers.
 *
 *     ./test-caller caller server server1
 *
 * The first server's name is "test-server", the next ones' are "test-server1", "test-server2", ...
 */
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

#define MOST_SERVERS 16

static int start_server(struct server *server, const char *file, int number)
{
    char name[32] = "test-server";
    if (number)
        snprintf(name, sizeof name, "test-server%d", number);
    if (load_program(&server->elf, file))
        return -1;
    if (create_enclave(&server->enclave, &server->elf, SERVER_ENCLAVE, name)) {
        elf_args_destroy(&server->elf);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct server servers[MOST_SERVERS];
    int count = argc - 2, started = 0, status = EXIT_FAILURE;
    if (count < 1 || count > MOST_SERVERS)
        return usage("CALLER SERVER [SERVER1 ...]   (at most 16 servers)");
    while (started < count && !start_server(&servers[started], argv[started + 2], started))
        started++;
    if (started == count)
        status = run_file(argv[1]);
    while (started--)
        if (end_server(&servers[started]) != EXIT_SUCCESS)
            status = EXIT_FAILURE;
    return status;
}
