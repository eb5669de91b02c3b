"""The C library inside an enclave: what an ordinary program relies on."""

import time
from pathlib import Path

import pytest
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import Reason
from penglai.abi.ecall import EXTENSION

INCLUDES = """
#define _GNU_SOURCE
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include "eapp.h"
#include "print.h"
"""


def program(body: str, before: str = "", *flags: str) -> Path:
    return compiled(f"{INCLUDES}\n{before}\nint EAPP_ENTRY main(void)\n{{\n{body}\n}}\n", *flags)


def value(machine: penglai.Machine, body: str, before: str = "") -> int | None:
    return machine.create(program(body, before)).run(PATIENCE).value


FORMATS = [
    ("%f|%.3f|%10.2f|%-10.1f|%+f", "1.5, 3.14159, 2.0 / 3, 0.25, 1e6", (1.5, 3.14159, 2 / 3, 0.25, 1e6)),
    ("%e|%.2E|%g|%G|%g", "12345.678, 0.00012, 1e-5, 1e20, 100000.0", (12345.678, 0.00012, 1e-5, 1e20, 1e5)),
    ("%#x|%#o|%+d|% d|%*d|%-*d|%.*f", "255, 8, 5, 5, 6, 42, 6, 42, 2, 1.0", None),
    ("%hhd|%hd|%ld|%lld|%zu|%jd", "300, 70000, -1L, 1LL << 40, (size_t)7, (intmax_t)-9", None),
    ("%s|%10s|%-10s|%.2s|%c|%%", '"a", "bc", "de", "fgh", 65', None),
    ("%p|%a|%5.1f%%", "(void *)0x1234, 1.0, 99.5", None),
]
EXPECTED = {
    "%#x|%#o|%+d|% d|%*d|%-*d|%.*f": "0xff|010|+5| 5|    42|42    |1.00",
    "%hhd|%hd|%ld|%lld|%zu|%jd": "44|4464|-1|1099511627776|7|-9",
    "%s|%10s|%-10s|%.2s|%c|%%": "a|        bc|de        |fg|A|%",
    "%p|%a|%5.1f%%": "0x1234|0x1p+0| 99.5%",
}


@pytest.mark.parametrize("function", ["printf", "eapp_print"])
@pytest.mark.parametrize(("form", "arguments", "values"), FORMATS, ids=[form for form, _, _ in FORMATS])
def test_every_format_is_printed_as_in_c(machine: penglai.Machine, function, form, arguments, values):
    expected = EXPECTED[form] if values is None else form % values
    printed = program(f'return {function}("{form}", {arguments});', "", "-Wno-format")
    assert machine.create(printed).run(PATIENCE).value == len(expected)
    assert machine.console.text == expected


@pytest.mark.parametrize("function", ["printf", "eapp_print"])
def test_long_text_comes_out_whole(machine: penglai.Machine, function: str):
    body = f"""
    static char text[100001];
    for (int i = 0; i < 100000; i++) text[i] = 'a' + i % 23;
    EAPP_RETURN({function}("<%s>\\n", text));
    """
    assert value(machine, body) == 100003
    assert machine.console.text == "<" + "".join(chr(97 + i % 23) for i in range(100000)) + ">\n"


def test_both_ways_of_printing_keep_their_order(machine: penglai.Machine):
    body = 'printf("one "); eapp_print("two "); fputs("three ", stdout); eapp_print("four "); printf("five");'
    machine.create(program(f"{body} EAPP_RETURN(0);")).run(PATIENCE)
    assert machine.console.text == "one two three four five"


def test_output_with_zeros_loses_the_zeros_and_nothing_else(machine: penglai.Machine):
    body = r"""
    static char block[10000];
    for (int i = 0; i < 10000; i++) block[i] = i % 7 && i % 64 ? 'a' + i % 26 : 0;
    for (int start = 0; start < 9; start++)
        if (write(1, block + start, 9000) != 9000) return 1;
    return 0;
    """
    assert value(machine, body) == 0
    block = "".join(chr(97 + i % 26) if i % 7 and i % 64 else "\0" for i in range(10000))
    expected = "".join(block[start : start + 9000] for start in range(9)).replace("\0", "")
    assert machine.console.text == expected


