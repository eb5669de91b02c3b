"""Samples of an endless program: enough of them, however busy the machine is."""

from pathlib import Path

import penglai
from penglai.debug.symbols import Program
from tests.support.waiting import until

ENOUGH = 5


def run_until_sampled(machine: penglai.Machine, enclave: penglai.Enclave, program: Path) -> None:
    """Run an enclave until there are samples of a function `spin` of this program, and destroy it."""
    elf = Program(program.read_bytes())

    def spins() -> int:
        there = [elf.function(each.enclaves[0].pc) for each in machine.time_profile.samples.kept()]
        return sum(symbol is not None and symbol.name == "spin" for symbol in there)

    enclave.start()
    until(lambda: spins() >= ENOUGH)
    enclave.destroy()
