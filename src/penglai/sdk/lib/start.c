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
#ifndef EAPP_PORTABLE
hidden extern char eapp_handler[];
#endif

/* The linker script's; each is a number, given as an address. */
hidden extern char eapp_image_start[], eapp_image_end[], eapp_eh_frame_hdr[], eapp_eh_frame_hdr_size[];
hidden extern char _start[];
hidden extern void (*const __preinit_array_start[])(void), (*const __preinit_array_end[])(void);
hidden extern char eapp_tls_start[], eapp_tls_file_size[], eapp_tls_size[], eapp_tls_align[];

#define AUX_ENTRIES 8
#define HEADERS 3
#ifdef EAPP_PORTABLE
#define HWCAP 0x1105 /* imac */
#else
#define HWCAP 0x112d /* imafdc */
#endif

/*
 * What a C library finds on its stack when Linux starts a program.  It keeps pointers into this, and the
 * stack is a server's anew for each call, so it does not lie there.
 */
static struct {
    char *argv[2];
    char *envp[1];
    Elf64_auxv_t aux[AUX_ENTRIES];
} initial;

/*
 * Where programs look for the headers that describe them: the file's own are not in memory.  __ehdr_start is
 * the name that linkers give them.
 */
hidden struct {
    Elf64_Ehdr file;
    Elf64_Phdr segments[HEADERS];
} __ehdr_start;

static unsigned char seed[16];
static char program_name[] = "enclave";

static Elf64_Phdr header(unsigned type, char *start, unsigned long size)
{
    return (Elf64_Phdr){.p_type = type,
                        .p_flags = PF_R,
                        .p_vaddr = (unsigned long)start,
                        .p_filesz = size,
                        .p_memsz = size,
                        .p_align = 1};
}

static void describe_image(void)
{
    Elf64_Phdr *headers = __ehdr_start.segments;
    headers[0] = header(PT_LOAD, eapp_image_start, (unsigned long)(eapp_image_end - eapp_image_start));
    headers[1] = header(PT_GNU_EH_FRAME, eapp_eh_frame_hdr, (unsigned long)eapp_eh_frame_hdr_size);
    headers[2] = header(PT_TLS, eapp_tls_start, (unsigned long)eapp_tls_file_size);
    headers[2].p_memsz = (unsigned long)eapp_tls_size;
    headers[2].p_align = (unsigned long)eapp_tls_align ? (unsigned long)eapp_tls_align : 1;
    __ehdr_start.file = (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_RISCV,
        .e_version = EV_CURRENT,
        .e_entry = (unsigned long)_start,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = HEADERS,
    };
}

static void set_aux(int index, unsigned long type, unsigned long value)
{
    initial.aux[index] = (Elf64_auxv_t){.a_type = type, .a_un = {.a_val = value}};
}

static void describe_system(void)
{
    initial.argv[0] = program_name;
    set_aux(0, AT_PAGESZ, EAPP_PAGE_SIZE);
    set_aux(1, AT_PHDR, (unsigned long)__ehdr_start.segments);
    set_aux(2, AT_PHNUM, HEADERS);
    set_aux(3, AT_PHENT, sizeof(Elf64_Phdr));
    set_aux(4, AT_RANDOM, (unsigned long)seed);
    set_aux(5, AT_HWCAP, HWCAP);
    set_aux(6, AT_EXECFN, (unsigned long)program_name);
}

/* The C library calls this before all constructors; it does not run .preinit_array itself. */
__attribute__((weak)) void _init(void)
{
    for (void (*const *function)(void) = __preinit_array_start; function < __preinit_array_end; function++)
        (*function)();
}

static int first_main(int count, char **arguments, char **environment)
{
    __asm__ volatile("mv %0, tp" : "=r"(eapp_thread_pointer));
    return main(count, arguments, environment);
}

#ifdef EAPP_PORTABLE
/* There are no random numbers here; these are for stack canaries only. */
static void make_weak_seed(void)
{
    unsigned long time, cycle;
    __asm__ volatile("rdtime %0\n\trdcycle %1" : "=r"(time), "=r"(cycle));
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (unsigned char)((time * 0x9e3779b97f4a7c15UL + cycle * (i + 1)) >> 4 * i);
}
#endif

hidden _Noreturn void eapp_begin(unsigned long *registers)
{
    eapp_entry_registers = registers;
    if (eapp_thread_pointer)
        exit(main(1, initial.argv, initial.envp));
#ifdef EAPP_PORTABLE
    make_weak_seed();
#else
    eapp_ecall(EAPP_ECALL_SET_HANDLER, (unsigned long)eapp_handler, 0, 0);
    if (eapp_random(seed, sizeof seed))
        eapp_end(255);
#endif
    describe_image();
    describe_system();
    __libc_start_main(first_main, 1, initial.argv, 0, 0, 0);
    __builtin_unreachable();
}

void eapp_end(unsigned long value)
{
#ifdef EAPP_PORTABLE
    eapp_console_flush();
#endif
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