def test_printf_without_its_header_is_only_a_warning(machine: penglai.Machine):
    text = '#include "eapp.h"\nint EAPP_ENTRY main(void) { printf("%d\\n", 5); return strlen("four"); }\n'
    assert machine.create(compiled(text)).run(PATIENCE).value == 4
    assert machine.console.text == "5\n"


class TestTheEnd:
    @pytest.mark.parametrize(
        ("end", "expected"),
        [
            ("return 21;", 21),
            ("return -3;", 2**64 - 3),
            ("exit(7);", 7),
            ("_exit(8);", 8),
            ("EAPP_RETURN(0x123456789abcdef0);", 0x123456789ABCDEF0),
            ("EAPP_RETURN(-1);", 2**64 - 1),
            ("abort();", 134),
            ("raise(SIGTERM);", 143),
            ("assert(1 + 1 == 3);", 134),
        ],
    )
    def test_each_end_has_its_value(self, machine: penglai.Machine, end: str, expected: int):
        assert value(machine, f"{end} return 99;") == expected

    @pytest.mark.parametrize("end", ["return 5;", "exit(5);", "EAPP_RETURN(5);"])
    def test_handlers_run_in_order_and_buffers_are_flushed(self, machine: penglai.Machine, end: str):
        before = """
        static char order[10]; static int used;
        __attribute__((constructor(101))) static void early(void) { order[used++] = 'a'; }
        __attribute__((constructor)) static void late(void) { order[used++] = 'b'; }
        __attribute__((destructor)) static void destroy(void) { printf("destructor "); }
        static void first(void) { printf("first "); }
        static void second(void) { printf("second "); }
        """
        body = f'atexit(first); atexit(second); printf("%s buffered ", order); {end}'
        assert value(machine, body, before) == 5
        assert machine.console.text == "ab buffered second first destructor "

    def test_an_exit_handler_may_have_the_last_word(self, machine: penglai.Machine):
        before = "static void last(void) { EAPP_RETURN(1UL << 40); }"
        assert value(machine, "atexit(last); return 3;", before) == 1 << 40


