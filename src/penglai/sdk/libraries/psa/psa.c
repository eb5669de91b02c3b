/* -lpsa: the caller's side of protected storage. */
#include <string.h>
#include "../../lib/psaserver.h"
#include "../../lib/runtime.h"
#include "psa/protected_storage.h"

#define NOBODY (-1UL)
#define BUSY (-2UL)

struct piece {
    const void *in;
    void *out;
    size_t length;
};

/* Where pieces lie in the region. */
struct layout {
    struct psa_request head;
    struct psa_piece pieces[PSA_MOST_PIECES];
    size_t count, size;
};

static int plan(struct layout *layout, const struct piece *ins, size_t in_count, const struct piece *out)
{
    size_t outs = out != NULL;
    layout->head = (struct psa_request){.in_table = sizeof layout->head,
                                        .in_count = in_count,
                                        .out_table = sizeof layout->head + in_count * sizeof *layout->pieces,
                                        .out_count = outs};
    layout->count = in_count + outs;
    layout->size = sizeof layout->head + layout->count * sizeof *layout->pieces;
    for (size_t i = 0; i < layout->count; i++) {
        size_t length = i < in_count ? ins[i].length : out->length;
        if (length > SIZE_MAX / 2 - layout->size)
            return -1;
        layout->pieces[i] = (struct psa_piece){layout->size, length};
        layout->size += length;
    }
    layout->size = (layout->size + EAPP_PAGE_SIZE - 1) & -(size_t)EAPP_PAGE_SIZE;
    return 0;
}

static psa_status_t send(enum psa_operation operation, char **region, size_t size)
{
    struct call_enclave_arg_t arg = {
        .req_arg = operation, .req_vaddr = (unsigned long)*region, .req_size = size};
    unsigned long server = acquire_enclave(PSA_SERVER), result = NOBODY;
    if (server != NOBODY)
        while ((result = call_enclave(server, &arg)) == BUSY)
            eapp_yield();
    if (result)
        return PSA_ERROR_GENERIC_ERROR;
    *region = (char *)arg.req_vaddr;
    return *region ? (psa_status_t)arg.resp_val : PSA_ERROR_GENERIC_ERROR;
}

/* Copies what came back, and says how much it is. */
static psa_status_t take(const char *region, const struct layout *layout, struct piece *out)
{
    struct psa_piece answer;
    memcpy(&answer, region + layout->head.out_table, sizeof answer);
    if (answer.length > out->length)
        return PSA_ERROR_GENERIC_ERROR;
    out->length = answer.length;
    memcpy(out->out, region + layout->pieces[layout->count - 1].offset, out->length);
    return PSA_SUCCESS;
}

static psa_status_t call(enum psa_operation operation, const struct piece *ins, size_t in_count,
                         struct piece *out)
{
    struct layout layout;
    if (plan(&layout, ins, in_count, out))
        return PSA_ERROR_INVALID_ARGUMENT;
    char *region = eapp_mmap(NULL, layout.size);
    if (region == (char *)NOBODY)
        return PSA_ERROR_GENERIC_ERROR;
    memcpy(region, &layout.head, sizeof layout.head);
    memcpy(region + sizeof layout.head, layout.pieces, layout.count * sizeof *layout.pieces);
    for (size_t i = 0; i < in_count; i++)
        if (ins[i].length)
            memcpy(region + layout.pieces[i].offset, ins[i].in, ins[i].length);
    psa_status_t status = send(operation, &region, layout.size);
    if (status == PSA_SUCCESS && out)
        status = take(region, &layout, out);
    if (region)
        eapp_unmap(region, layout.size);
    return status;
}

psa_status_t psa_ps_set(psa_storage_uid_t uid, size_t data_length, const void *p_data,
                        psa_storage_create_flags_t create_flags)
{
    struct piece ins[] = {
        {&uid, NULL, sizeof uid}, {p_data, NULL, data_length}, {&create_flags, NULL, sizeof create_flags}};
    return !p_data && data_length ? PSA_ERROR_INVALID_ARGUMENT : call(PSA_SET, ins, 3, NULL);
}

psa_status_t psa_ps_get(psa_storage_uid_t uid, size_t data_offset, size_t data_size, void *p_data,
                        size_t *p_data_length)
{
    uint64_t offset = data_offset;
    struct piece ins[] = {{&uid, NULL, sizeof uid}, {&offset, NULL, sizeof offset}};
    struct piece out = {NULL, p_data, data_size};
    if (!p_data_length || (!p_data && data_size))
        return PSA_ERROR_INVALID_ARGUMENT;
    psa_status_t status = call(PSA_GET, ins, 2, &out);
    if (status == PSA_SUCCESS)
        *p_data_length = out.length;
    return status;
}

psa_status_t psa_ps_get_info(psa_storage_uid_t uid, struct psa_storage_info_t *p_info)
{
    struct piece in = {&uid, NULL, sizeof uid}, out = {NULL, p_info, sizeof *p_info};
    if (!p_info)
        return PSA_ERROR_INVALID_ARGUMENT;
    psa_status_t status = call(PSA_GET_INFO, &in, 1, &out);
    return status == PSA_SUCCESS && out.length != sizeof *p_info ? PSA_ERROR_GENERIC_ERROR : status;
}

psa_status_t psa_ps_remove(psa_storage_uid_t uid)
{
    struct piece in = {&uid, NULL, sizeof uid};
    return call(PSA_REMOVE, &in, 1, NULL);
}

psa_status_t psa_ps_create(psa_storage_uid_t uid, size_t capacity, psa_storage_create_flags_t create_flags)
{
    (void)uid;
    (void)capacity;
    (void)create_flags;
    return PSA_ERROR_NOT_SUPPORTED;
}

psa_status_t psa_ps_set_extended(psa_storage_uid_t uid, size_t data_offset, size_t data_length,
                                 const void *p_data)
{
    (void)uid;
    (void)data_offset;
    (void)data_length;
    (void)p_data;
    return PSA_ERROR_NOT_SUPPORTED;
}

uint32_t psa_ps_get_support(void)
{
    uint32_t support = 0;
    struct piece out = {NULL, &support, sizeof support};
    return call(PSA_GET_SUPPORT, NULL, 0, &out) == PSA_SUCCESS ? support : 0;
}
