/*
 * The protocol of "psa_server": req_arg has the operation, and a region a table of pieces and the pieces themselves.
 * Offsets count from the start of the region.  The status is resp_val.
 */
#ifndef PENGLAI_PSASERVER_H
#define PENGLAI_PSASERVER_H

#include <stdint.h>

#define PSA_SERVER "psa_server"
#define PSA_MOST_PIECES 4

enum psa_operation {
    PSA_SET = 0,         /* in: uid, data, flags */
    PSA_GET = 1, /* in: uid, offset; out: data, whose length is what is wanted and then what there is */
    PSA_GET_INFO = 2, /* in: uid; out: struct psa_storage_info_t */
    PSA_REMOVE = 3, /* in: uid */
    PSA_GET_SUPPORT = 6, /* out: 32 bits */
};

struct psa_piece {
    uint64_t offset, length;
};

struct psa_request {
    uint64_t unused;
    uint64_t in_table, in_count, out_table, out_count;
};

#endif
