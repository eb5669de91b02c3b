"""penglai cc and c++ behave as the compilers that build systems know."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.shell import BIN, must, sh, value

from penglai.toolchain.places import cache_dir

MAIN = "int main(void) { return 7; }\n"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with main.c."""
    (tmp_path / "main.c").write_text(MAIN)
    return tmp_path


def test_a_program_is_called_a_out_and_nothing_is_said(here: Path):
    done = sh("penglai", "cc", "main.c", cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert value(here / "a.out") == 7
    assert sorted(path.name for path in here.iterdir()) == ["a.out", "main.c"]


def test_what_configure_scripts_ask_first(here: Path):
    version = must("penglai", "cc", "--version", cwd=here)
    assert version.startswith("clang version ")
    assert "Target: riscv64-unknown-linux-musl\n" in version
    assert must("penglai", "cc", "-dumpmachine", cwd=here) == "riscv64-unknown-linux-musl\n"
    assert must("penglai", "cc", "-dumpversion", cwd=here)[0].isdigit()
    assert "clang version" in sh("penglai", "cc", "-v", cwd=here).stderr
    for option in ("-V", "-qversion"):
        assert sh("penglai", "cc", option, cwd=here).returncode == 1


def test_what_libtool_asks(here: Path):
    linker = must("penglai", "cc", "-print-prog-name=ld", cwd=here).strip()
    assert "GNU" in must(linker, "-v", cwd=here)
    assert "supported targets" not in must(linker, "--help", cwd=here), "libtool would make shared libraries"
    for name in ("libc.a", "libm.a", "libgcc.a", "crt1.o"):
        assert Path(must("penglai", "cc", f"-print-file-name={name}", cwd=here).strip()).is_file()
    must("penglai", "cc", "-c", "main.c", "-fPIC", "-DPIC", "-o", "main.o", cwd=here)
    must(linker, "-r", "-o", "whole.o", "main.o", cwd=here)
    must("penglai", "cc", "whole.o", "-o", "whole", cwd=here)
    assert value(here / "whole") == 7


CONFTESTS = {
    "int main(void) { return 0; }": True,
    '#include <stdio.h>\nint main(void) { printf(""); return 0; }': True,
    "#include <no_such_header.h>\nint main(void) { return 0; }": False,
    "char no_such_function(void);\nint main(void) { return no_such_function(); }": False,
    "char strlcpy(void);\nint main(void) { return strlcpy(); }": True,
    "int main(void) { static int a[1 - 2 * !(sizeof(long) == 8)]; return a[0]; }": True,
    "int main(void) { static int a[1 - 2 * !(sizeof(long) == 4)]; return a[0]; }": False,
    "choke me": False,
}


@pytest.mark.parametrize("text", CONFTESTS)
def test_conftest_programs(here: Path, text: str):
    """Statuses tell, nothing is written where nothing is wrong, and a failure leaves no program."""
    (here / "conftest.c").write_text(text)
    done = sh("penglai", "cc", "-o", "conftest", "-g", "-O2", "conftest.c", "-lm", cwd=here)
    assert (done.returncode == 0) == CONFTESTS[text]
    assert (here / "conftest").exists() == CONFTESTS[text]
    assert bool(done.stderr) != CONFTESTS[text] or "strlcpy" in text
    assert done.stdout == ""


def test_macros_and_languages_from_standard_input(here: Path):
    macros = sh("penglai", "cc", "-E", "-dM", "-x", "c", "-", cwd=here).stdout
    for macro in ("__riscv 1", "__riscv_xlen 64", "__riscv_float_abi_double 1", "__linux__ 1", "__clang__ 1"):
        assert f"#define {macro}\n" in macros
    assert "_LIBCPP" not in macros
    assert "__cplusplus" in sh("penglai", "c++", "-E", "-dM", "-x", "c++", "-", cwd=here).stdout
    assert "\nx = 7;\n" in sh("penglai", "cc", "-E", "-", cwd=here, text="#define Y 7\nx = Y;\n").stdout


def test_diagnostics_are_clangs_own(here: Path):
    (here / "main.c").write_text("int main(void) { return nothing; }\n")
    done = sh("penglai", "cc", "-c", "main.c", cwd=here)
    assert done.returncode == 1
    assert done.stderr.startswith("main.c:1:25: error: use of undeclared identifier 'nothing'")
    assert done.stderr.endswith("1 error generated.\n")


def test_no_inputs_is_an_error(here: Path):
    done = sh("penglai", "cc", cwd=here)
    assert (done.returncode, done.stderr) == (1, "penglai: error: no input files\n")


def test_headers_of_the_project_come_before_the_sdks(here: Path):
    """print.h is a name that others have too."""
    (here / "include").mkdir()
    (here / "include" / "print.h").write_text("#define ANSWER 4\n")
    (here / "main.c").write_text('#include "print.h"\n#include <eapp.h>\nint main(void) { return ANSWER; }\n')
    must("penglai", "cc", "-I", "include", "main.c", cwd=here)
    assert value(here / "a.out") == 4


def test_cxx_takes_c_for_cpp_and_links_its_library(here: Path):
    (here / "main.c").write_text("#include <string>\nint main() { return std::string(6, 'x').size(); }\n")
    must("penglai", "c++", "main.c", "-lm", cwd=here)
    assert value(here / "a.out") == 6


@pytest.mark.parametrize(
    "header", ["version", "cstddef", "cmath", "stdlib.h", "cxxabi.h", "unwind.h", "mutex"]
)
def test_any_header_may_be_the_first(here: Path, header: str):
    (here / "p.cc").write_text(f"#include <{header}>\n")
    must("penglai", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "p.cc", cwd=here)


def test_programs_without_the_runtime(here: Path):
    (here / "start.c").write_text(
        '__asm__(".globl _start; _start: li a0, 9; li a7, 99; li a6, 0x100101; ecall");\n'
    )
    must("penglai", "cc", "-nostdlib", "start.c", cwd=here)
    assert value(here / "a.out") == 9


def test_a_linker_script_of_ones_own(here: Path):
    (here / "own.lds").write_text(
        "ENTRY(_start) SECTIONS { . = 0x40000; .text : { *(.text .text.*) } . = ALIGN(4096); "
        ".data : { *(.data .data.*) } .bss : { *(.bss .bss.*) } }\n"
    )
    (here / "start.c").write_text(
        '__asm__(".globl _start; _start: lla a0, _start; srli a0, a0, 16");\n'
        '__asm__("li a7, 99; li a6, 0x100101; ecall");\n'
    )
    for option in (["-T", "own.lds"], ["-Town.lds"], ["-Wl,-T,own.lds"], ["-Wl,--script=own.lds"]):
        must("penglai", "cc", "-nostdlib", *option, "start.c", cwd=here)
        assert value(here / "a.out") == 4


def test_archives(here: Path):
    must("penglai", "cc", "-c", "main.c", cwd=here)
    must("penglai", "ar", "cr", "libmain.a", "main.o", cwd=here)
    must("penglai", "ranlib", "libmain.a", cwd=here)
    assert must("penglai", "ar", "t", "libmain.a", cwd=here) == "main.o\n"
    must("penglai", "cc", "-L.", "-lmain", "-Wl,-u,main", cwd=here)
    assert value(here / "a.out") == 7
    assert sh("penglai", "ar", "t", "none.a", cwd=here).returncode == 1


def test_two_at_once_may_need_what_is_not_there_yet(here: Path):
    """make -j begins several before the libraries are made: a cache without our own directories."""
    cache = here / "cache"
    cache.mkdir()
    (cache / "zig").symlink_to(cache_dir() / "zig")
    environment = {**os.environ, "PENGLAI_CACHE": str(cache)}
    command = [str(BIN / "penglai"), "cc", str(here / "main.c"), "-o"]
    both = [subprocess.Popen([*command, str(here / name)], env=environment) for name in ("one", "two")]
    assert [process.wait(250) for process in both] == [0, 0]
    assert (here / "one").read_bytes() == (here / "two").read_bytes()
    assert not [path for path in cache.iterdir() if path.name.startswith(".")], (
        "no half-made directory is left"
    )


def test_what_was_damaged_is_made_again(here: Path):
    cache = here / "cache"
    cache.mkdir()
    (cache / "zig").symlink_to(cache_dir() / "zig")
    must("penglai", "cc", "main.c", cwd=here, environment={"PENGLAI_CACHE": str(cache)})
    for name in ("*/lib/libmusl.a", "enclave-*/crt1.o"):
        (damaged,) = cache.glob(name)
        damaged.write_bytes(damaged.read_bytes()[:100])
        must("penglai", "cc", "main.c", cwd=here, environment={"PENGLAI_CACHE": str(cache)})
        assert value(here / "a.out") == 7


def test_a_cache_from_which_nothing_may_be_executed(here: Path):
    """clang passes over a linker that it may not execute, and takes the next one on the path."""
    must("penglai", "cc", "main.c", cwd=here)
    remount = f"mount --bind {cache_dir()} {cache_dir()} && mount -o remount,bind,noexec {cache_dir()}"
    for compiler in ("cc", "build"):
        done = sh("unshare", "-rm", "sh", "-c", f"{remount} && penglai {compiler} main.c", cwd=here)
        assert done.returncode == 1
        assert "mounted noexec; set PENGLAI_CACHE" in done.stderr
