"""Compiling enclave programs: at every optimisation level, and with what one gets wrong."""

from pathlib import Path

import pytest
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import Reason
from penglai.abi import layout
from penglai.sdk.build import build
from penglai.sdk.images import find_image

LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os", "-Oz", "-Ofast")

ENTRY = r"""
#include "print.h"
#include "eapp.h"

static unsigned long helper(unsigned long a, unsigned long b) { return a * 31 + b; }

int EAPP_ENTRY main(){
  unsigned long * args;
  unsigned long noise[40];
  for (int i = 0; i < 40; i++)
      noise[i] = helper(i, (unsigned long)noise);
  EAPP_RESERVE_REG;
  unsigned long ok = 1;
  for (int n = 1; n < 32; n++)
      if (n != 2)
          ok &= args[n] == 0;
  ok &= args[2] == 0x3800000000 - 256;      /* sp, dropped by 256 */
  ok &= args == (unsigned long *)args[2];   /* and args points there */
  EAPP_RETURN(ok * 1000 + (noise[39] != 0));
}
"""


@pytest.mark.parametrize("level", LEVELS)
def test_the_entry_registers_are_there_at_every_level(machine: penglai.Machine, level: str):
    assert machine.create(compiled(ENTRY, level)).run(PATIENCE).value == 1001


@pytest.mark.parametrize("level", LEVELS)
def test_every_call_works_at_every_level(machine: penglai.Machine, level: str):
    program = eapp(
        """
        unsigned long base = (unsigned long)sbrk(0);
        unsigned long top = (unsigned long)sbrk(2 * EAPP_PAGE_SIZE);
        if (base != 0x1000000000 || top != base + 2 * EAPP_PAGE_SIZE) EAPP_RETURN(1);
        ((volatile char *)base)[2 * EAPP_PAGE_SIZE - 1] = 7;
        if ((unsigned long)sbrk(-EAPP_PAGE_SIZE) != base + EAPP_PAGE_SIZE) EAPP_RETURN(2);
        if (sbrk(1) != (void *)-1) EAPP_RETURN(3);
        EAPP_YIELD();
        EAPP_YIELD;
        eapp_print("I am %lu\\n", get_enclave_id());
        EAPP_RETURN(0xfedcba9876543210);
        """,
        level,
        "-Wno-unused-value",
    )
    enclave = machine.create(program)
    assert enclave.run(PATIENCE) == penglai.Result(Reason.EXITED, 0xFEDCBA9876543210)
    assert machine.console.text == f"I am {enclave.eid}\n"


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_returning_from_main_is_returning_to_the_host(machine: penglai.Machine, level: str):
    program = compiled('#include "eapp.h"\nint EAPP_ENTRY main(void) { return 21; }\n', level)
    assert machine.create(program).run(PATIENCE).value == 21


FORMATS = [
    ("%d|%i|%5d|%-5d|%05d", (1, -2, 34, 34, -34)),
    ("%u|%x|%X|%o|%08x", (1, 0xBEEF, 0xBEEF, 8, 0xBEEF)),
    ("%ld|%lu|%lx|%lld", (-(1 << 62), 1 << 62, 1 << 62, -1)),
    ("%s|%10s|%-10s|%.2s|%s", ("a", "bc", "de", "fgh", "")),
    ("%c%c|%3c|%%", ("x", "y", "z")),
    ("%.5d|%8.3d|%-8.3d|%.0d", (12, 34, -34, 7)),
    ("plain", ()),
    ("%d", (-(1 << 31),)),
    ("%x", (0,)),
]


@pytest.mark.parametrize(("form", "values"), FORMATS, ids=[form for form, _ in FORMATS])
def test_printing_is_as_in_c(machine: penglai.Machine, form: str, values: tuple[object, ...]):
    def literal(value: object) -> str:
        if isinstance(value, str):
            return f"'{value}'" if "c" in form else f'"{value}"'
        return f"{value}L" if "l" in form else str(value)

    arguments = "".join(f", {literal(value)}" for value in values).replace("-2147483648", "-2147483647 - 1")
    program = eapp(f'EAPP_RETURN(eapp_print("{form}"{arguments}));')
    expected = form.replace("lld", "d").replace("ld", "d").replace("lu", "d").replace("lx", "x") % values
    result = machine.create(program).run(PATIENCE)
    assert machine.console.text == expected
    assert result.value == len(expected)