class TestMemory:
    def test_blocks_keep_their_content(self, machine: penglai.Machine):
        """100 MB in all, up to 24 MB at a time, in sizes from 1 byte to 1 MB."""
        body = r"""
        enum { SLOTS = 200 };
        static unsigned char *block[SLOTS]; static size_t size[SLOTS]; static unsigned char mark[SLOTS];
        unsigned long state = 88172645463325252UL, total = 0;
        for (unsigned long round = 0; total < 100000000UL; round++) {
            state ^= state << 13; state ^= state >> 7; state ^= state << 17;
            int i = state % SLOTS;
            if (block[i]) {
                if (block[i][0] != mark[i] || block[i][size[i] - 1] != mark[i]) return 1;
                if (block[i][size[i] / 2] != mark[i]) return 1;
                free(block[i]);
            }
            size[i] = 1 + (state >> 20) % (round % 4 ? 3000 : 240000);
            mark[i] = (unsigned char)(state >> 40);
            if (round % 3 == 0) {
                block[i] = calloc(1, size[i]);
                if (!block[i] || block[i][size[i] - 1]) return 2;
            } else if (!(block[i] = malloc(size[i]))) return 3;
            if ((unsigned long)block[i] % 16) return 4;
            block[i][0] = block[i][size[i] / 2] = block[i][size[i] - 1] = mark[i];
            total += size[i];
        }
        return 0;
        """
        assert value(machine, body) == 0

    def test_sixty_four_megabytes_live_at_once(self):
        body = r"""
        static char *block[1024];
        for (int i = 0; i < 1024; i++) {
            block[i] = malloc(65536);
            if (!block[i]) return 1;
            memset(block[i], i, 65536);
        }
        for (int i = 0; i < 1024; i++) {
            if (block[i][0] != (char)i || block[i][65535] != (char)i) return 2;
            free(block[i]);
        }
        return 0;
        """
        with penglai.Machine("256M") as machine:
            assert value(machine, body) == 0

    def test_growing_moves_the_content(self, machine: penglai.Machine):
        body = r"""
        char *text = NULL;
        for (size_t size = 1; size < 3000000; size = size * 3 / 2 + 1) {
            text = realloc(text, size);
            if (!text) return 1;
            text[size - 1] = (char)size;
            for (size_t old = 1; old <= size; old = old * 3 / 2 + 1)
                if (text[old - 1] != (char)old) return 2;
        }
        return 0;
        """
        assert value(machine, body) == 0

    def test_want_of_memory_is_null_and_no_end(self, machine: penglai.Machine):
        body = """
        void *volatile much = malloc(1UL << 30), *volatile huge = malloc(1UL << 60);
        if (much || huge || errno != ENOMEM) return 1;
        void *volatile little = malloc(100);
        return little ? 0 : 2;
        """
        assert value(machine, body) == 0

    def test_malloc_and_sbrk_leave_each_other_alone(self, machine: penglai.Machine):
        body = r"""
        char *heap = sbrk(0);
        for (int i = 0; i < 50; i++) {
            char *block = malloc(50000), *end = sbrk(EAPP_PAGE_SIZE);
            memset(block, 1, 50000);
            memset(end - EAPP_PAGE_SIZE, i, EAPP_PAGE_SIZE);
        }
        for (int i = 0; i < 50; i++)
            for (int j = 0; j < EAPP_PAGE_SIZE; j++)
                if (heap[i * EAPP_PAGE_SIZE + j] != i) return 1;
        return sbrk(0) == heap + 50 * EAPP_PAGE_SIZE ? 0 : 2;
        """
        assert value(machine, body) == 0

    def test_mapping_calls(self, machine: penglai.Machine):
        body = r"""
        int both = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
        char *map = mmap(NULL, 5 * 4096 - 7, both, flags, -1, 0);
        if (map == MAP_FAILED) return 1;
        memset(map, 3, 5 * 4096);
        if (mmap(map + 4096, 4096, both, flags | MAP_FIXED, -1, 0) != map + 4096) return 2;
        if (map[4096] || map[4095] != 3 || map[8192] != 3) return 3;
        if (madvise(map, 4096, MADV_DONTNEED) || map[0] || map[4095]) return 4;
        map = mremap(map, 5 * 4096, 40 * 4096, MREMAP_MAYMOVE);
        if (map == MAP_FAILED || map[8192] != 3 || map[39 * 4096]) return 5;
        if (mremap(map, 40 * 4096, 4096, 0) != map || munmap(map, 4096)) return 6;
        if (munmap(map, 4096) || !munmap(map + 1, 4096) || errno != EINVAL) return 7;
        if (mmap(NULL, 0, both, flags, -1, 0) != MAP_FAILED || errno != EINVAL) return 8;
        if (mmap(NULL, 4096, both | PROT_EXEC, flags, -1, 0) != MAP_FAILED || errno != EACCES) return 9;
        if (mmap(NULL, 4096, both, MAP_PRIVATE, 0, 0) != MAP_FAILED || errno != ENODEV) return 10;
        return 0;
        """
        assert value(machine, body) == 0


