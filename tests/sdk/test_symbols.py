"""What every link defines, keeps and sorts: programs count on their linker's own script."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.support.programs import compiled
from tests.support.waiting import PATIENCE

import penglai

ADDRESSES = [
    *("__executable_start", "__text_start", "__text_end", "__etext", "_etext", "etext"),
    *("__rodata_start", "__rodata_end", "__eh_frame_start", "__eh_frame_end"),
    *("__eh_frame_hdr_start", "__eh_frame_hdr_end", "__preinit_array_start", "__preinit_array_end"),
    *("__init_array_start", "__init_array_end", "__fini_array_start", "__fini_array_end", "__tdata_start"),
    *("__data_start", "data_start", "__DATA_BEGIN__", "__SDATA_BEGIN__", "_edata", "edata", "__data_end"),
    *("__bss_start", "__bss_start__", "_bss_start__", "_bss_start", "__bss_end", "__bss_end__", "_bss_end__"),
    *("_bss_end", "__BSS_END__", "__end__", "__end", "_end", "end"),
    *("__rela_iplt_start", "__rela_iplt_end", "__dso_handle", "__ehdr_start", "__global_pointer$"),
]


def run(source: str | Path, *flags: str) -> tuple[int | None, str]:
    """The value and the output of a C program."""
    with penglai.Machine("64M") as machine:
        image = compiled(source, *flags) if isinstance(source, str) else source
        result = machine.create(image).run(PATIENCE)
        return result.value, machine.console.text


def in_order(names: Iterable[str], where: dict[str, int]) -> bool:
    places = [where[name] for name in names]
    return places == sorted(places)


@pytest.fixture(scope="module")
def where() -> dict[str, int]:
    """Addresses by name, in a program with something in every section, and a few of its own."""
    names = [*ADDRESSES, "function", "constant", "datum", "zeros", "zeros_end"]
    declared = "\n".join(
        f'extern char symbol{n}[] __asm__("{name}");' for n, name in enumerate(names[: len(ADDRESSES)])
    )
    own = {
        "function": "(char *)main",
        "constant": "(char *)constant",
        "datum": "(char *)datum",
        "zeros": "zeros",
        "zeros_end": "zeros + sizeof zeros",
    }
    printed = "\n".join(
        f'printf("{name} %p\\n", (void *)({own.get(name, f"symbol{n}")}));' for n, name in enumerate(names)
    )
    text = f"""
    #include <stdio.h>
    {declared}
    const int constant[] = {{1, 2}};
    int datum[] = {{3, 4}};
    char zeros[10000];
    int main(void) {{ {printed} return 0; }}
    """
    value, output = run(text)
    assert value == 0
    return {name: int(place, 16) for name, place in (line.split() for line in output.splitlines())}


def test_all_are_defined(where: dict[str, int]):
    assert set(ADDRESSES) < set(where)


def test_they_lie_around_what_they_are_of(where: dict[str, int]):
    assert where["__executable_start"] == 0x1000
    assert in_order(["__executable_start", "function", "etext", "constant", "__rodata_end"], where)
    assert in_order(["__data_start", "datum", "edata", "__bss_start", "zeros", "zeros_end", "end"], where)
    assert where["_end"] == where["end"] >= where["zeros_end"]
    assert where["__BSS_END__"] == where["_bss_end__"] >= where["zeros_end"]
    assert where["__init_array_start"] <= where["__init_array_end"]
    assert where["__eh_frame_start"] < where["__eh_frame_end"]


def test_a_program_may_have_these_names_itself():
    own = "int end = 3, edata = 4; int etext(void) { return 5; }\n"
    assert run(f"{own}int main(void) {{ return end + edata + etext(); }}\n")[0] == 12


def test_the_global_pointer_is_where_it_says():
    text = """
    extern char gp[] __asm__("__global_pointer$");
    int main(void) { char *now; __asm__("mv %0, gp" : "=r"(now)); return now == gp; }
    """
    assert run(text)[0] == 1


def test_the_headers_that_describe_the_program_are_in_memory():
    text = """
    #include <elf.h>
    #include <link.h>
    #include <string.h>
    extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));
    static _Thread_local volatile int local = 5;
    static int see(struct dl_phdr_info *info, size_t size, void *found)
    {
        *(const void **)found = info->dlpi_phdr;
        return size > 0;
    }
    int main(void)
    {
        const char *start = (const char *)&__ehdr_start;
        const ElfW(Phdr) *headers = (const void *)(start + __ehdr_start.e_phoff), *others;
        dl_iterate_phdr(see, &others);
        if (memcmp(__ehdr_start.e_ident, ELFMAG, SELFMAG) || headers != others) return 1;
        if (__ehdr_start.e_machine != EM_RISCV || __ehdr_start.e_type != ET_EXEC) return 2;
        int loads = 0, templates = 0;
        for (int i = 0; i < __ehdr_start.e_phnum; i++) {
            loads += headers[i].p_type == PT_LOAD && headers[i].p_vaddr <= (unsigned long)main;
            templates += headers[i].p_type == PT_TLS && headers[i].p_memsz >= sizeof local;
        }
        return loads == 1 && templates == 1 ? local : 3;
    }
    """
    assert run(text)[0] == 5


SET = """
#include <stdio.h>
struct test { const char *name; int (*run)(void); };
#define TEST(n) static int n(void); \
  static struct test entry_##n __attribute__((used, section("SECTION"))) = {#n, n}; static int n(void)
