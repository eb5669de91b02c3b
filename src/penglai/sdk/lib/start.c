/* From the entry to main: the C library is started once, a server's main once for each call. */
#include <elf.h>
#include <stdlib.h>
#include "runtime.h"

unsigned long *eapp_entry_registers;
hidden void *eapp_thread_pointer;
hidden unsigned long eapp_value;
hidden int eapp_has_value;

static int exiting;

extern int main(int, char **, char **);
extern int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                             void (*fini)(void), void (*rtld_fini)(void));
hidden extern char eapp_handler[];

/* The linker script's; each is a number, given as an address. */
hidden extern char eapp_image_start[], eapp_image_end[], eapp_eh_frame_hdr[], eapp_eh_frame_hdr_size[];
hidden extern char eapp_tls_start[], eapp_tls_file_size[], eapp_tls_size[], eapp_tls_align[];

#define AUX_ENTRIES 8

/*
 * What a C library finds on its stack when Linux starts a program.  It keeps pointers into this, and the
 * stack is a server's anew for each call, so it does not lie there.
 */
static struct {
    char *argv[2];
    char *envp[1];
    Elf64_auxv_t aux[AUX_ENTRIES];
} initial;

static Elf64_Phdr headers[3];
static unsigned char seed[16];
static char program_name[] = "enclave";

static Elf64_Phdr header(unsigned type, char *start, unsigned long size)
{
    return (Elf64_Phdr){.p_type = type, .p_flags = PF_R, .p_vaddr = (unsigned long)start,
                        .p_filesz = size, .p_memsz = size, .p_align = 1};
}

static void describe_image(void)
{
    headers[0] = header(PT_LOAD, eapp_image_start, (unsigned long)(eapp_image_end - eapp_image_start));
    headers[1] = header(PT_GNU_EH_FRAME, eapp_eh_frame_hdr, (unsigned long)eapp_eh_frame_hdr_size);
    headers[2] = header(PT_TLS, eapp_tls_start, (unsigned long)eapp_tls_file_size);
    headers[2].p_memsz = (unsigned long)eapp_tls_size;
    headers[2].p_align = (unsigned long)eapp_tls_align ? (unsigned long)eapp_tls_align : 1;
}

static void set_aux(int index, unsigned long type, unsigned long value)
{
    initial.aux[index] = (Elf64_auxv_t){.a_type = type, .a_un = {.a_val = value}};
}

static void describe_system(void)
{
    initial.argv[0] = program_name;
    set_aux(0, AT_PAGESZ, EAPP_PAGE_SIZE);
    set_aux(1, AT_PHDR, (unsigned long)headers);
    set_aux(2, AT_PHNUM, sizeof headers / sizeof headers[0]);
    set_aux(3, AT_PHENT, sizeof headers[0]);
    set_aux(4, AT_RANDOM, (unsigned long)seed);
    set_aux(5, AT_HWCAP, 0x112d); /* imafdc */
    set_aux(6, AT_EXECFN, (unsigned long)program_name);
}

static int first_main(int count, char **arguments, char **environment)
{
    __asm__ volatile("mv %0, tp" : "=r"(eapp_thread_pointer));
    return main(count, arguments, environment);
}

hidden _Noreturn void eapp_begin(unsigned long *registers)
{
    eapp_entry_registers = registers;
    if (eapp_thread_pointer)
        exit(main(1, initial.argv, initial.envp));
    eapp_ecall(EAPP_ECALL_SET_HANDLER, (unsigned long)eapp_handler, 0, 0);
    if (eapp_random(seed, sizeof seed))
        eapp_end(255);
    describe_image();
    describe_system();
    __libc_start_main(first_main, 1, initial.argv, 0, 0, 0);
    __builtin_unreachable();
}

void eapp_end(unsigned long value)
{
    for (;;)
        eapp_ecall(EAPP_ECALL_EXIT, value, 0, 0);
}

void eapp_exit(unsigned long value)
{
    eapp_value = value;
    eapp_has_value = 1;
    if (exiting++)
        eapp_end(value); /* out of an exit handler */
    exit(0);
}