class TestFunctions:
    def test_strings_and_numbers(self, machine: penglai.Machine):
        body = r"""
        char text[40] = "the quick brown fox";
        char *rest;
        if (strcmp(strchr(text, 'q'), "quick brown fox") || strlen(text) != 19) return 1;
        if (strtol("-0x1fz", &rest, 0) != -31 || *rest != 'z') return 2;
        if (strtod("2.5e3", NULL) != 2500 || atof("-0.125") != -0.125) return 3;
        if (strcmp(strstr(text, "brown"), "brown fox") || toupper('q') != 'Q') return 4;
        if (memcmp(memmove(text + 4, text, 9), "the quick", 9)) return 5;
        if (fabs(sin(1) - 0.8414709848078965) > 1e-15 || pow(2, 0.5) != sqrt(2)) return 6;
        if (floor(-1.5) != -2 || !isnan(NAN) || fmod(7, 3) != 1 || lround(2.5) != 3) return 7;
        div_t parts = div(17, 5);
        if (parts.quot != 3 || parts.rem != 2) return 8;
        wchar_t wide[10];
        if (mbstowcs(wide, "abc", 10) != 3 || wide[2] != L'c') return 9;
        if (strcmp(strerror(ENOENT), "No such file or directory")) return 10;
        int number; char word[10];
        if (sscanf("17 words", "%d %9s", &number, word) != 2) return 11;
        if (number != 17 || strcmp(word, "words")) return 12;
        return 0;
        """
        assert value(machine, body) == 0

    def test_long_jumps(self, machine: penglai.Machine):
        before = "static jmp_buf place; static void leap(int n) { if (!n) longjmp(place, 6); leap(n - 1); }"
        assert value(machine, "int n = setjmp(place); if (!n) leap(9); return n;", before) == 6

    def test_thread_local_variables(self, machine: penglai.Machine):
        before = """
        static _Thread_local int counter = 41;
        static _Thread_local char aligned[100] __attribute__((aligned(64))) = "aligned";
        static _Thread_local long zero[20];
        """
        body = """
        counter++;
        if ((unsigned long)aligned % 64 || strcmp(aligned, "aligned") || zero[19]) return 1;
        return counter;
        """
        assert value(machine, body, before) == 42

    def test_the_time_of_day_and_waiting(self, machine: penglai.Machine):
        body = r"""
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        clock_gettime(CLOCK_MONOTONIC, &end);
        long passed = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
        EAPP_RETURN(passed >= 3000000 ? time(NULL) : 0);
        """
        earliest = int(time.time())
        now = value(machine, body)
        assert now is not None
        assert earliest <= now <= time.time()

    def test_dates(self, machine: penglai.Machine):
        body = r"""
        struct tm parts;
        time_t leap = 951782400;
        char text[40];
        gmtime_r(&leap, &parts);
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
        return strcmp(text, "2000-02-29 00:00:00") || timegm(&parts) != leap;
        """
        assert value(machine, body) == 0

    def test_random_bytes_differ(self, machine: penglai.Machine):
        body = """
        unsigned long number, other; static char much[3000000];
        if (getrandom(&number, 8, 0) != 8 || getentropy(&other, 8) || number == other) EAPP_RETURN(0);
        if (getrandom(much, sizeof much, 0) != sizeof much) EAPP_RETURN(0);
        if (!memcmp(much, much + 1500000, 64)) EAPP_RETURN(0);
        EAPP_RETURN(number);
        """
        numbers = {value(machine, body) for _ in range(2)}
        assert len(numbers) == 2
        assert 0 not in numbers


class TestSystemCalls:
    def test_what_is_not_answered_is_enosys(self, machine: penglai.Machine):
        body = r"""
        long unknown[] = {SYS_clone, SYS_execve, SYS_socket, SYS_ptrace, SYS_mount, 9999, -1, 1UL << 40};
        for (unsigned long i = 0; i < sizeof unknown / sizeof *unknown; i++)
            if (syscall(unknown[i], 0, 0, 0, 0, 0, 0) != -1 || errno != ENOSYS) return 1 + (int)i;
        return 0;
        """
        assert value(machine, body) == 0

    def test_descriptors(self, machine: penglai.Machine):
        body = r"""
        char byte; struct stat about; struct utsname system;
        if (read(0, &byte, 1) != 0 || getchar() != EOF) return 1;
        if (write(77, "x", 1) != -1 || errno != EBADF) return 2;
        if (lseek(1, 0, SEEK_SET) != -1 || errno != ESPIPE) return 3;
        if (!isatty(1) || isatty(77) || fstat(1, &about) || !S_ISCHR(about.st_mode)) return 4;
        if (fopen("/no/such/file", "r") || errno != ENOENT) return 5;
        if (uname(&system) || strcmp(system.machine, "riscv64")) return 6;
        return 0;
        """
        assert value(machine, body) == 0

    def test_every_register_but_a0_outlives_a_system_call(self, machine: penglai.Machine):
        """Also those of floating point, and a6, a7.  t0 is looked at first, then used."""
        integers = [n for n in range(6, 32) if n not in (10, 17)] + [1]
        lines = [f"li x{n}, {1000 + n}" for n in integers]
        lines += [f"fcvt.d.l f{n}, x{18 + n % 8}" for n in range(32)]
        lines += ["li x5, 1005", "li a7, 172", "ecall", "addi x5, x5, -1005", "bnez x5, 1f"]
        lines += ["addi x5, a0, -1", "bnez x5, 1f", "addi x5, a7, -172", "bnez x5, 1f"]
        for n in integers:
            lines += [f"addi x5, x{n}, -{1000 + n}", "bnez x5, 1f"]
        for n in range(32):
            lines += [f"fcvt.l.d x5, f{n}", f"addi x5, x5, -{1018 + n % 8}", "bnez x5, 1f"]
        lines += ["li a0, 7", "j 2f", "1: li a0, 1", f"2: li a6, {EXTENSION}", "li a7, 99", "ecall"]
        text = "".join(f'"{line}\\n"' for line in lines)
        before = f'__asm__(".globl check\\ncheck:\\n" {text}); void check(void);'
        assert value(machine, "check(); return 0;", before) == 7

    def test_without_a_handler_a_system_call_is_the_end(self, machine: penglai.Machine):
        body = "eapp_ecall(EAPP_ECALL_SET_HANDLER, 0, 0, 0); getpid(); syscall(SYS_getpid); return 0;"
        result = machine.create(program(body)).run(PATIENCE)
        assert result.reason is Reason.FAULTED

    def test_a_handler_that_makes_system_calls_is_the_end(self, machine: penglai.Machine):
        before = "static void handler(void) { syscall(SYS_getpid); for (;;); }"
        body = (
            "eapp_ecall(EAPP_ECALL_SET_HANDLER, (unsigned long)handler, 0, 0); syscall(SYS_getpid); return 0;"
        )
        assert machine.create(program(body, before)).run(PATIENCE).reason is Reason.FAULTED


