"""A fault explains itself: where in the source it was, who called, and what lay at the address."""

import json
from pathlib import Path

import pytest
from tests.cli.test_commands import penglai as command
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import Reason

NULL = """#include "eapp.h"
struct list { struct list *next; long value; };
static inline long sum(const volatile struct list *l)
{
    long s = 0;
    for (int i = 0; i < 3; i++) {
        s += l->value;
        l = l->next;
    }
    return s;
}
__attribute__((noinline)) static long middle(struct list *l)
{
    return sum(l) + 1;
}
int EAPP_ENTRY main(void)
{
    struct list one = {0, 5};
    EAPP_RETURN(middle(&one));
}
"""

DOWN = """#include "eapp.h"
__attribute__((noinline)) static int down(volatile int *n)
{
    volatile int buffer[256];
    buffer[0] = *n;
    *n += 1;
    return down(n) + buffer[0];
}
int EAPP_ENTRY main(void)
{
    volatile int n = 0;
    EAPP_RETURN(down(&n));
}
"""

SERVER = """#include "eapp.h"
__attribute__((noinline)) static int work(volatile int *p)
{
    return *p;
}
int EAPP_ENTRY main(void)
{
    struct call_enclave_arg_t answer = {.resp_val = work(0)};
    SERVER_RETURN(&answer);
}
"""

CALLER = """#include "eapp.h"
__attribute__((noinline)) static unsigned long ask(unsigned long server)
{
    struct call_enclave_arg_t call = {.req_arg = 1};
    return call_enclave(server, &call);
}
int EAPP_ENTRY main(void)
{
    EAPP_RETURN(ask(acquire_enclave("wrong")) != 0);
}
"""


def fault_of(machine: penglai.Machine, image: Path, **options: int) -> penglai.Fault:
    result = machine.create(image, **options).run(PATIENCE)
    assert result.reason is Reason.FAULTED
    assert result.fault is not None
    return result.fault


def calls(fault: penglai.Fault) -> list[tuple[str, int]]:
    return [(frame.function, frame.line) for frame in fault.backtrace]


@pytest.mark.parametrize("flags", [("-g",), ("-g", "-O0"), ("-g", "-O0", "-fno-asynchronous-unwind-tables")])
def test_a_backtrace_has_functions_files_and_lines(machine: penglai.Machine, flags: tuple[str, ...]):
    fault = fault_of(machine, compiled(NULL, *flags))
    assert calls(fault)[:3] == [("sum", 7), ("middle", 14), ("main", 19)]
    assert {Path(frame.file).name for frame in fault.backtrace[:3]} == {"program.c"}
    assert fault.backtrace[0].enclave == "enclave 1 program"
    assert fault.backtrace[-1].function in ("_start", "eapp_start")
    assert fault.details is not None
    assert fault.details.where == "a load: no memory lies there: it is 8 bytes from a null pointer"
    assert fault.details.registers["pc"] == fault.backtrace[0].pc


def test_what_is_measured_has_none_of_it():
    assert penglai.measure(compiled(NULL, "-g")) == penglai.measure(compiled(NULL))


def test_without_g_it_has_functions(machine: penglai.Machine):
    fault = fault_of(machine, compiled(NULL))
    assert calls(fault)[:2] == [("middle", 0), ("main", 0)]
    stripped = compiled(NULL, "-s", "-O2")
    fault = fault_of(machine, stripped)
    assert calls(fault)[0] == ("", 0)
    assert len(fault.backtrace) > 2, "frame information is loaded, and stays"