extern struct test __start_SECTION[], __stop_SECTION[];
TEST(one) { return 1; }
TEST(two) { return 2; }
TEST(three) { return 3; }
int main(void)
{
    int sum = 0;
    for (struct test *t = __start_SECTION; t < __stop_SECTION; t++)
        sum += t->run() * 10 + (t->name[0] == 't');
    return sum;
}
"""


@pytest.mark.parametrize("name", ["my_tests", "X", "set_sysinit_set"])
@pytest.mark.parametrize("constant", ["const", ""])
@pytest.mark.parametrize(
    "flags", [(), ("-O0",), ("-Wl,--gc-sections",), ("-Wl,--no-gc-sections",), ("-flto",)]
)
def test_sets_that_the_linker_collects(name: str, constant: str, flags: tuple[str, ...]):
    text = SET.replace("SECTION", name).replace("struct test entry", f"{constant} struct test entry")
    assert run(text, *flags)[0] == 62


def test_sections_that_no_script_knows():
    """Code, constants, data and zeros in sections of their own end up in pages that allow what they need."""
    text = """
    __attribute__((section("fast_code"), noinline)) int twice(int x) { return 2 * x; }
    __attribute__((section(".constants_of_mine"))) const int constant = 3;
    __attribute__((section("own_data"))) int datum = 4;
    __attribute__((section(".ram.data"))) int dotted = 5;
    __asm__(".section own_zeros, \\"aw\\", @nobits; .globl zeros; zeros: .zero 5000; .text");
    __asm__(".section .noinit, \\"aw\\", @nobits; .globl more; more: .zero 16; .text");
    extern char zeros[], more[], end[];
    int main(void)
    {
        volatile int *where[] = {&datum, &dotted};
        ++*where[0]; ++*where[1];
        zeros[4999] = more[15] = 1;
        return twice(constant) + datum + dotted + zeros[4999] + more[15] + (more < end);
    }
    """.replace('\\"', '"')
    assert run(text.replace('"aw"', '\\"aw\\"'))[0] == 6 + 5 + 6 + 3


def test_the_ends_are_behind_sections_that_no_script_knows():
    """A heap that begins at end must not lie on a variable."""
    text = """
    __asm__(".section own_zeros, 'aw', @nobits; .globl zeros; zeros: .zero 5000");
    __asm__(".section .own.zeros, 'aw', @nobits; .globl more; more: .zero 5000");
    __asm__(".section own_data, 'aw'; .globl datum; datum: .dword 1");
    __asm__(".section own_code, 'ax'; .globl code; code: ret; .text");
    extern char zeros[], more[], datum[], code[], etext[], edata[], __bss_start[], end[];
    int main(void)
    {
        zeros[0] = more[4999] = datum[7] = 1;
        return (code < etext) + (datum + 8 <= edata) * 2 + (edata <= __bss_start) * 4
            + (zeros >= __bss_start && zeros + 5000 <= end) * 8
            + (more >= __bss_start && more + 5000 <= end) * 16;
    }
    """
    assert run(text.replace("'", '\\"'))[0] == 31


def test_what_is_kept_without_a_reference():
    text = """
    static volatile int order[8], count;  /* or the compiler runs constructors itself */
    #define BEFORE(n) __attribute__((constructor(n))) static void before##n(void) { order[count++] = n; }
    BEFORE(300) BEFORE(101) BEFORE(65535) BEFORE(200)
    __attribute__((constructor)) static void last(void) { order[count++] = 70000; }
    static void first(void) { order[count++] = 1; }
    __attribute__((section(".preinit_array"), used)) static void (*entry)(void) = first;
    int main(void)
    {
        int expected[] = {1, 101, 200, 300};
        for (int i = 0; i < 4; i++)
            if (order[i] != expected[i]) return i + 1;
        return count == 6 && order[4] + order[5] == 135535 ? 0 : 9;
    }
    """
    assert run(text)[0] == 0


def test_destructors_run_backwards():
    text = """
    #include <stdio.h>
    __attribute__((destructor(101))) static void last(void) { puts("last"); }
    __attribute__((destructor(200))) static void middle(void) { puts("middle"); }
    __attribute__((destructor)) static void first(void) { puts("first"); }
    int main(void) { return 0; }
    """
    assert run(text) == (0, "first\nmiddle\nlast\n")
