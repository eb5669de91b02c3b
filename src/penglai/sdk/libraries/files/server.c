/*
 * -lfiles: the caller's side of the protocol of file servers.
 *
 * It answers system calls of the C library, so nothing here makes one.  Of what a server answers, everything is
 * checked that this program's memory depends on.
 */
#include <errno.h>
#include <string.h>
#include "client.h"
#include "files.h"

#define NOBODY (-1UL)
#define BUSY (-2UL)
#define LOWEST_ERRNO (-4095L)

struct region file_region = {NULL, FILES_REGION};
int file_server_knows_more;

static unsigned long server = NOBODY;
static int is_chosen; /* by its measurement */

int file_find_region(struct region *region)
{
    if (!region->start) {
        void *mapped = eapp_mmap(NULL, region->size);
        region->start = mapped == (void *)NOBODY ? NULL : mapped;
    }
    return region->start ? 0 : -ENOMEM;
}

long file_call(enum files_operation operation, struct region *region)
{
    struct call_enclave_arg_t arg = {
        .req_arg = operation, .req_vaddr = (unsigned long)region->start, .req_size = region->size};
    unsigned long result;
    while ((result = call_enclave(server, &arg)) == BUSY)
        eapp_yield();
    if (result)
        return -EIO;
    region->start = (char *)arg.req_vaddr;
    if (!region->start)
        return -EIO;
    return (long)arg.resp_val < LOWEST_ERRNO ? -EIO : (long)arg.resp_val;
}

static void greet(void)
{
    memset(file_region.start, 0, sizeof FILES_GREETING);
    file_call(OP_HELLO, &file_region);
    file_server_knows_more =
        file_region.start && !memcmp(file_region.start, FILES_GREETING, sizeof FILES_GREETING);
}

int file_find_server(void)
{
    int result = file_find_region(&file_region);
    if (result || server != NOBODY)
        return result;
    if (!is_chosen)
        server = acquire_enclave(FILES_SERVER);
    if (server == NOBODY)
        return -ENOENT; /* as where there are no files */
    greet();
    return file_find_region(&file_region);
}

int eapp_use_files(const unsigned char measurement[32])
{
    is_chosen = 1;
    server = eapp_acquire_measured(FILES_SERVER, measurement);
    if (server == NOBODY || file_find_region(&file_region))
        return -1;
    greet();
    return 0;
}

long file_ask(enum files_operation operation, const void *request, size_t size)
{
    int result = file_find_server();
    if (result)
        return result;
    memcpy(file_region.start, request, size);
    return file_call(operation, &file_region);
}

long file_errno(long result, int otherwise)
{
    return result == -1 && !file_server_knows_more ? -otherwise : result;
}
