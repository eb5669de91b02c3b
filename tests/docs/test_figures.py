"""Figures and lists of names in the documentation that the sources can be asked for."""

import re
from pathlib import Path

import pytest
from tests.docs.test_docs import ROOT

from penglai.abi.ecall import EnclaveCall
from penglai.abi.sbi import HostCall, RunValue
from penglai.sdk.hostbuild import module_dir

SOURCES = ROOT / "src/penglai"


def page(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def lines_of(*patterns: str) -> int:
    paths = [path for pattern in patterns for path in SOURCES.glob(pattern)]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


@pytest.mark.parametrize(
    ("words", "patterns"),
    [
        (r"`penglai\.monitor` has about ([\d,]+) lines", ["monitor/*.py"]),
        (r"`src/penglai/sdk/module`, some ([\d,]+) lines of C", ["sdk/module/*.c", "sdk/module/*.h"]),
    ],
)
def test_what_there_is_to_read_is_as_long_as_the_architecture_says(words: str, patterns: list[str]):
    said = re.search(words, page("docs/architecture.md"))
    assert said is not None
    lines = lines_of(*patterns)
    assert abs(int(said[1].replace(",", "")) - lines) < lines // 10, lines


def test_decision_11_names_the_files_of_the_hart():
    text = page("docs/decisions/0011-the-hart-in-several-files.md")
    files = {path.name for pattern in ("*.c", "*.h") for path in (SOURCES / "machine").glob(pattern)}
    assert set(re.findall(r"`(\w+\.[ch])`", text)) == files


def test_the_architecture_names_the_files_of_the_module():
    text = page("docs/architecture.md")
    reading = text[text.index("## Reading penglai.ko") :]
    assert {path.name for path in module_dir().glob("*.c")} <= set(re.findall(r"`(\w+\.c)`", reading))


def test_how_long_an_image_takes_is_said_alike_everywhere():
    said = {
        name: re.findall(r"some (\w+) minutes", page(name))
        for name in ("README.md", "docs/guides/linux.md", "src/penglai/cli/imaging.py")
    }
    assert set(map(tuple, said.values())) == {("eight",)}


def test_the_caveats_name_what_is_not_of_penglai_tvm():
    text = page("docs/caveats.md")
    numbers = re.search(r"functions 1 to (\d) \(.*?\), and values (\d) and (\d) after run", text)
    assert numbers is not None
    own = [call for call in HostCall if call < HostCall.DESTROY_SHADOW]
    assert sorted(own) == list(range(1, int(numbers[1]) + 1))
    assert [RunValue(int(numbers[2])), RunValue(int(numbers[3]))] == [RunValue.FAULTED, RunValue.ELSEWHERE]
    calls = re.search(r"enclave's calls 1 to (\d)", text)
    assert calls is not None
    assert sorted(call for call in EnclaveCall if call < EnclaveCall.SHM_STAT) == list(
        range(1, int(calls[1]) + 1)
    )


PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
SOMEBODY_ELSES = {"core_main.c", "hello.c", "syscall_arch.h"}
"""CoreMark's, one that the reader writes, and musl's."""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_source_that_is_named_exists(path: Path):
    named = set(re.findall(r"`([\w/-]+\.(?:py|c|h))`", path.read_text(encoding="utf-8"))) - SOMEBODY_ELSES
    there = [each for room in ("src", "tests", "benchmarks") for each in (ROOT / room).rglob("*.[pch]*")]
    names = [f"/{each.relative_to(ROOT)}" for each in there]
    assert [name for name in named if not any(each.endswith(f"/{name}") for each in names)] == []