def test_a_stack_that_overflows_is_called_so(machine: penglai.Machine):
    fault = fault_of(machine, compiled(DOWN, "-g"), stack_size=32768)
    assert fault.details is not None
    assert "below the stack of 32768 bytes, which is too small: --stack-size" in fault.details.where
    assert fault.backtrace[0].function == fault.backtrace[-2].function == "down"
    assert "more of the same" in fault.explain()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("*(volatile int *)(1UL << 45) = 1;", "more than 39 bits"),
        ("*(volatile int *)main = 1;", "the program's code, which does not allow it"),
        ('*(volatile char *)"text" = 1;', "the program's constants, which does not allow it"),
        (
            "static volatile int data; data = args[12]; ((void (*)(void))&data)();",
            "a jump: the program's data",
        ),
        ("char *p = eapp_mmap(0, 8192); ((volatile char *)p)[8192 + 5] = 1;", "5 bytes behind the end of"),
    ],
)
def test_it_says_what_lay_there(machine: penglai.Machine, body: str, where: str):
    fault = fault_of(machine, eapp(body, "-g"))
    assert fault.details is not None
    assert where in fault.details.where


def test_the_variable_is_named(machine: penglai.Machine):
    fault = fault_of(
        machine,
        compiled(
            '#include "eapp.h"\nconst volatile long table[4] = {1};\n'
            "int EAPP_ENTRY main(void)\n{\n    ((volatile long *)table)[2] = 1;\n    EAPP_RETURN(0);\n}\n"
        ),
    )
    assert fault.details is not None
    assert "16 bytes from the beginning of table, which has 32" in fault.details.where


def test_a_jump_to_nowhere_shows_who_jumped(machine: penglai.Machine):
    fault = fault_of(machine, eapp("volatile long at = 0; ((void (*)(void))at)();", "-g"))
    assert [frame.function for frame in fault.backtrace[:2]] == ["", "main"]


def test_a_servers_fault_shows_whose_code_it_was_and_who_called(machine: penglai.Machine):
    machine.create(compiled(SERVER, "-g"), name="wrong", kind="server")
    caller = machine.create(compiled(CALLER, "-g"), name="caller")
    assert caller.run(PATIENCE).value == 1, "the call failed, and the caller went on"
    (fault,) = machine.server_faults(caller)
    assert fault.details is not None
    assert fault.details.enclave == "enclave 1 wrong"
    by = [(frame.enclave, frame.function) for frame in fault.backtrace]
    assert by[:2] == [("enclave 1 wrong", "work"), ("enclave 1 wrong", "main")]
    assert ("enclave 2 caller", "ask") in by
    assert by.index(("enclave 2 caller", "ask")) < by.index(("enclave 2 caller", "main"))
    assert "called by enclave 2 caller" in fault.explain()


def test_an_instance_of_a_shadow_has_its_shadows_program(machine: penglai.Machine):
    shadow = machine.create(compiled(NULL, "-g"), kind="shadow")
    fault = shadow.start().result(PATIENCE).fault
    assert fault is not None
    assert calls(fault)[0] == ("sum", 7)


def test_a_program_that_came_as_bytes_is_known_too(machine: penglai.Machine):
    result = machine.create(compiled(NULL, "-g").read_bytes()).run(PATIENCE)
    assert result.fault is not None
    assert calls(result.fault)[0] == ("sum", 7)


def test_of_a_file_that_has_changed_there_are_addresses_only(machine: penglai.Machine, tmp_path: Path):
    image = tmp_path / "program"
    image.write_bytes(compiled(NULL, "-g").read_bytes())
    enclave = machine.create(image)
    image.write_bytes(b"another")
    result = enclave.run(PATIENCE)
    assert result.fault is not None
    assert calls(result.fault) == [("", 0)]


def test_it_is_no_part_of_what_a_fault_is(machine: penglai.Machine):
    """Programs compare faults, and what the host is told has not changed."""
    fault = fault_of(machine, compiled(NULL, "-g"))
    assert fault == penglai.Fault(fault.cause, fault.address)
    assert "details" not in repr(fault)


def test_run_writes_it_on_standard_error(tmp_path: Path):
    image = compiled(NULL, "-g")
    done = command("run", str(image), "--verbose", cwd=tmp_path)
    assert done.returncode == 1
    assert "in sum (" in done.stderr
    assert "program.c:7)" in done.stderr
    assert "  ra 0000" in done.stderr
    assert done.stdout == ""
    found = json.loads(command("run", str(image), "--json", cwd=tmp_path).stdout)
    assert found["fault"]["backtrace"][0]["line"] == 7
