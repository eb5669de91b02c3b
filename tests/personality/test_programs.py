"""Programs behave as on Linux: output and status are those recorded under qemu-riscv64 on Linux 6.1."""

import pytest
from tests.personality.conftest import Runs
from tests.support.linuxprograms import PROGRAMS

NAMES = sorted(path.name for path in PROGRAMS.glob("*.c*") if path.suffix in (".c", ".cpp"))


@pytest.mark.parametrize("name", NAMES)
def test_output_and_status_are_linuxs(run: Runs, name: str):
    ran = run(name)
    assert f"{ran.output}status {ran.status}\n" == (PROGRAMS / f"{name}.out").read_text()


@pytest.mark.parametrize("name", ["threads.c", "files.c"])
def test_stops_change_nothing(run: Runs, name: str):
    ran = run(name, stops=200)
    assert f"{ran.output}status {ran.status}\n" == (PROGRAMS / f"{name}.out").read_text()


def test_a_program_has_its_arguments_and_environment_and_nothing_of_the_hosts(run: Runs):
    text = """#include <stdio.h>
    #include <unistd.h>
    extern char **environ;
    int main(int count, char **given)
    {
        char name[100];
        for (int i = 1; i < count; i++) printf("%s|", given[i]);
        for (char **entry = environ; *entry; entry++) printf("%s|", *entry);
        gethostname(name, sizeof name);
        printf("%s %d %d", name, getuid(), getpid());
        return count;
    }
    """
    assert run(text, "a b", "", "é").output == "a b||é|PATH=/usr/bin:/bin|HOME=/|enclave 0 1"
    ran = run(text, env={"A": "1"})
    assert (ran.output, ran.status) == ("A=1|enclave 0 1", 1)


def test_a_fault_that_nobody_handles_says_where_and_has_the_status_of_its_signal(run: Runs):
    ran = run("int main(void)\n{ *(volatile int *)0x123000 = 1; }\n")
    assert ran.status == 128 + 11
    assert ran.output.startswith("penglai: SIGSEGV at pc 0x")
    assert ran.output.endswith(", address 0x123000\n")


def test_what_lies_below_a_stack_that_grew_too_far_is_a_fault(run: Runs):
    deep = """
    static int deep(int n)
    {
        volatile char page[4096];
        page[0] = (char)n;
        return n ? deep(n - 1) + page[0] : 0;
    }
    int main(int count, char **given) { return deep(count == 1 ? 1500 : 1 << 20) & 0; }
    """
    assert run(deep).status == 0
    assert run(deep, "deeper").status == 128 + 11


def test_processes_cannot_be_made_and_one_line_says_so(run: Runs):
    text = """#include <errno.h>
    #include <unistd.h>
    int main(void)
    {
        int refused = fork() < 0 && errno == ENOSYS;
        refused += fork() < 0 && errno == ENOSYS;
        refused += execl("/bin/sh", "sh", (char *)0) < 0 && errno == ENOSYS;
        return refused;
    }
    """
    ran = run(text)
    assert ran.status == 3
    assert ran.output.count("cannot make processes") == 1


HOSTILE = """#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    static const long odd[] = {0, 1, 8, 4096, -1, -8, 1L << 38, 0x1800000000, 0x1bffffffff, 0x800000000,
                               0x900000000, 0x7fffffffffffffff, 0xffffffe000000000, 0x2fffffffff};
    static const long left_out[] = {
        SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigsuspend,
        SYS_clone,
        SYS_munmap, SYS_mremap, SYS_mmap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_rt_sigtimedwait, SYS_futex,
        SYS_ppoll, SYS_pselect6, SYS_epoll_pwait, SYS_nanosleep, SYS_clock_nanosleep, SYS_setitimer,
        SYS_rt_sigqueueinfo, -1};
    unsigned long seed = 12345;
    char *sp = (char *)&seed;
    for (int round = 0; round < 6000; round++) {
        long number = round % 460, given[6];
        for (int i = 0; left_out[i] >= 0; i++)
            if (left_out[i] == number)
                number = SYS_getpid;
        for (int i = 0; i < 6; i++) {
            seed = seed * 6364136223846793005UL + 1442695040888963407UL;
            given[i] = odd[(seed >> 33) % (sizeof odd / sizeof *odd)];
            if (seed >> 60 == 3)
                given[i] = (long)(sp - 4096 - (seed >> 40) % 60000);
        }
        if (number == SYS_close || number == SYS_close_range || number == SYS_dup3)
            given[0] += 3;
        syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    }
    return 42;
}
"""


def test_calls_with_any_arguments_do_no_harm(run: Runs):
    """What is no pointer is refused, whatever else is given: the program goes on to its end."""
    assert run(HOSTILE).status == 42
