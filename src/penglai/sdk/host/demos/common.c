#define _GNU_SOURCE /* program_invocation_short_name */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"

#define PAGE_SIZE 4096

int usage(const char *arguments)
{
    fprintf(stderr, "usage: %s %s\n", program_invocation_short_name, arguments);
    return EXIT_USAGE;
}

int failed(const char *format, ...)
{
    char what[200];
    int reason = errno;
    va_list values;
    va_start(values, format);
    vsnprintf(what, sizeof what, format, values);
    va_end(values);
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(reason));
    return EXIT_FAILURE;
}

int parse_count(const char *text, int most)
{
    char *end;
    long count = strtol(text, &end, 10);
    return end == text || *end || count < 1 || count > most ? 0 : (int)count;
}

int load_program(struct elf_args *elf, const char *file)
{
    if (elf_args_init(elf, file)) {
        failed("cannot read %s", file);
        return -1;
    }
    if (!elf_valid(elf)) {
        errno = ENOEXEC;
        failed("%s is no enclave program", file);
        elf_args_destroy(elf);
        return -1;
    }
    return 0;
}

int create_enclave(struct PLenclave *enclave, struct elf_args *elf, int type, const char *name)
{
    struct enclave_args params;
    enclave_args_init(&params);
    params.type = type;
    if (strlen(name) >= sizeof params.name) {
        errno = ENAMETOOLONG;
        failed("cannot name an enclave %s", name);
        return -1;
    }
    strcpy(params.name, name);
    if (PLenclave_init(enclave)) {
        failed("cannot open " PENGLAI_DEVICE);
        return -1;
    }
    if (PLenclave_create(enclave, elf, &params)) {
        failed("cannot create an enclave");
        PLenclave_destruct(enclave);
        return -1;
    }
    return 0;
}

/* Writes the numbers on a page, and lets go of it: as long as the host has it mapped, no enclave gets it. */
static int fill(int id)
{
    unsigned long *numbers = PLenclave_schrodinger_at(id, NULL);
    if (!numbers)
        return -1;
    for (unsigned long i = 0; i < PAGE_SIZE / sizeof *numbers; i++)
        numbers[i] = i + 1;
    return PLenclave_schrodinger_dt(id, numbers);
}

/* One run with a new page; the result of the run, -1 also if there is no page. */
static int run_with_page(struct PLenclave *enclave)
{
    int page = PLenclave_schrodinger_get(PAGE_SIZE);
    if (page < 0)
        return -1;
    PLenclave_set_mem_arg(enclave, page, 0, PAGE_SIZE);
    int result = fill(page) ? -1 : PLenclave_run(enclave);
    int reason = errno;
    PLenclave_schrodinger_ctl(page); /* its memory stays as long as the enclave has it */
    errno = reason;
    return result;
}

int run_enclave(struct PLenclave *enclave)
{
    int result = run_with_page(enclave);
    while (result == RETURN_USER_RELAY_PAGE) {
        PLenclave_set_rerun_arg(enclave, RETURN_USER_RELAY_PAGE);
        result = run_with_page(enclave);
    }
    if (result < 0)
        return failed("enclave %d did not run to its end", enclave->eid);
    printf("enclave %d exited with value %lu\n", enclave->eid, enclave->user_param.retval);
    return EXIT_SUCCESS;
}

int run_file(const char *file)
{
    struct elf_args elf;
    struct PLenclave enclave;
    int status = EXIT_FAILURE;
    if (load_program(&elf, file))
        return status;
    if (!create_enclave(&enclave, &elf, NORMAL_ENCLAVE, "")) {
        status = run_enclave(&enclave);
        PLenclave_destruct(&enclave);
    }
    elf_args_destroy(&elf);
    return status;
}

int end_server(struct server *server)
{
    int status = EXIT_SUCCESS;
    if (PLenclave_destroy(&server->enclave))
        status = failed("cannot destroy server %d", server->enclave.eid);
    PLenclave_destruct(&server->enclave);
    elf_args_destroy(&server->elf);
    return status;
}
