"""What ordinary Makefiles say to a compiler: penglai build takes it."""

import io
import os
import shlex
import string
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from tests.support.shell import must, sh, value

import penglai
from penglai.sdk.commandline import expand
from penglai.sdk.objects import refers_to_cxx

MAIN = """
#ifndef X
#define X 7
#endif
#ifdef FROM_HEADER
#undef X
#define X FROM_HEADER
#endif
int main(void) { return X; }
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with main.c, and header.h in `include`."""
    (tmp_path / "main.c").write_text(MAIN)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "header.h").write_text("#define FROM_HEADER 5\n")
    return tmp_path


SEPARATE = {
    "-D X=1": 1,
    "-I include -include header.h": 5,
    "-isystem include -include header.h": 5,
    "-idirafter include -include header.h": 5,
    "-iquote include -include header.h": 5,
    "-iprefix include/ -iwithprefix . -include header.h": 5,
    "-I include -imacros header.h": 5,
    "-D X=3 -U X": 7,
    "-Xpreprocessor -DX=2": 2,
    "-Wp,-DX=4": 4,
    "-Xclang -DX=6": 6,
    "-x c": 7,
    "-MD -MF deps -MT goal": 7,
    "-MMD -MQ goal": 7,
    "-Xlinker --defsym -Xlinker made=1": 7,
    "-Wl,-Map,map": 7,
    "-u main": 7,
    "-z norelro": 7,
    "-e _start": 7,
    "-L include -l m": 7,
    "--param ssp-buffer-size=4": 7,
    "-std=gnu89 -pedantic -pipe -g3 -Wall -Wextra": 7,
}


@pytest.mark.parametrize(("options", "result"), SEPARATE.items())
def test_options_whose_value_is_a_word_of_its_own(here: Path, options: str, result: int):
    must("penglai", "build", "main.c", *options.split(), "-o", "a program", cwd=here)
    assert value(here / "a program") == result


def test_they_may_stand_before_the_source_or_come_from_python(here: Path):
    must("penglai", "build", "-I", "include", "-include", "header.h", "main.c", cwd=here)
    assert value(here / "main") == 5
    made = penglai.build(here / "main.c", here / "other", ["-D", "X=2", "-lm", "-L", "include"])
    assert value(made) == 2


GNU = [
    "-march=rv64gc -mabi=lp64d",
    "-march=rv64imafdc_zicsr_zifencei -mcmodel=medany -mtune=sifive-7-series",
    "-mcpu=sifive-u54 -mno-relax",
    "-march=rv64imac -mabi=lp64",
    "-march=rv64gc -mabi=lp64 -msave-restore",
    "-mexplicit-relocs -mno-div -mbranch-cost=3 -misa-spec=2.2 -mpreferred-stack-boundary=4",
    "-fno-tree-loop-distribute-patterns -fno-gcse -fno-ipa-sra -finline-limit=100 -fconserve-stack",
    "-fno-plt -fno-strict-aliasing -fstack-protector-strong -Wno-maybe-uninitialized",
    "-pie -fPIE",
    "-static-pie -rdynamic -Wl,-z,relro,-z,now,--as-needed,--hash-style=gnu",
    "-pthread -lm -lpthread -ldl -lrt -lutil -lcrypt -latomic -lgcc -lgcc_s -lc",
    "-Wl,--start-group -lm -lc -Wl,--end-group -Wl,--no-warn-mismatch",
    "-flto -O3",
    "-fsanitize=undefined -O1",
    "-fanalyzer -fno-diagnostics-show-caret -dumpbase name -aux-info prototypes -wrapper no,such",
    "-fuse-ld=bfd -no-canonical-prefixes --entry=_start --entry _start --for-assembler --noexecstack",
    "-Wl,--no-warn-rwx-segments,--no-warn-execstack,--add-needed,--hash-size=3,-dc,-dp",
    "-Ttext=0x10000 -Wl,-Ttext,0x20000",
]


@pytest.mark.parametrize("options", GNU)
def test_options_in_gcc_s_spelling(here: Path, options: str):
    must("penglai", "build", "main.c", *options.split(), "-o", "made", cwd=here)
    assert value(here / "made") == 7


