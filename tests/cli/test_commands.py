"""The penglai command, as a user types it."""

import io
import itertools
import json
import os
import re
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pexpect
import pytest
from elftools.elf.elffile import ELFFile
from tests.support.person import PENGLAI
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE

from penglai import demos


def penglai(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PENGLAI, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "COLUMNS": "110"},
    )


def one_line(text: str) -> bool:
    return len(text.strip().splitlines()) == 1


class TestRun:
    def test_output_goes_to_stdout_and_the_rest_to_stderr(self):
        done = penglai("run", "hello-world")
        assert (done.returncode, done.stdout) == (0, "hello world!\n")
        assert done.stderr == "enclave 1 exited with value 0\n"

    def test_the_status_is_0_whatever_the_value_unless_it_is_wanted(self):
        program = eapp("EAPP_RETURN(7);")
        assert penglai("run", program).returncode == 0
        assert penglai("run", program, "--exit-value").returncode == 7

    def test_json(self):
        done = penglai("run", "prime", "--json", "--memory", "16M", "--harts", "1")
        assert done.stderr == ""
        answer = json.loads(done.stdout)
        assert answer["reason"] == "EXITED"
        assert answer["value"] == 78498
        assert answer["output"] == "prime: 78498 primes below 1000000\n"
        assert len(answer["measurement"]) == 64
        assert answer["run_time_ns"] > 0
        assert answer["fault"] is None

    def test_shared_memory_is_the_servers_too(self):
        server = eapp("struct call_enclave_arg_t arg = {.resp_val = args[14]}; SERVER_RETURN(&arg);")
        body = (
            'struct call_enclave_arg_t arg = {0}; call_enclave(acquire_enclave("s"), &arg);'
            "EAPP_RETURN(args[11] == 8192 && arg.resp_val == 8192);"
        )
        done = penglai("run", eapp(body), "--server", f"s={server}", "--shm", "8K", "--exit-value")
        assert done.returncode == 1, done.stderr

    def test_relay_pages_have_what_is_in_files(self, tmp_path):
        for name, count in (("one", 1), ("two", 2)):
            (tmp_path / name).write_bytes(count.to_bytes(8, "little") * 1024)
        done = penglai("run", "relay-page", "--relay", tmp_path / "one", "--relay", tmp_path / "two")
        assert done.stderr == "enclave 1 exited with value 3072\n", done.stdout
        (tmp_path / "none").touch()
        for name in ("none", "missing"):
            done = penglai("run", "relay-page", "--relay", tmp_path / name)
            assert (done.returncode, one_line(done.stderr)) == (1, True)

    def test_a_disk_is_a_file(self, tmp_path):
        write = eapp(
            "((char *)args[13])[0] = 7; struct call_enclave_arg_t arg = {0};"
            "arg.resp_val = eapp_persistency_write_sec(2); SERVER_RETURN(&arg);"
        )
        body = (
            'struct call_enclave_arg_t arg = {0}; call_enclave(acquire_enclave("s"), &arg);'
            "EAPP_RETURN(args[11] || arg.resp_val);"
        )
        disk = tmp_path / "disk"
        done = penglai("run", eapp(body), "--server", f"s={write}", "--disk", disk, "--exit-value")
        assert done.returncode == 0, done.stderr
        assert disk.read_bytes()[8192] == 7

    def test_a_fault(self):
        done = penglai("run", eapp("*(volatile int *)0x123000 = 1;"))
        assert done.returncode == 1
        *explanation, last = done.stderr.splitlines()
        assert last.startswith("penglai: ")
        assert last.endswith("was destroyed: store page fault at 0x123000")
        assert any(line.startswith("#0") for line in explanation)
        answer = penglai("run", eapp("*(volatile int *)0x123000 = 1;"), "--json")
        fault = json.loads(answer.stdout)["fault"]
        assert (fault["cause"], fault["address"]) == (15, 0x123000)
        assert answer.returncode == 1

    def test_a_timeout(self):
        done = penglai("run", "loop", "--timeout", "0.2")
        assert done.returncode == 1
        assert "was destroyed: it was still alive after 0.2 seconds" in done.stderr

    def test_nobody_reads_any_more(self):
        with subprocess.Popen(
            [PENGLAI, "run", "loop"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"loop: enclave 1 begins\n"
            process.stdout.close()
            assert process.wait(PATIENCE) == 1
            assert process.stderr is not None
            assert process.stderr.read() == b""

    def test_ctrl_c(self):
        child = pexpect.spawn(PENGLAI, ["run", "loop"], timeout=PATIENCE)
        child.expect("round 1")
        child.sendintr()
        child.expect("interrupted")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "nothing"], 1, "no such file: nothing"),
        (["run", __file__], 1, "is not an ELF file"),
        (["run", "/bin/sh"], 1, "is an ELF for x64"),
        (["run", "loop", "--memory", "3M"], 1, "must be a multiple of 2 MiB"),
        (["run", "loop", "--memory", "lots"], 1, "'lots' is not a size"),
        (["run", "loop", "--harts", "0"], 1, "must have 1 to 64"),
        (["run", "loop", "--stack-size", "0"], 1, "a stack of 0 bytes"),
        (["run", "loop", "--stack-size", "1G"], 1, "start it with more memory"),
        (["build", "nothing.c"], 1, "no such file: nothing.c"),
        (["test-stop", "hello-world"], 1, "ended by itself"),
        (["run"], 2, "Missing argument"),
        (["run", "loop", "--harts", "two"], 2, "Invalid value"),
        (["frobnicate"], 2, "No such command"),
        (["run", "loop", "--frobnicate"], 2, "No such option"),
        (["build"], 2, "Missing argument"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_line(arguments: list[str], status: int, message: str):
    done = penglai(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert one_line(done.stderr)


class TestTutorial:
    def test_every_step_shows_what_it_should(self):
        done = penglai("test-stop", "loop", "--seconds", "0.2")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line.split()[1] for line in lines[1:]] == ["create", "run", "stop", "resume", "destroy"]
        assert all(line.startswith("✓") for line in lines[1:])
        assert re.search(r"stop .* STOPPED .* ran 0 ms of 200 ms", done.stdout)
        assert "run() returned DESTROYED" in done.stdout

    def test_json(self):
        answer = json.loads(penglai("test-stop", "loop", "--json", "--seconds", "0.1", "--harts", "1").stdout)
        assert answer["ok"] is True
        states = [step["state"] for step in answer["steps"]]
        assert (states[0], states[2], states[4]) == ("FRESH", "STOPPED", "DESTROYED")
        assert states[1] in ("RUNNING", "RUNNABLE", "OCALL")
        times = [step["run_time_ns"] for step in answer["steps"]]
        assert times == sorted(times)


class TestTheCommandItself:
    def test_version(self):
        done = penglai("--version")
        assert done.returncode == 0
        assert done.stdout == f"penglai {version('pypenglai')}\n"

    def test_a_misspelt_command_or_option_names_the_nearest(self):
        done = penglai("rnu")
        assert done.returncode == 2
        assert "Did you mean 'run'?" in done.stderr
        assert "--stats" in penglai("run", "loop", "--sats").stderr

    def test_a_shell_completes_commands_and_options(self):
        def complete(line: str) -> list[str]:
            words = line.split(" ")
            wanted = {
                "_PENGLAI_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(words) - 1),
            }
            done = subprocess.run(
                [PENGLAI], env={**os.environ, **wanted}, capture_output=True, text=True, check=False
            )
            return done.stdout.split()

        assert complete("penglai te") == ["test-stop"]
        assert "--stats" in complete("penglai run --st")

    def test_paragraphs_of_help_wrap(self):
        narrow = {**os.environ, "COLUMNS": "60"}
        help_text = subprocess.check_output([PENGLAI, "trace", "--help"], env=narrow, text=True)
        assert all(len(line) <= 60 for line in help_text.splitlines())
        _, _, *paragraphs = re.split(r"\n\s*\n", help_text.partition("╭")[0].rstrip())
        for paragraph in paragraphs:
            for line, following in itertools.pairwise(map(str.split, paragraph.splitlines())):
                assert len(" ".join([*line, following[0]])) > 57, "only a full line is broken"


class TestTools:
    def test_build_passes_flags_on(self, tmp_path: Path):
        (tmp_path / "p.c").write_text('#include "eapp.h"\nint EAPP_ENTRY main(void) { return NUMBER; }\n')
        done = penglai("build", "p.c", "-o", "p.elf", "-O1", "-DNUMBER=9", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert penglai("run", tmp_path / "p.elf", "--exit-value").returncode == 9
        done = penglai("build", "-DNUMBER=8", "p.c", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert penglai("run", "./p", "--exit-value", cwd=tmp_path).returncode == 8

    def test_build_makes_host_programs(self, tmp_path: Path):
        source = '#include "penglai-enclave.h"\nint main(void) { return -PENGLAI_NAME_BYTES; }\n'
        (tmp_path / "h.c").write_text(source)
        done = penglai("build", "--host", "h.c", "-DUNUSED", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        elf = ELFFile(io.BytesIO((tmp_path / "h").read_bytes()))
        assert (elf["e_machine"], elf["e_type"]) == ("EM_RISCV", "ET_EXEC")
        assert not elf.get_section_by_name(".interp")

    def test_a_failed_build_shows_the_compilers_message(self, tmp_path: Path):
        (tmp_path / "p.c").write_text("int main( {\n")
        done = penglai("build", "p.c", cwd=tmp_path)
        assert done.returncode == 1
        assert "p.c:1:11: error" in done.stderr
        assert not (tmp_path / "p").exists()

    def test_demos(self):
        done = penglai("demos")
        assert done.returncode == 0
        rows = [line for line in done.stdout.splitlines()[:-1] if not line.startswith(" ")]
        listed = [row.split()[0] for row in rows]
        assert listed == demos()
        rows = json.loads(penglai("demos", "--json").stdout)
        assert all(Path(row["source"]).is_file() for row in rows)

    def test_doctor_finds_everything_well(self):
        done = penglai("doctor")
        assert done.returncode == 0, done.stdout
        assert "✗" not in done.stdout
        answer = json.loads(penglai("doctor", "--json").stdout)
        assert answer["ok"] is True
        assert {"unicorn", "ziglang", "engine", "compiler", "machine"} <= {
            row["what"] for row in answer["findings"]
        }

    def test_doctor_says_what_is_wrong_and_what_would_help(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        done = subprocess.run(
            [PENGLAI, "doctor"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "PENGLAI_CACHE": str(tmp_path / "file" / "cache")},
        )
        assert done.returncode == 1
        assert re.search(r"✗ cache .*\n  remedy: make it writable, or set PENGLAI_CACHE", done.stdout)

    def test_version(self):
        assert penglai("version").stdout.startswith("pypenglai 0.1.0  python 3.")
        assert set(json.loads(penglai("version", "--json").stdout)) == {
            "pypenglai",
            "python",
            "unicorn",
            "ziglang",
        }

    def test_help_is_there_for_every_command(self):
        overview = penglai("--help").stdout
        for command in (
            "run",
            "test-stop",
            "measure",
            "attest",
            "verify",
            "build",
            "demos",
            "doctor",
            "version",
        ):
            assert command in overview
            assert penglai(command, "--help").returncode == 0
        bare = penglai()
        assert bare.returncode in (0, 2)
        assert "Usage" in bare.stdout + bare.stderr
