/*
 * Has the monitor attest an enclave, and prints the report's hashes, nonce and device key.
 *
 *     ./attest -o report.bin hello-world 0x1234
 *
 * Who verifies the report chooses the nonce, and so knows that the report is fresh; without one it is a
 * random number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
#include "common.h"

struct request {
    const char *file;
    const char *output; /* NULL: the report is only printed */
    unsigned long nonce;
};

static int parse_nonce(unsigned long *nonce, const char *text)
{
    char *end;
    errno = 0;
    *nonce = strtoul(text, &end, 0);
    return *text < '0' || *text > '9' || *end || errno ? -1 : 0;
}

static int parse(struct request *request, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "o:")) != -1) {
        if (option != 'o')
            return -1;
        request->output = optarg;
    }
    int left = argc - optind;
    if (left < 1 || left > 2)
        return -1;
    request->file = argv[optind];
    if (left == 2)
        return parse_nonce(&request->nonce, argv[optind + 1]);
    return getrandom(&request->nonce, sizeof request->nonce, 0) == sizeof request->nonce ? 0 : -1;
}

static void print_hex(const char *what, const unsigned char *bytes, size_t size)
{
    printf("%s", what);
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
    putchar('\n');
}

static void print_report(const struct report_t *report)
{
    print_hex("enclave hash: ", report->enclave.hash, sizeof report->enclave.hash);
    printf("nonce:        0x%lx\n", report->enclave.nonce);
    print_hex("monitor hash: ", report->sm.hash, sizeof report->sm.hash);
    print_hex("device key:   ", report->dev_pub_key, sizeof report->dev_pub_key);
}

static int write_report(const struct report_t *report, const char *file)
{
    FILE *stream = fopen(file, "wb");
    if (!stream)
        return failed("cannot write %s", file);
    size_t written = fwrite(report, sizeof *report, 1, stream);
    if (fclose(stream) || written != 1)
        return failed("cannot write %s", file);
    return EXIT_SUCCESS;
}

static int attest(struct PLenclave *enclave, const struct request *request)
{
    const struct report_t *report = &enclave->attest_param.report;
    if (PLenclave_attest(enclave, request->nonce))
        return failed("cannot attest enclave %d", enclave->eid);
    if (report->enclave.nonce != request->nonce) {
        errno = EBADMSG;
        return failed("the report has another nonce, 0x%lx", report->enclave.nonce);
    }
    print_report(report);
    return request->output ? write_report(report, request->output) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct request request = {0};
    struct elf_args elf;
    struct PLenclave enclave;
    int status = EXIT_FAILURE;
    if (parse(&request, argc, argv))
        return usage("[-o FILE] EAPP [NONCE]");
    if (load_program(&elf, request.file))
        return EXIT_FAILURE;
    if (!create_enclave(&enclave, &elf, NORMAL_ENCLAVE, "")) {
        status = attest(&enclave, &request);
        PLenclave_destruct(&enclave); /* it has not run: this destroys it */
    }
    elf_args_destroy(&elf);
    return status;
}