def test_pointers_and_nulls_are_printed_and_a_format_that_is_none_is_not(machine: penglai.Machine):
    program = eapp(
        'eapp_print("%p %s|", (void *)0x1234, (char *)0); EAPP_RETURN(eapp_print("%q|"));', "-Wno-format"
    )
    assert machine.create(program).run(PATIENCE).value == 2**64 - 1
    assert machine.console.text == "0x1234 (null)|"


def test_long_text_goes_out_whole(machine: penglai.Machine):
    program = eapp(
        "static char text[10001]; for (int i = 0; i < 10000; i++) text[i] = 'a' + i % 26;"
        'EAPP_RETURN(eapp_print("<%s>", text));'
    )
    assert machine.create(program).run(PATIENCE).value == 10002
    assert machine.console.text == "<" + "".join(chr(97 + i % 26) for i in range(10000)) + ">"


def test_what_compilers_expect_of_a_freestanding_program(machine: penglai.Machine):
    """Big structs are copied and cleared through memcpy and memset."""
    program = eapp(
        """
        struct big { long a[700]; } one = {{1, 2, 3}}, two;
        __asm__ volatile("" : : "r"(&one) : "memory");
        two = one;
        __asm__ volatile("" : : "r"(&two) : "memory");
        one = (struct big){{0}};
        __asm__ volatile("" : : "r"(&one) : "memory");
        EAPP_RETURN(two.a[2] * 10 + one.a[1] + __builtin_memcmp(&one, &two, sizeof one) * 0);
        """
    )
    assert machine.create(program).run(PATIENCE).value == 30


def test_several_files_flags_and_headers_beside_the_source(machine: penglai.Machine, tmp_path: Path):
    (tmp_path / "part.h").write_text("int part(void);\n")
    (tmp_path / "part.c").write_text('#include "part.h"\nint part(void) { return NUMBER; }\n')
    (tmp_path / "main.c").write_text(
        '#include "eapp.h"\n#include "part.h"\nint EAPP_ENTRY main(void) { return part(); }\n'
    )
    made = build([tmp_path / "main.c", tmp_path / "part.c"], flags=["-DNUMBER=77", "-O1", "-g"])
    assert made == tmp_path / "main"
    assert machine.create(made).run(PATIENCE).value == 77


def test_the_measurement_does_not_depend_on_where_it_was_built(machine: penglai.Machine, tmp_path: Path):
    source = '#include "eapp.h"\nint EAPP_ENTRY main(void) { return 1; }\n'
    measurements = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.c").write_text(source)
        measurements.add(machine.create(penglai.build(tmp_path / name / "p.c")).measurement)
    assert len(measurements) == 1


class TestErrors:
    def test_the_compilers_messages_are_shown_and_nothing_is_made(self, tmp_path: Path):
        source = tmp_path / "bad.c"
        source.write_text("int main( { return undeclared; }\n")
        with pytest.raises(penglai.ToolchainError, match=r"bad\.c:1"):
            build(source)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.c"]

    def test_a_failed_build_leaves_the_last_good_one(self, tmp_path: Path):
        source = tmp_path / "p.c"
        source.write_text('#include "eapp.h"\nint EAPP_ENTRY main(void) { return 1; }\n')
        good = build(source).read_bytes()
        source.write_text("garbage")
        with pytest.raises(penglai.ToolchainError):
            build(source)
        assert (tmp_path / "p").read_bytes() == good

    @pytest.mark.parametrize(
        ("sources", "message"),
        [([], "nothing to build"), ("no.c", "no such file: no.c"), (["/"], "no such file: /")],
    )
    def test_sources_that_are_none(self, sources, message: str):
        with pytest.raises(penglai.ToolchainError, match=message):
            build(sources, "out")

    def test_a_source_is_not_overwritten(self, tmp_path: Path):
        source = tmp_path / "program"
        source.write_text("int main;")
        with pytest.raises(penglai.ToolchainError, match="overwrite"):
            build(source)

    def test_a_program_without_main(self, tmp_path: Path):
        source = tmp_path / "p.c"
        source.write_text("int x;\n")
        with pytest.raises(penglai.ToolchainError, match="main"):
            build(source)

    def test_a_demo_that_is_none(self):
        with pytest.raises(penglai.ImageError, match=r"no such file: lop .and no demo of that name"):
            find_image("lop")


def test_text_lies_where_the_abi_says(machine: penglai.Machine):
    program = eapp("static volatile int zeros[9]; EAPP_RETURN((unsigned long)&zeros[3] % 4096 < 4096);")
    info = machine.create(program).info()
    assert info.entry == layout.TEXT_BASE
