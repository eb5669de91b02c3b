"""The same C in an enclave, in a bare Unicorn loop, in qemu-riscv64, and compiled for this machine."""

import importlib
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import penglai
from benchmarks import coremark
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import bare, enclave, native, user
from penglai.abi.errors import ToolchainError
from penglai.machine.engine import choose
from penglai.machine.library import library

Way = Callable[[], tuple[int, int]]
"""Runs a program once: (ns, result)."""
ENCLAVE = "enclave"
BARE = "bare Unicorn"
QEMU = "qemu-riscv64"
KINDS = {
    "INTEGER": ("integer", 400),
    "FLOAT": ("floating point", 120),
    "MEMORY": ("memory", 40),
    "BRANCHY": ("branchy", 40),
}
"""Kind: its name, and how many rounds take from 30 to 130 ms natively."""
SHORT_ROUNDS = 12
"""Of floating point, some 3 ms natively: what a short first run takes, translation included."""
NATIVE_LIMITS = {"integer": 1.15, "floating point": 1.5, "memory": 1.2, "branchy": 1.35}
"""Times native, where enclaves run as code of the machine."""
COREMARK_ITERATIONS = 2000
"""Take about a second; one more, of the validation run, goes before them and is not counted."""


def in_enclave(image: bytes) -> tuple[int, int]:
    """(ns on the hart, result)."""
    with penglai.Machine("64M", harts=1, state=None) as machine:
        made = machine.create(image)
        result = made.run()
        assert result.value is not None, result
        return made.info().run_time, result.value


def as_program(command: list[str | Path]) -> tuple[int, int]:
    """(ns, result), as the program prints them."""
    taken, result = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    return int(taken), int(result)


def measure(report: Report, effort: Effort) -> None:
    speeds = []
    for kind, (name, rounds) in KINDS.items():
        flags = (f"-D{kind}", f"-DROUNDS={effort.rounds(rounds, 1)}")
        series, _ = take_turns(name, ways(*flags), effort)
        compare(report, name, series)
        speeds.append(series[BARE].p50 / series[ENCLAVE].p50)
        if choose().name == "native":
            ratio = series[ENCLAVE].p50 / series["native"].p50
            report.bar(f"{name}, to native", ratio, NATIVE_LIMITS[name], "x")
    flags = ("-DFLOAT", f"-DROUNDS={effort.rounds(SHORT_ROUNDS, 1)}")
    series, _ = take_turns("floating point", ways(*flags), effort)
    compare(report, "floating point, a short run", series)
    mean = math.exp(sum(map(math.log, speeds)) / len(speeds))
    report.bar("speed of compute, to a bare Unicorn loop (geometric mean)", mean, 0.85, "x", least=True)
    known_benchmark(report, effort)


def known_benchmark(report: Report, effort: Effort) -> None:
    """CoreMark, whose figures readers know from elsewhere; it is in no bar."""
    try:
        sources = coremark.sources()
    except ToolchainError as error:
        report.notes.append(f"CoreMark: not measured: {error}")
        return
    iterations = effort.rounds(COREMARK_ITERATIONS, 10)
    series, result = take_turns("CoreMark", ways(*coremark.flags(iterations), more=sources), effort)
    assert result in coremark.RIGHT, "CoreMark: its own check of its results fails"
    report.figure("CoreMark: iterations in an enclave", iterations / series[ENCLAVE].p50 * 1e6, "a second")
    compare(report, "CoreMark", series)


def ways(*flags: str, more: tuple[Path, ...] = ()) -> dict[str, Way]:
    """compute.c with these flags and more sources, ready to run on each machine."""
    image = enclave("compute.c", "-DENCLAVE", *flags, more=more)
    here = native("compute.c", *flags, more=more)
    library()  # before Unicorn's own binding, as in a process without one (docs/engine.md)
    bare_loop = importlib.import_module("benchmarks.bareunicorn").Bare
    found: dict[str, Way] = {
        ENCLAVE: lambda: in_enclave(image),
        BARE: bare_loop(bare("compute.c", *flags, more=more)).run,
        "native": lambda: as_program([here]),
    }
    if shutil.which(QEMU):
        there = user("compute.c", *flags, more=more)
        found[QEMU] = lambda: as_program([QEMU, there])
    return found


def take_turns(name: str, each: dict[str, Way], effort: Effort) -> tuple[dict[str, Series], int]:
    """Times by machine, and the result, which is the same on all."""
    series = {way: Series() for way in each}
    results = set()
    for _ in range(effort.rounds(7, 1)):
        for way, run in each.items():
            taken, result = run()
            series[way].times.append(taken)
            results.add(result)
    assert len(results) == 1, f"{name}: the results differ: {results}"
    return series, results.pop()


def compare(report: Report, name: str, series: dict[str, Series]) -> None:
    """A row for each machine beside the enclave."""
    for way, times in series.items():
        if way != ENCLAVE:
            report.times(f"{name}, beside {way}", series[ENCLAVE], times, way)