def test_every_name_of_the_sdk_is_there(machine: penglai.Machine):
    """Each is linked; those that need a partner fail in the way that they say."""
    body = """
    struct report_t report; char key[32] = {0}; char sector[EAPP_SECTOR_SIZE];
    struct call_enclave_arg_t call = {0};
    if (sizeof report != 328 || sizeof call != 48) EAPP_RETURN(1);
    if (EAPP_GET_ENCLAVE_ID() != get_enclave_id()) EAPP_RETURN(2);
    if (acquire_enclave("nobody") != -1UL || EAPP_ACQUIRE_ENCLAVE("nobody") != -1UL) EAPP_RETURN(3);
    if (call_enclave(77, &call) != -1UL || EAPP_CALL_ENCLAVE(77, &call) != -1UL) EAPP_RETURN(4);
    if (SERVER_RETURN(&call) != -1 || get_caller_id() != EAPP_GET_CALLER_ID()) EAPP_RETURN(5);
    if (get_report(NULL, &report, 5) || report.enclave.nonce != 5) EAPP_RETURN(6);
    if (EAPP_GET_REPORT("nobody", &report, 5) != -1) EAPP_RETURN(7);
    if (get_key(EAPP_KEY_STORAGE, key, 32) || !(key[0] | key[1] | key[2] | key[3])) EAPP_RETURN(8);
    if (EAPP_GET_KEY(99, key, 32) != -1) EAPP_RETURN(9);
    char *map = eapp_mmap(NULL, 3 * EAPP_PAGE_SIZE), *other = EAPP_MMAP(OCALL_MMAP, NULL, 1);
    if (split_mem_region((unsigned long)map, 3 * EAPP_PAGE_SIZE, (unsigned long)map + EAPP_PAGE_SIZE))
        EAPP_RETURN(10);
    if (eapp_unmap(map, 3 * EAPP_PAGE_SIZE) || EAPP_UNMAP(OCALL_UNMAP, other, 1)) EAPP_RETURN(11);
    if (eapp_unmap(map, EAPP_PAGE_SIZE) != -1) EAPP_RETURN(12);
    long shared = eapp_shmget(0, 5000);
    if (shared <= 0 || eapp_shmstat(shared) != 8192 || eapp_shmextend(shared, 4096) != 12288) EAPP_RETURN(13);
    char *at = eapp_shmat(shared);
    at[12287] = 1;
    if (eapp_shmdt(shared) || eapp_shmdestroy(shared) || eapp_shmat(shared) != (void *)-1) EAPP_RETURN(14);
    if (EAPP_YIELD()) EAPP_RETURN(15);
    if (asyn_enclave_call("nobody", &call)) EAPP_RETURN(16);
    if (args[10] != 0) {
        EAPP_RETURN_RELAY_PAGE(OCALL_RETURN_RELAY_PAGE); eapp_return_relay_page();
        eapp_read_sector(0, sector); eapp_write_sector(0, sector);
        eapp_persistency_read_sec(0); eapp_persistency_write_sec(0);
        EAPP_PERSISTENCY_READ_SEC(OCALL_READ_SECT, 0); EAPP_PERSISTENCY_WRITE_SEC(OCALL_WRITE_SECT, 0);
    }
    EAPP_RETURN(100 + OCALL_SHM_EXTEND);
    """
    assert machine.create(eapp(body)).run(PATIENCE).value == 112