def test_options_without_effect_are_no_errors(here: Path):
    """gcc says nothing of them, so Makefiles have them together with -Werror."""
    options = ["-Werror", "-L.", "-lm", "-fno-plt", "-pie", "-Wl,-s"]
    done = sh("penglai", "build", "-c", "main.c", *options, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_undefined_ends_a_program_that_was_compiled_to_look_for_it(here: Path):
    (here / "main.c").write_text("int main(int count, char **a) { return 0x7fffffff + count; }\n")
    made = penglai.build(here / "main.c", flags=["-fsanitize=undefined", "-fno-sanitize-recover=all"])
    with penglai.Machine("64M") as machine:
        assert machine.create(made).run(60).reason is penglai.Reason.FAULTED


@pytest.mark.parametrize("suffix", [".C", ".c++", ".cp", ".CPP", ".cxx", ".cc", ".cpp"])
def test_suffixes_of_cpp(here: Path, suffix: str):
    text = "#include <vector>\nint main() { std::vector<int> v{1, 2, 3}; return v.size(); }\n"
    (here / f"p{suffix}").write_text(text)
    must("penglai", "build", f"p{suffix}", "-o", "p", cwd=here)
    assert value(here / "p") == 3


CXX_PART = """
#include <string>
extern "C" int part() { try { throw std::string("four"); } catch (const std::string &s) { return s.size(); } }
"""
CALLER = "int part(void);\nint main(void) { return part(); }\n"


class TestObjects:
    """What was compiled from C++ is linked with its library, in whatever it comes."""

    @pytest.fixture
    def parts(self, here: Path) -> Path:
        (here / "part.cpp").write_text(CXX_PART)
        (here / "main.c").write_text(CALLER)
        must("penglai", "build", "-c", "part.cpp", "main.c", cwd=here)
        must("penglai", "ar", "rcs", "libpart.a", "part.o", cwd=here)
        must("penglai", "ar", "rcsT", "thin.a", "part.o", cwd=here)
        must("penglai", "build", "-flto", "-c", "part.cpp", "-o", "bitcode.o", cwd=here)
        return here

    @pytest.mark.parametrize(
        "words",
        ["part.o", "libpart.a", "thin.a", "bitcode.o", "-L. -lpart", "-L . -l part", "-l:libpart.a -L."],
    )
    @pytest.mark.parametrize("compiler", ["build", "cc"])
    def test_are_linked(self, parts: Path, words: str, compiler: str):
        must("penglai", compiler, "main.o", *words.split(), "-o", "made", cwd=parts)
        assert value(parts / "made") == 4

    def test_of_c_are_not_taken_for_them(self, parts: Path):
        assert not refers_to_cxx(parts / "main.o")
        assert refers_to_cxx(parts / "part.o")

    def test_files_that_are_no_objects_are_the_linkers_to_complain_about(self, parts: Path):
        for content in (b"", b"\x7fELF", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, b"!<thin>\n//" + b" " * 58):
            (parts / "bad.o").write_bytes(content)
            assert not refers_to_cxx(parts / "bad.o")

    def test_the_first_object_names_the_program(self, parts: Path):
        must("penglai", "build", "main.o", "part.o", cwd=parts)
        assert value(parts / "main") == 4


class TestOtherResults:
    """Whatever is not linked goes where any compiler puts it."""

    def test_objects_of_several_sources(self, here: Path):
        (here / "sub").mkdir()
        (here / "sub" / "other.c").write_text("int other;\n")
        must("penglai", "build", "-c", "main.c", "sub/other.c", cwd=here)
        for name in ("main.o", "other.o"):
            elf = ELFFile(io.BytesIO((here / name).read_bytes()))
            assert (elf["e_type"], elf["e_machine"]) == ("ET_REL", "EM_RISCV")

    def test_an_object_with_a_name(self, here: Path):
        done = sh("penglai", "build", "-c", "main.c", "-o", "x.obj", cwd=here)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (here / "x.obj").exists()

    def test_preprocessed_text_and_assembler(self, here: Path):
        assert "return 3;" in must("penglai", "build", "-E", "-D", "X=3", "main.c", cwd=here)
        must("penglai", "build", "-S", "main.c", cwd=here)
        assert "main:" in (here / "main.s").read_text()
        must("penglai", "build", "main.s", cwd=here)
        assert value(here / "main") == 7

    @pytest.mark.parametrize("option", ["-M", "-MM"])
    def test_rules_for_make(self, here: Path, option: str):
        said = must("penglai", "build", option, "-I", "include", "-include", "header.h", "main.c", cwd=here)
        assert said.startswith("main.o: ")
        assert "include/header.h" in said

    def test_rules_beside_an_object(self, here: Path):
        must("penglai", "build", "-c", "main.c", "-MMD", "-MP", "-MF", "x.d", "-o", "x.o", cwd=here)
        assert (here / "x.d").read_text() == "x.o: main.c\n"

    def test_files_beside_a_program_have_its_name(self, here: Path):
        must("penglai", "build", "main.c", "-MMD", "-g", "-gsplit-dwarf", "-o", "made", cwd=here)
        names = {path.name for path in here.iterdir()}
        assert names == {"main.c", "include", "made", "made.d", "made-main.dwo"}

    def test_from_standard_input(self, here: Path):
        done = sh(
            "penglai", "build", "-x", "c", "-", "-o", "p", cwd=here, text="int main(void) { return 9; }"
        )
        assert done.returncode == 0, done.stderr
        assert value(here / "p") == 9
        done = sh("penglai", "build", "-x", "c", "-", cwd=here, text="int x;")
        assert (done.returncode, done.stderr) == (1, "penglai: name the program that is to be made with -o\n")

    def test_a_device(self, here: Path):
        must("penglai", "build", "main.c", "-o", "/dev/null", cwd=here)
        assert Path("/dev/null").is_char_device()


def test_names_of_any_bytes(here: Path):
    name = os.fsdecode(b"n\xe9 'm")
    (here / "main.c").rename(here / f"{name}.c")
    done = sh("penglai", "build", f"{name}.c", cwd=here)
    assert done.returncode == 0, done.stderr
    assert value((here / name).rename(here / "made")) == 7


def test_warnings_are_shown_and_are_no_errors(here: Path):
    (here / "main.c").write_text("int main(void) { int unused; return 0; }\n")
    done = sh("penglai", "build", "-Wall", "main.c", cwd=here)
    assert done.returncode == 0
    assert "main.c:1:22: warning: unused variable" in done.stderr


def test_shared_libraries_are_refused_with_the_reason(here: Path):
    done = sh("penglai", "build", "-shared", "-fPIC", "main.c", "-o", "x.so", cwd=here)
    assert done.returncode == 1
    assert "shared libraries cannot be linked" in done.stderr
    assert not (here / "x.so").exists()


class TestResponseFiles:
    def test_words_come_from_a_file(self, here: Path):
        (here / "words").write_text("-D X=3\n@more 'main.c'\n")
        (here / "more").write_text('-o "a program"')
        must("penglai", "build", "@words", cwd=here)
        assert value(here / "a program") == 3

    def test_a_name_that_is_no_file_is_a_word(self, tmp_path: Path):
        assert expand(["@none", "@", f"@{tmp_path}"]) == ["@none", "@", f"@{tmp_path}"]

    @pytest.mark.parametrize(("text", "message"), [("@words", "names itself"), ("'", "No closing quotation")])
    def test_files_that_cannot_be_read(self, here: Path, text: str, message: str):
        (here / "words").write_text(text)
        done = sh("penglai", "build", "@words", cwd=here)
        assert done.returncode in (1, 2)
        assert message in done.stderr
        assert "Traceback" not in done.stderr

    @given(st.lists(st.text(string.ascii_letters + " \t'\"\\#$@=-", min_size=1, max_size=8), max_size=6))
    def test_quoted_words_are_as_they_were(self, tmp_path_factory: pytest.TempPathFactory, words: list[str]):
        file = tmp_path_factory.mktemp("words") / "file"
        file.write_text("\n".join(shlex.quote(word).replace("\\", "\\\\") for word in words))
        assert expand([f"@{file}"]) == words


def test_make_with_its_own_rules(here: Path):
    """An ordinary Makefile, with the variables that make knows."""
    (here / "part.c").write_text("int part(void) { return PART; }\n")
    (here / "main.c").write_text(CALLER)
    (here / "Makefile").write_text(
        "CFLAGS = -O2 -g -Wall -MMD -march=rv64gc\nCPPFLAGS = -I include -D PART=6\nLDLIBS = -lm\n"
        "main: main.o libpart.a(part.o)\n"
    )
    for compiler, program in (("penglai build", "main"), ("penglai cc", "main")):
        must("make", f"CC={compiler}", "AR=penglai ar", cwd=here)
        assert value(here / program) == 6
        for path in (*here.glob("*.o"), here / "main", here / "libpart.a"):
            path.unlink()
