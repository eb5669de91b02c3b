"""Projects of autotools, CMake and Meson are built with the files that penglai toolchain shows."""

import os
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.support.shell import BIN, must, sh, value
from tests.support.sources import debian_source

FILES = {
    "include/part.h": 'extern "C" int part(int);\nint more();\n',
    "part.c": "#include <math.h>\nint part(int x) { return (int)sqrt(x); }\n",
    "more.cpp": '#include <string>\nint more() { return (int)std::string("four").size(); }\n',
    "seven.S": ".globl seven\nseven: li a0, 7\n ret\n",
    "main.cpp": """
#include "part.h"
#include <iostream>
extern "C" int seven();
int main() { int sum = part(16) + more() + seven(); std::cout << sum << std::endl; return sum - 15; }
""",
    "CMakeLists.txt": """
cmake_minimum_required(VERSION 3.20)
project(sample C CXX ASM)
include(CheckSymbolExists)
include(CheckCCompilerFlag)
include(CheckTypeSize)
check_symbol_exists(strlcpy string.h HAVE_STRLCPY)
check_symbol_exists(no_such_function string.h HAVE_NO_SUCH_FUNCTION)
check_c_compiler_flag(-Wno-such-warning-at-all HAVE_FLAG)
check_type_size("long double" LONG_DOUBLE)
find_package(Threads REQUIRED)
find_library(MATHEMATICS m REQUIRED)
if(NOT HAVE_STRLCPY OR HAVE_NO_SUCH_FUNCTION OR NOT LONG_DOUBLE EQUAL 16)
    message(FATAL_ERROR "${HAVE_STRLCPY} ${HAVE_NO_SUCH_FUNCTION} ${LONG_DOUBLE}")
endif()
add_library(part part.c more.cpp)
target_include_directories(part PUBLIC include)
add_executable(sample main.cpp seven.S)
target_link_libraries(sample part ${MATHEMATICS} Threads::Threads)
enable_testing()
add_test(NAME sample COMMAND sample)
install(TARGETS sample part)
""",
    "meson.build": """
project('sample', 'c', 'cpp', default_options: ['cpp_std=c++17', 'warning_level=2'])
cc = meson.get_compiler('c')
assert(cc.has_function('strlcpy') and not cc.has_function('no_such_function'))
assert(cc.sizeof('long double') == 16 and not cc.has_argument('-Wno-such-warning-at-all'))
assert(cc.run('int main(void) { return 3; }').returncode() == 3)
part = library('part', 'part.c', 'more.cpp', include_directories: 'include')
deps = [cc.find_library('m'), dependency('threads')]
sample = executable('sample', 'main.cpp', 'seven.S', link_with: part, dependencies: deps,
    include_directories: 'include', install: true)
test('sample', sample)
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in C, C++ and assembler, with a library."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def toolchain(system: str, directory: Path) -> str:
    return must("penglai", "toolchain", system, cwd=directory).strip()


def is_enclave(program: Path) -> bool:
    with program.open("rb") as file:
        return ELFFile(file)["e_entry"] == 0x1000


@pytest.mark.parametrize("generator", ["Ninja", "Unix Makefiles"])
def test_cmake(project: Path, generator: str):
    file = toolchain("cmake", project)
    must("cmake", "-S", ".", "-B", "build", "-G", generator, "--toolchain", file, cwd=project)
    must("cmake", "--build", "build", cwd=project)
    must("ctest", "--test-dir", "build", cwd=project)
    must("cmake", "--install", "build", "--prefix", project / "installed", cwd=project)
    assert is_enclave(project / "installed/bin/sample")
    assert (project / "installed/lib/libpart.a").exists()


def test_cmake_with_the_compilers_in_the_environment(project: Path):
    """No file of ours: CC and CXX of two words, as CMake's own manual has them."""
    own = {"CC": "penglai cc", "CXX": "penglai c++", "ASM": "penglai cc"}
    library = must("penglai", "cc", "-print-file-name=libm.a", cwd=project).strip()
    options = ["-DCMAKE_SYSTEM_NAME=Linux", f"-DMATHEMATICS={library}"]
    must("cmake", "-S", ".", "-B", "build", "-G", "Ninja", *options, cwd=project, environment=own)
    must("cmake", "--build", "build", cwd=project)
    assert value(project / "build/sample") == 0


def test_meson(project: Path):
    must("meson", "setup", "build", "--cross-file", toolchain("meson", project), cwd=project)
    must("meson", "compile", "-C", "build", cwd=project)
    must("meson", "test", "-C", "build", cwd=project)
    assert is_enclave(project / "build/sample")


def test_a_test_that_fails_in_the_enclave_fails(project: Path):
    (project / "seven.S").write_text(".globl seven\nseven: li a0, 8\n ret\n")
    must("meson", "setup", "build", "--cross-file", toolchain("meson", project), cwd=project)
    done = sh("meson", "test", "-C", "build", cwd=project)
    assert done.returncode == 1, done.stdout
    assert "exit status 1" in done.stdout


POPT_PROGRAM = """
#include <popt.h>
int main(void)
{
    int number = 0;
    const char *arguments[] = {"program", "--number", "42", 0};
    struct poptOption table[] = {{"number", 'n', POPT_ARG_INT, &number, 0, 0, 0}, POPT_TABLEEND};
    poptContext context = poptGetContext(0, 3, arguments, table, 0);
    while (poptGetNextOpt(context) > 0)
        ;
    poptFreeContext(context);
    return number;
}
"""


@pytest.mark.source("popt")
@pytest.mark.parametrize("with_site", [False, True], ids=["compiler", "config.site"])
def test_autotools(tmp_path: Path, with_site: bool):
    """popt: configure of autoconf, automake and libtool."""
    source = debian_source("popt")
    tools = [f"{name}=penglai {tool}" for name, tool in (("CC", "cc"), ("AR", "ar"), ("RANLIB", "ranlib"))]
    site = {"CONFIG_SITE": toolchain("autotools", tmp_path)} if with_site else {}
    options = ["--host=riscv64-linux-musl", "--disable-nls", *([] if with_site else tools)]
    must(source / "configure", *options, cwd=tmp_path, environment=site)
    must("make", cwd=tmp_path)
    (tmp_path / "program.c").write_text(POPT_PROGRAM)
    library = [f"-I{source}/src", "-Lsrc/.libs", "-lpopt"]
    must("penglai", "build", "program.c", *library, cwd=tmp_path)
    assert value(tmp_path / "program") == 42


def test_files_work_without_penglai_on_the_path(project: Path):
    """They name it where it lies."""
    file = must(
        BIN / "penglai", "toolchain", "cmake", cwd=project, environment={"PATH": "/usr/bin:/bin"}
    ).strip()
    plain = {"PATH": f"{project / 'tools'}:/usr/bin:/bin"}
    (project / "tools").mkdir()
    for tool in ("cmake", "ninja"):
        (project / "tools" / tool).symlink_to(BIN / tool)
    assert shutil.which("penglai", path=plain["PATH"]) is None
    ninja = f"-DCMAKE_MAKE_PROGRAM={BIN / 'ninja'}"
    command = [BIN / "cmake", "-S", ".", "-B", "build", "-G", "Ninja", ninja, "--toolchain", file]
    must(*command, cwd=project, environment=plain)
    must(BIN / "cmake", "--build", "build", cwd=project, environment=plain)
    assert value(project / "build/sample") == 0
    assert os.access(Path(file).parent / "cc", os.X_OK)
