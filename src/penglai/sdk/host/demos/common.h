/* What the demos have in common: arguments, errors, and running an enclave to its end. */
#ifndef PENGLAI_DEMOS_COMMON_H
#define PENGLAI_DEMOS_COMMON_H

#include "penglai-enclave.h"

#define EXIT_USAGE 2

/* Prints how to use the program; returns EXIT_USAGE. */
int usage(const char *arguments);

/* Prints "program: what: reason", with the reason that errno gives; returns EXIT_FAILURE. */
int failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The number in a text, from 1 to most; 0 if there is no such number. */
int parse_count(const char *text, int most);

/* Reads an enclave program; -1, with a message, if there is none. */
int load_program(struct elf_args *elf, const char *file);

/* Opens the device and creates an enclave of that kind and name; -1, with a message, if that fails. */
int create_enclave(struct PLenclave *enclave, struct elf_args *elf, int type, const char *name);

/*
 * Runs an enclave until it ends, and says how.  It gets a page with the numbers 1 to 512 when it starts,
 * and another one whenever it gives its page back.  Returns EXIT_SUCCESS or EXIT_FAILURE.
 */
int run_enclave(struct PLenclave *enclave);

/* Creates the enclave of a file and runs it as run_enclave() does.  Returns EXIT_SUCCESS or EXIT_FAILURE. */
int run_file(const char *file);

struct server {
    struct elf_args elf;
    struct PLenclave enclave;
};

/* Destroys a server that was created.  Returns EXIT_SUCCESS, or EXIT_FAILURE with a message. */
int end_server(struct server *server);

#endif
