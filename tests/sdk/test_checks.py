"""Programs that check themselves: undefined behaviour, the stack, the heap; each mistake is named."""

import re
from dataclasses import dataclass

import pytest
from tests.support.programs import compiled
from tests.support.waiting import PATIENCE

import penglai
from penglai import Fault

HEAD = """#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "eapp.h"
#include "print.h"
"""


@dataclass(frozen=True)
class End:
    value: int | None
    fault: Fault | None
    output: str

    @property
    def functions(self) -> list[str]:
        return [frame.function for frame in self.fault.backtrace] if self.fault else []


def run(body: str, *flags: str, before: str = "") -> End:
    source = f"{HEAD}{before}\nint EAPP_ENTRY main(void)\n{{\n{body}\nEAPP_RETURN(7);\n}}\n"
    with penglai.Machine("64M", state=None) as machine:
        enclave = machine.create(compiled(source, "-g", *flags))
        result = enclave.run(PATIENCE)
        return End(result.value, result.fault, enclave.output.text)


UNDEFINED = (
    ("volatile int n = INT_MAX; n = n + 1;", r"signed integer overflow: 2147483647 \+ 1 cannot .* 'int'"),
    (
        "volatile long n = LONG_MIN; n = n - 1;",
        r"signed integer overflow: -9223372036854775808 - 1 .* 'long'",
    ),
    ("volatile int n = INT_MIN; n = n * -1;", r"signed integer overflow: -2147483648 \* -1 cannot"),
    ("volatile int n = INT_MIN; n = -n;", "negation of -2147483648 cannot be represented in type 'int'"),
    ("volatile int n = 5, z = 0; n = n / z;", "division by zero"),
    ("volatile int n = INT_MIN, z = -1; n = n / z;", "division of -2147483648 by -1 cannot .* 'int'"),
    ("volatile int n = 40; n = 1 << n;", "shift exponent 40 is too large for 32-bit type 'int'"),
    ("volatile int n = -1; n = 1 << n;", "shift exponent -1 is negative"),
    ("volatile int n = INT_MAX; n = n << 1;", "left shift of 2147483647 by 1 places cannot .* 'int'"),
    ("int t[4] = {0}; volatile int n = 5; n = t[n];", r"index 5 out of bounds for type 'int\[4\]'"),
    (
        "char a[8]; int *volatile p = (int *)(a + 1); *p = 1;",
        r"store to misaligned address 0x\w+ for type 'int'",
    ),
    ("volatile float f = 1e20f; volatile int n = (int)f;", r"1e\+20 is outside the range .* type 'int'"),
    (
        "volatile double f = -1e300; volatile unsigned n = f;",
        r"-1e\+300 is outside the range .* 'unsigned int'",
    ),
    (
        "_Bool b; memset(&b, 2, 1); volatile int n = b;",
        "load of value 2, which is not a valid value for type '_Bool'",
    ),
    ("volatile __int128 n = (__int128)1 << 126; n = n * 4;", "signed integer overflow: 0x4000000000000000"),
    (
        "char *volatile p = (char *)8; volatile long n = -16; p = p + n;",
        "pointer index expression with base 0x8",
    ),
)
"""What a program does, and what is said of it."""


@pytest.mark.parametrize(("body", "said"), UNDEFINED)
def test_undefined_behaviour_is_said_and_the_program_goes_on(body: str, said: str):
    end = run(body, "-fsanitize=undefined,float-cast-overflow")
    assert re.search(rf"program.c:\d+:\d+: runtime error: {said}", end.output)
    assert (end.output.count("runtime error"), end.value) == (1, 7)


def test_nothing_is_said_of_what_is_defined():
    body = "volatile unsigned n = UINT_MAX; n = n + 1; n = n << 31; volatile int m = INT_MAX; m = m / 2;"
    assert run(body, "-fsanitize=undefined") == End(7, None, "")


def test_a_place_is_named_once():
    end = run("for (volatile int n = INT_MAX - 5, i = 0; i < 9; i++) n = n + i;", "-fsanitize=undefined")
    assert end.output.count("runtime error") == 1


def test_it_ends_there_if_it_is_not_to_recover():
    body = "volatile int n = INT_MAX; n = n + 1;"
    end = run(body, "-fsanitize=undefined", "-fno-sanitize-recover=undefined")
    assert "signed integer overflow" in end.output
    assert end.fault is not None
    assert "undefined behaviour" in end.fault.explain()
    assert end.functions[2] == "main"


NO_RETURN = "__attribute__((noinline)) static int none(int n) { if (n) return 1; __builtin_unreachable(); }"


