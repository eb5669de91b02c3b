"""Host programs in C: they compile, speak the ABI, and do what they say.

Linux is not needed: what runs, runs on the fake device of tests/support/hostdevice.
"""

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.support.hostdevice import (
    CALLS,
    FAULTS,
    LOOPS,
    RELAYS,
    SOURCES,
    SUM_OF_A_PAGE,
    SUMS,
    Demo,
    image,
    native,
    run,
)

import penglai
from penglai.abi import report
from penglai.sdk import hostbuild
from penglai.sdk.hostbuild import HOST, build_host, build_host_demo, host_demos

DEMOS = ["attest", "fork-host", "fshost", "host", "shadow", "test-caller", "test-stop"]


def is_static_riscv(program: Path) -> bool:
    with program.open("rb") as stream:
        elf = ELFFile(stream)
        interpreters = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_INTERP"]
        return (elf.elfclass, elf["e_machine"], elf["e_type"], interpreters) == (
            64,
            "EM_RISCV",
            "ET_EXEC",
            [],
        )


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Demo:
    return Demo(tmp_path, request.param)


def on_fake(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("demo", names, indirect=True)


class TestCompiling:
    def test_the_demos_are_these(self):
        assert host_demos() == DEMOS

    @pytest.mark.parametrize("name", DEMOS)
    def test_every_demo_is_a_static_program(self, name: str):
        made = build_host_demo(name)
        assert is_static_riscv(made)
        assert build_host_demo(name) == made

    def test_a_program_in_c(self, tmp_path: Path):
        (tmp_path / "part.h").write_text("int part(void);\n")
        (tmp_path / "part.c").write_text('#include "part.h"\nint part(void) { return NUMBER; }\n')
        (tmp_path / "mine.c").write_text(
            "#include <link.h>\n"  # includes the C library's elf.h, not ours alone
            '#include "penglai-enclave.h"\n#include "part.h"\n'
            "int main(void) { struct PLenclave e; return PLenclave_init(&e) ? part() : EM_RISCV; }\n"
        )
        made = build_host(
            [tmp_path / "mine.c", tmp_path / "part.c"], flags=["-DNUMBER=3", "-Wpedantic", "-Werror"]
        )
        assert made == tmp_path / "mine"
        assert is_static_riscv(made)

    def test_a_program_in_cxx(self, tmp_path: Path):
        source = tmp_path / "mine.cpp"
        source.write_text(
            '#include <string>\n#include "penglai-enclave.h"\n'
            "int main(int, char **argv) { PLenclave e; elf_args elf; return PLenclave_init(&e)"
            " || elf_args_init(&elf, std::string(argv[0]).c_str()); }\n"
        )
        assert is_static_riscv(
            build_host(source, tmp_path / "out", ["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        )

    def test_the_modules_sources_lie_beside_the_host_programs(self):
        assert hostbuild.module_dir() == HOST.include.parents[1] / "module"


class TestBuildErrors:
    def test_the_compilers_messages_are_shown_and_nothing_is_made(self, tmp_path: Path):
        source = tmp_path / "bad.c"
        source.write_text("int main( { return undeclared; }\n")
        with pytest.raises(penglai.ToolchainError, match=r"bad\.c:1"):
            build_host(source)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.c"]

    @pytest.mark.parametrize(
        ("sources", "message"),
        [([], "nothing to build"), ("no.c", "no such file: no.c"), (["/"], "no such file: /")],
    )
    def test_sources_that_are_none(self, sources: str | list[str], message: str):
        with pytest.raises(penglai.ToolchainError, match=message):
            build_host(sources, "out")

    def test_a_source_is_not_overwritten(self, tmp_path: Path):
        source = tmp_path / "program"
        source.write_text("int main;")
        with pytest.raises(penglai.ToolchainError, match="overwrite"):
            build_host(source)

    @pytest.mark.parametrize("name", ["common", "loop", "../lib/elf"])
    def test_a_demo_that_is_none(self, name: str):
        with pytest.raises(penglai.ImageError, match=r"no host program .*; there are attest, fork-host"):
            build_host_demo(name)


def test_the_library_keeps_its_promises(tmp_path: Path):
    program = native("library-test", SOURCES / "library-test.c")
    done = run(program, image(tmp_path, LOOPS), image(tmp_path, RELAYS))
    assert (done.returncode, done.stderr) == (0, "")


@on_fake("host", "fork-host")
class TestHost:
    def test_it_runs_many_at_once(self, demo: Demo):
        done = demo(demo.image(SUMS), 7)
        assert done.returncode == 0
        ends = [line.split(" ", 2)[2] for line in done.stdout.splitlines()]
        assert ends == [f"exited with value {SUM_OF_A_PAGE}"] * 7

    def test_pages_that_come_back_are_followed_by_others(self, demo: Demo):
        done = demo(demo.image(RELAYS), 1)
        assert done.stdout == f"enclave 1 exited with value {2 * SUM_OF_A_PAGE}\n"
        assert done.returncode == 0

    def test_a_fault_is_a_failure(self, demo: Demo):
        done = demo(demo.image(FAULTS))
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{demo.program.name}: enclave 1 did not run to its end: Bad address\n" in done.stderr

    @pytest.mark.parametrize(
        ("breaks", "message"),
        [
            ("open", "cannot open /dev/penglai_enclave_dev: No such file or directory"),
            ("create", "cannot create an enclave: "),
        ],
    )
    def test_a_device_that_fails(self, demo: Demo, breaks: str, message: str):
        done = demo(demo.image(SUMS), breaks=breaks)
        assert done.returncode == 1
        assert f"{demo.program.name}: {message}" in done.stderr

    @pytest.mark.parametrize("arguments", [(), ("e", 0), ("e", 101), ("e", "1x"), ("e", ""), ("e", 1, 1)])
    def test_how_it_is_not_called(self, demo: Demo, arguments: tuple[object, ...]):
        done = demo(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"usage: {demo.program.name} EAPP")


@on_fake(*DEMOS)
def test_every_demo_says_what_is_wrong_with_a_file(demo: Demo):
    text = demo.directory / "text"
    text.write_text("no program")
    for path, reason in (
        (demo.directory / "none", f"cannot read {demo.directory}/none: No such file or directory"),
        (text, f"{text} is no enclave program: Exec format error"),
    ):
        arguments = (path, path) if demo.program.name in ("test-caller", "fshost") else (path,)
        done = demo(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{demo.program.name}: {reason}\n"


@on_fake("test-caller", "fshost", "test-stop", "attest", "shadow")
def test_every_demo_says_how_it_is_called(demo: Demo):
    done = demo()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {demo.program.name} ")


@on_fake("fshost")
def test_servers_of_files_are_made_before_their_client(demo: Demo):
    done = demo(demo.image(CALLS), demo.image(SUMS), demo.image(SUMS))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("enclave 3 exited")


@on_fake("test-caller")
class TestCaller:
    def test_the_caller_finds_the_servers_by_their_names(self, demo: Demo):
        done = demo(demo.image(CALLS), *[demo.image(SUMS)] * 12)
        assert (done.returncode, done.stdout) == (0, "enclave 13 exited with value 12\n")

    def test_a_server_that_cannot_be_read(self, demo: Demo):
        done = demo(demo.image(CALLS), demo.image(SUMS), "/none")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "test-caller: cannot read /none: No such file or directory\n"


@on_fake("test-stop")
class TestStop:
    def test_it_stops_resumes_and_destroys(self, demo: Demo):
        done = demo(demo.image(LOOPS))
        assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
            "stop: ok",
            "resume: ok",
            "destroy: ok",
            "run: returned 0",
        ]
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("breaks", "message"),
        [
            ("stop", "stop: the enclave did not stay stopped"),
            ("resume", "resume: the enclave does not go on"),
            ("destroy", "destroy: the enclave is still there"),
            ("run", "run: it should have returned 0: Bad address"),
        ],
    )
    def test_a_step_that_does_nothing_is_found_out(self, demo: Demo, breaks: str, message: str):
        done = demo(demo.image(LOOPS), breaks=breaks)
        assert done.returncode == 1
        assert f"test-stop: {message}" in done.stderr

    def test_an_enclave_that_faults(self, demo: Demo):
        done = demo(demo.image(FAULTS))
        assert done.returncode == 1
        assert "stop: the enclave is not running" in done.stderr


@on_fake("attest")
class TestAttest:
    def test_the_report_is_printed_and_written(self, demo: Demo):
        output = demo.directory / "report"
        done = demo("-o", output, demo.image(SUMS), "0xfedcba9876543210")
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split()[-1] for line in done.stdout.splitlines()] == [
            "ab" * 32,
            "0xfedcba9876543210",
            "cd" * 32,
            "ef" * 64,
        ]
        written = report.ReportLayout.from_buffer_copy(output.read_bytes())
        assert output.stat().st_size == report.REPORT_BYTES
        assert (written.enclave.nonce, bytes(written.monitor.hash)) == (0xFEDCBA9876543210, b"\xcd" * 32)

    def test_without_a_nonce_it_is_another_one_each_time(self, demo: Demo):
        assert demo(demo.image(SUMS)).stdout != demo(demo.image(SUMS)).stdout

    def test_another_nonce_is_noticed(self, demo: Demo):
        done = demo(demo.image(SUMS), 5, breaks="attest")
        assert (done.returncode, done.stdout) == (1, "")
        assert "the report has another nonce, 0x6" in done.stderr

    def test_a_file_that_cannot_be_written(self, demo: Demo):
        done = demo("-o", demo.directory, demo.image(SUMS), 5)
        assert done.returncode == 1
        assert f"attest: cannot write {demo.directory}: Is a directory" in done.stderr

    @pytest.mark.parametrize("nonce", ["-1", "five", "", "1 2", "0x10000000000000000"])
    def test_a_nonce_that_is_none(self, demo: Demo, nonce: str):
        assert demo("--", demo.image(SUMS), nonce).returncode == 2


@on_fake("shadow")
class TestShadow:
    def test_instances_end_and_the_template_is_destroyed_last(self, demo: Demo):
        done = demo(demo.image(SUMS))
        assert done.stdout.splitlines() == [
            "shadow 1 created",
            *(f"enclave {eid} exited with value {SUM_OF_A_PAGE}" for eid in (2, 3, 4)),
            "shadow 1 destroyed",
        ]
        assert (done.returncode, done.stderr) == (0, "")

    def test_an_instance_keeps_its_eid_when_it_is_run_again(self, demo: Demo):
        done = demo(demo.image(RELAYS), 1)
        assert done.stdout.splitlines()[1] == f"enclave 2 exited with value {2 * SUM_OF_A_PAGE}"

    def test_after_a_fault_the_template_is_destroyed_too(self, demo: Demo):
        done = demo(demo.image(FAULTS), 5)
        assert (done.returncode, done.stdout) == (1, "shadow 1 created\nshadow 1 destroyed\n")


def test_checks_of_host_programs_are_traps(tmp_path: Path):
    """There is no library for their messages, as there is for enclaves."""
    (tmp_path / "sum.c").write_text("int main(int count, char **words) { return 0x7fffffff + count; }\n")
    build_host(tmp_path / "sum.c", tmp_path / "sum", ["-fsanitize=undefined", "-fstack-protector-strong"])
    assert (tmp_path / "sum").exists()
