"""The same C in an enclave, in a bare Unicorn loop, in qemu-riscv64, and compiled for this machine."""

import io
import math
import shutil
import subprocess
import time
from pathlib import Path

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import riscv_const

import penglai
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import bare, enclave, native, user

QEMU = "qemu-riscv64"
KINDS = {
    "INTEGER": ("integer", 400),
    "FLOAT": ("floating point", 12),
    "MEMORY": ("memory", 40),
    "BRANCHY": ("branchy", 40),
}
"""Kind: its name, and how many rounds take about a fifth of a second."""
RAM = 32 << 20
STACK = RAM - 16
MSTATUS_FS = 3 << 13
U_MODE = 0


class Bare:
    """A program in Unicorn as its own documentation would run it: U-mode, no translation, no hook."""

    def __init__(self, image: bytes) -> None:
        self._elf = ELFFile(io.BytesIO(image))
        symbols = self._elf.get_section_by_name(".symtab")
        self._end = symbols.get_symbol_by_name("bare_end")[0]["st_value"]

    def run(self) -> tuple[int, int]:
        """(ns, result)."""
        machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        machine.mem_map(0, RAM)
        for segment in self._elf.iter_segments("PT_LOAD"):
            machine.mem_write(segment["p_vaddr"], segment.data())
        machine.reg_write(riscv_const.UC_RISCV_REG_MSTATUS, MSTATUS_FS)
        machine.reg_write(riscv_const.UC_RISCV_REG_SP, STACK)
        machine.reg_write(riscv_const.UC_RISCV_REG_PRIV, U_MODE)
        begun = time.perf_counter_ns()
        machine.emu_start(self._elf.header["e_entry"], self._end)
        taken = time.perf_counter_ns() - begun
        return taken, machine.reg_read(riscv_const.UC_RISCV_REG_A0)


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
        image, loop, here = enclave("compute.c", "-DENCLAVE", *flags), Bare(bare("compute.c", *flags)), native
        binaries = {"native": here("compute.c", *flags), QEMU: user("compute.c", *flags)}
        ways = {
            "enclave": lambda image=image: in_enclave(image),
            "bare Unicorn": loop.run,
            "native": lambda binaries=binaries: as_program([binaries["native"]]),
        }
        if shutil.which(QEMU):
            ways[QEMU] = lambda binaries=binaries: as_program([QEMU, binaries[QEMU]])
        series = {way: Series() for way in ways}
        results = set()
        for _ in range(effort.rounds(7, 1)):
            for way, run in ways.items():
                taken, result = run()
                series[way].times.append(taken)
                results.add(result)
        assert len(results) == 1, f"{name}: the results differ: {results}"
        for way in ways:
            if way != "enclave":
                report.times(f"{name}, beside {way}", series["enclave"], series[way], way)
        speeds.append(series["bare Unicorn"].p50 / series["enclave"].p50)
    mean = math.exp(sum(map(math.log, speeds)) / len(speeds))
    report.bar("speed of compute, to a bare Unicorn loop (geometric mean)", mean, 0.85, "x", least=True)