def test_what_cannot_be_reached_ends_it():
    end = run("volatile int n = 0; n = none(n);", "-fsanitize=undefined", "-O0", before=NO_RETURN)
    assert "execution reached an unreachable program point" in end.output
    assert end.functions[2:4] == ["none", "main"]


def test_checks_can_be_traps():
    end = run("volatile int n = INT_MAX; n = n + 1;", "-fsanitize=undefined", "-fsanitize-trap=all")
    assert (end.output, end.functions[-4]) == ("", "main")
    assert end.fault is not None
    assert "signed integer addition overflow in 'n + 1'" in end.fault.explain()


SMASH = """__attribute__((noinline)) static int copy(const char *text)
{
    char small[16];
    strcpy(small, text);
    return small[3];
}
const char *volatile text = "this text is longer than sixteen bytes, by far";
"""


def test_the_stack_protector_says_who_has_overwritten_its_stack():
    end = run("volatile int n = copy(text);", "-fstack-protector-strong", before=SMASH)
    assert end.output == "stack protector: a function has written beyond its local variables\n"
    assert end.fault is not None
    assert "beyond its local variables" in end.fault.explain()
    assert end.functions[:2] == ["__stack_chk_fail", "copy"]


def test_the_guard_of_each_enclave_is_another():
    body = 'extern unsigned long __stack_chk_guard; eapp_print("%lx", __stack_chk_guard);'
    first, second = (run(body, "-fstack-protector-all").output for _ in range(2))
    assert first != second
    assert {len(first), len(second)} <= set(range(12, 17))
    assert int(first, 16) >> 8 & 0xFF == 0


ACCESSES = (
    ("char *volatile p = malloc(16); p[16] = 1;", "store 0 bytes behind the end of the block of 16 bytes"),
    ("char *volatile p = malloc(100); p[0] = p[4000];", "load 3900 bytes behind the end of the block of 100"),
    ("char *volatile p = malloc(5000); p[0] = p[-4000];", "load 4000 bytes before the block of 5000 bytes"),
    (
        "long *volatile p = malloc(16); free(p); p[1] = 2;",
        r"store in the block of 16 .* after it was freed at 0x\w+",
    ),
    (
        "long *volatile p = malloc(16), *volatile q = realloc(p, 32); q[0] = p[0];",
        "load in .* after it was freed",
    ),
)
"""At the access itself."""

FREES = (
    ("char *volatile p = malloc(16); free(p); free(p);", "is freed again at"),
    ("char *volatile p = malloc(16); free(p + 1);", "is no block"),
    ("char *volatile p = malloc(10); p[12] = 1; free(p);", "2 bytes behind the end of the block of 10 bytes"),
)
"""When the block is freed."""


@pytest.mark.parametrize(("body", "said"), ACCESSES)
def test_the_heap_checker_finds_a_wrong_access_where_it_is_made(body: str, said: str):
    end = run(body, "-lheapcheck")
    assert re.search(f"heapcheck: {said}", end.output)
    assert end.fault is not None
    assert end.functions[0] == "main"


@pytest.mark.parametrize(("body", "said"), FREES)
def test_the_heap_checker_finds_what_is_wrong_with_a_block_when_it_is_freed(body: str, said: str):
    end = run(body, "-lheapcheck")
    assert said in end.output
    assert end.fault is not None
    assert "the heap checker" in end.fault.explain()
    assert end.functions[0] == "heapcheck_failed"
    assert "main" in end.functions


CORRECT = """
    srand(1);
    char *kept[64] = {0};
    for (int i = 0; i < 5000; i++) {
        int k = rand() % 64, size = rand() % 9000;
        kept[k] = rand() % 3 ? realloc(kept[k], size + 1) : (free(kept[k]), calloc(1, size + 1));
        if (kept[k][size / 2] && kept[k][size / 2] != k)
            EAPP_RETURN(1);
        memset(kept[k], k, size + 1);
    }
    for (int k = 0; k < 64; k++)
        free(kept[k]);
    void *volatile huge;
    void *aligned = aligned_alloc(8192, 100);
    if ((uintptr_t)aligned % 8192 || (huge = malloc(1UL << 60)) || (huge = calloc(1UL << 40, 1UL << 40)))
        EAPP_RETURN(2);
    free(aligned);
    free(NULL);
"""


def test_the_heap_checker_says_nothing_of_a_correct_program():
    end = run(CORRECT, "-lheapcheck")
    assert (end.output, end.value) == ("", 7)
