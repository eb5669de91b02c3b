/*
 * The server "psa_server": protected storage as PSA has it.  Regions are their callers': of what is in them, the table
 * is copied once, and each piece is checked to lie in the region.
 */
#include <string.h>
#include <unistd.h>
#include "../lib/psaserver.h"
#include "eapp.h"
#include "objects.h"

#define ALL_FLAGS                                                        \
    (PSA_STORAGE_FLAG_WRITE_ONCE | PSA_STORAGE_FLAG_NO_CONFIDENTIALITY | \
     PSA_STORAGE_FLAG_NO_REPLAY_PROTECTION)
#define MOST_DESCRIPTORS 64

struct request {
    char *region;
    uint64_t in_count, out_count, out_table;
    struct psa_piece ins[PSA_MOST_PIECES], outs[PSA_MOST_PIECES];
};

static struct object object;

/* ---- what is in the region ---- */

static int take_table(const char *region, uint64_t size, uint64_t offset, uint64_t count,
                      struct psa_piece *pieces)
{
    if (count > PSA_MOST_PIECES || offset > size || count * sizeof *pieces > size - offset)
        return -1;
    memcpy(pieces, region + offset, count * sizeof *pieces);
    for (uint64_t i = 0; i < count; i++)
        if (pieces[i].offset > size || pieces[i].length > size - pieces[i].offset)
            return -1;
    return 0;
}

static int take_request(char *region, uint64_t size, struct request *request)
{
    struct psa_request head;
    if (size < sizeof head)
        return -1;
    memcpy(&head, region, sizeof head);
    *request = (struct request){region, head.in_count, head.out_count, head.out_table, {{0}}, {{0}}};
    return take_table(region, size, head.in_table, head.in_count, request->ins) ||
                   take_table(region, size, head.out_table, head.out_count, request->outs)
               ? -1
               : 0;
}

static int has(const struct request *request, uint64_t ins, uint64_t outs)
{
    return request->in_count == ins && request->out_count == outs;
}

/* The number that piece i is; 0 or -1 if it has another size. */
static int take_number(const struct request *request, int i, void *number, uint64_t size)
{
    if (request->ins[i].length != size)
        return -1;
    memcpy(number, request->region + request->ins[i].offset, size);
    return 0;
}

/* Answers with bytes in the only piece that there is for them, and says how many they are. */
static void give(struct request *request, const void *data, uint64_t length)
{
    memcpy(request->region + request->outs[0].offset, data, length);
    request->outs[0].length = length;
    memcpy(request->region + request->out_table, request->outs, sizeof *request->outs);
}

/* ---- operations ---- */

/* The object of the first piece, as it is stored. */
static psa_status_t find(const struct request *request, uint64_t *uid)
{
    if (take_number(request, 0, uid, sizeof *uid))
        return PSA_ERROR_PROGRAMMER_ERROR;
    return *uid ? object_load(*uid, &object) : PSA_ERROR_INVALID_ARGUMENT;
}

static psa_status_t set(const struct request *request)
{
    uint64_t uid;
    uint32_t flags;
    if (!has(request, 3, 0) || take_number(request, 2, &flags, sizeof flags))
        return PSA_ERROR_PROGRAMMER_ERROR;
    psa_status_t status = find(request, &uid);
    if (status == PSA_SUCCESS && object.flags & PSA_STORAGE_FLAG_WRITE_ONCE)
        return PSA_ERROR_NOT_PERMITTED;
    if (status != PSA_SUCCESS && status != PSA_ERROR_DOES_NOT_EXIST)
        return status;
    if (flags & ~ALL_FLAGS)
        return PSA_ERROR_NOT_SUPPORTED;
    if (request->ins[1].length > OBJECT_SIZE)
        return PSA_ERROR_INSUFFICIENT_STORAGE;
    object.flags = flags;
    object.size = (uint32_t)request->ins[1].length;
    memcpy(object.data, request->region + request->ins[1].offset, object.size);
    return object_store(uid, &object);
}

static psa_status_t get(struct request *request)
{
    uint64_t uid, offset;
    if (!has(request, 2, 1) || take_number(request, 1, &offset, sizeof offset))
        return PSA_ERROR_PROGRAMMER_ERROR;
    psa_status_t status = find(request, &uid);
    if (status != PSA_SUCCESS)
        return status;
    if (offset > object.size)
        return PSA_ERROR_INVALID_ARGUMENT;
    uint64_t there = object.size - offset, wanted = request->outs[0].length;
    give(request, object.data + offset, there < wanted ? there : wanted);
    return PSA_SUCCESS;
}

static psa_status_t get_info(struct request *request)
{
    uint64_t uid;
    if (!has(request, 1, 1) || request->outs[0].length != sizeof(struct psa_storage_info_t))
        return PSA_ERROR_PROGRAMMER_ERROR;
    psa_status_t status = find(request, &uid);
    if (status != PSA_SUCCESS)
        return status;
    struct psa_storage_info_t info;
    memset(&info, 0, sizeof info);
    info.capacity = info.size = object.size;
    info.flags = object.flags;
    give(request, &info, sizeof info);
    return PSA_SUCCESS;
}

static psa_status_t remove_object(const struct request *request)
{
    uint64_t uid;
    if (!has(request, 1, 0))
        return PSA_ERROR_PROGRAMMER_ERROR;
    psa_status_t status = find(request, &uid);
    if (status != PSA_SUCCESS)
        return status;
    return object.flags & PSA_STORAGE_FLAG_WRITE_ONCE ? PSA_ERROR_NOT_PERMITTED : object_remove(uid);
}

static psa_status_t get_support(struct request *request)
{
    uint32_t none = 0;
    if (!has(request, 0, 1) || request->outs[0].length != sizeof none)
        return PSA_ERROR_PROGRAMMER_ERROR;
    give(request, &none, sizeof none);
    return PSA_SUCCESS;
}

static psa_status_t serve(unsigned long operation, struct request *request)
{
    switch (operation) {
    case PSA_SET:
        return set(request);
    case PSA_GET:
        return get(request);
    case PSA_GET_INFO:
        return get_info(request);
    case PSA_REMOVE:
        return remove_object(request);
    case PSA_GET_SUPPORT:
        return get_support(request);
    default:
        return PSA_ERROR_NOT_SUPPORTED;
    }
}

/* Of a caller that was destroyed while it waited, files may be open. */
static void close_all(void)
{
    for (int descriptor = STDERR_FILENO + 1; descriptor < MOST_DESCRIPTORS; descriptor++)
        close(descriptor);
}

int EAPP_ENTRY main(void)
{
    static int is_at_work;
    struct request request;
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (is_at_work)
        close_all();
    is_at_work = 1;
    psa_status_t status = args[11] && !take_request((char *)args[11], args[12], &request)
                              ? serve(args[10], &request)
                              : PSA_ERROR_PROGRAMMER_ERROR;
    is_at_work = 0;
    struct call_enclave_arg_t answer = {.resp_val = (unsigned long)(long)status};
    SERVER_RETURN(&answer);
}
