"""The fuzzer finds what was planted, by what is executed, and says with which input."""

from pathlib import Path

import pytest
from tests.cli.test_commands import penglai as command
from tests.support.programs import compiled
from tests.support.traces import TraceFile
from tests.support.waiting import PATIENCE

import penglai
from penglai.testing.batches import Target
from penglai.testing.fuzzing import Failure, Fuzzer
from penglai.testing.mutating import Mutator

HEAD = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
"""
DEEP = """
    if (size < 5 || data[0] != 'F')
        return 0;
    if (data[1] != 'u')
        return 0;
    if (data[2] == 'z' && data[3] > 200)
        *(volatile int *)8 = 1;
"""
REMEMBERS = """
    static int calls;
    if (size > 4 && calls++ > 3)
        abort();
"""
TOO_MANY = 2_000_000
"""Executions: many times what is needed."""


def fuzz(machine: penglai.Machine, body: str, *corpus: bytes, seed: int = 1) -> tuple[Fuzzer, Failure | None]:
    program = compiled(f"{HEAD}{body}\nreturn 0;\n}}\n", "-g", "-lfuzz")
    target = Target(machine, program, longest=64, most=64, timeout=PATIENCE)
    fuzzer = Fuzzer(target, machine.coverage, corpus, Mutator(seed, 64), 64)
    return fuzzer, fuzzer.run(lambda: fuzzer.executions >= TOO_MANY)


@pytest.fixture
def counting():
    with penglai.Machine("64M", 1, coverage=True, state=None) as machine:
        yield machine


def test_a_bug_behind_several_conditions_is_found(counting: penglai.Machine):
    fuzzer, failure = fuzz(counting, DEEP)
    assert failure is not None
    (found,) = failure.inputs
    assert found[:3] == b"Fuz"
    assert found[3] > 200
    assert failure.end.fault is not None
    assert failure.end.fault.address == 8
    assert any(each[:1] == b"F" for each in fuzzer.corpus), "it got there step by step"
    assert fuzzer.executions < TOO_MANY


def test_the_same_seed_finds_the_same():
    found = []
    for _ in range(2):
        with penglai.Machine("64M", 1, coverage=True, state=None) as machine:
            fuzzer, failure = fuzz(machine, DEEP, seed=7)
            assert failure is not None
            found.append((failure.inputs, fuzzer.executions, fuzzer.corpus))
    assert found[0] == found[1]


def test_what_fails_only_after_others_is_given_with_them(counting: penglai.Machine):
    _, failure = fuzz(counting, REMEMBERS)
    assert failure is not None
    assert failure.end.failed == "it gave up, with the value 134"
    assert sum(len(each) > 4 for each in failure.inputs) == 5


def test_a_known_input_that_fails_is_found_first(counting: penglai.Machine):
    fuzzer, failure = fuzz(counting, DEEP, b"Fuz\xff?")
    assert failure is not None
    assert failure.inputs == (b"Fuz\xff?",)
    assert fuzzer.executions == 2, "the empty one, and this"


def test_mutations_stay_within_their_length_and_are_many():
    mutator = Mutator(3, 20)
    corpus = [b"", b"some text", bytes(20)]
    made = {mutator.change(mutator.choose(corpus), corpus) for _ in range(2000)}
    assert max(map(len, made)) <= 20
    assert len(made) > 1000


@pytest.fixture(scope="module")
def program() -> Path:
    return compiled(f"{HEAD}{DEEP}\nreturn 0;\n}}\n", "-g", "-lfuzz")


def test_the_command_writes_the_input_and_runs_it_again(program: Path, tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    done = command(
        "fuzz",
        program,
        "corpus",
        "--runs",
        str(TOO_MANY),
        "--coverage",
        "o.lcov",
        "--trace",
        "t.json",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    (crash,) = tmp_path.glob("crash-*")
    assert crash.read_bytes()[:3] == b"Fuz"
    assert f"it fails with {crash.name}: store page fault at 0x8" in done.stderr
    assert "in LLVMFuzzerTestOneInput (" in done.stderr
    assert list((tmp_path / "corpus").iterdir())
    assert "DA:" in (tmp_path / "o.lcov").read_text()
    assert TraceFile(tmp_path / "t.json").tracks
    again = command("fuzz", program, crash.name, cwd=tmp_path)
    assert (again.returncode, "store page fault at 0x8" in again.stderr) == (1, True)
    harmless = next(path for path in (tmp_path / "corpus").iterdir())
    assert command("fuzz", program, harmless).returncode == 0


def test_the_command_ends_when_it_is_to(program: Path, tmp_path: Path):
    done = command("fuzz", program, "--runs", "128", "--batch", "16", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert command("fuzz", program, "--seconds", "0", cwd=tmp_path).returncode == 0


def test_programs_that_are_none_are_refused(tmp_path: Path):
    done = command("fuzz", "hello-world", cwd=tmp_path)
    assert "define LLVMFuzzerTestOneInput, not main" in done.stderr
    assert command("fuzz", "hello-world", tmp_path / "nothing").returncode == 1


def test_what_takes_too_long_is_a_failure(tmp_path: Path):
    body = f"{HEAD} for (volatile int n = 1; size && n;) n = 1; return 0; }}\n"
    done = command("fuzz", compiled(body, "-lfuzz"), "--timeout", "0.5", cwd=tmp_path)
    assert "it takes longer than 0.5 seconds" in done.stderr
    assert list(tmp_path.glob("crash-*"))
