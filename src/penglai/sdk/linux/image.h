/* What is packed: penglai.sdk.packing lays out the same structures.  Every pointer is an address in the enclave. */
#ifndef PENGLAI_LINUX_IMAGE_H
#define PENGLAI_LINUX_IMAGE_H

#include <stdint.h>

#define LINUX_IMAGE 0x900000000UL
#define LINUX_MAGIC 0x31786e696c676e70UL

/* A file or directory.  Its data is in the image, and only read, until somebody writes to it. */
struct node {
    uint32_t mode, links;
    uint64_t number, size, seconds, nanoseconds;
    uint64_t read_seconds, read_nanoseconds; /* when it was read, as far as somebody has said so */
    char *data; /* of a link: where it leads to */
    uint64_t room; /* bytes that can be written; 0: the data is the image's */
    struct entry *first; /* of a directory */
    struct node *parent;
    uint64_t uses; /* how often it is open */
    uint64_t device;
    uint64_t shared; /* it is mapped for writing: its data stays where it is */
    uint64_t holds; /* a directory that was removed keeps the one it was in */
    uint64_t
        hosts; /* it lies with the host, or with the file server (PROTECTED), from a mount point down; its data is
                     * here while it is open */
};

/* A name in a directory. */
struct entry {
    struct entry *next;
    struct node *node;
    char *name;
    uint64_t length, cookie; /* cookie: in a directory, from 3 on, ascending */
};

/* Memory of the program that is there from the beginning.  A node: mapped from that file, at this offset. */
struct linux_segment {
    uint64_t start, end, protection;
    struct node *node;
    uint64_t offset;
};

#define PROTECTED 2

struct linux_image {
    uint64_t magic, entry, program_entry, headers, header_count, base;
    uint64_t argument_count, environment_count;
    char **arguments, **environment;
    char *path; /* of the program */
    struct node *root, *directory;
    uint64_t segment_count;
    struct linux_segment *segments;
    uint64_t nodes; /* number of the next node */
    uint64_t memory_limit; /* bytes that the program can have; 0: as the enclave can */
    unsigned char file_server[32]; /* measurement of who keeps protected directories */
};

#endif
