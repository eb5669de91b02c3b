/*
 * Makes a shadow, a template that is loaded and measured once, and runs instances of it one by one.
 *
 *     ./shadow hello-world 5
 */
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

#define MOST_INSTANCES 1000

static int run_instances(const struct PLenclave *template, int count)
{
    for (int i = 0; i < count; i++) {
        struct PLenclave instance = *template; /* a run makes the struct mean the instance */
        if (run_enclave(&instance) != EXIT_SUCCESS)
            return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int destroy(struct PLenclave *template)
{
    if (PLenclave_destroy(template))
        return failed("cannot destroy shadow %d", template->eid);
    printf("shadow %d destroyed\n", template->eid);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct elf_args elf;
    struct PLenclave template;
    int count = argc > 2 ? parse_count(argv[2], MOST_INSTANCES) : 3, status = EXIT_FAILURE;
    if (argc < 2 || argc > 3 || !count)
        return usage("EAPP [INSTANCES]   (1 to 1000 instances, 3 by default)");
    if (load_program(&elf, argv[1]))
        return EXIT_FAILURE;
    if (!create_enclave(&template, &elf, SHADOW_ENCLAVE, "")) {
        printf("shadow %d created\n", template.eid);
        int ran = run_instances(&template, count);
        status = destroy(&template) || ran ? EXIT_FAILURE : EXIT_SUCCESS;
        PLenclave_destruct(&template);
    }
    elf_args_destroy(&elf);
    return status;
}
