"""The bare Unicorn loop that an enclave's speed is measured against."""

import io
import time

import unicorn
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile
from unicorn import riscv_const

from penglai.abi.riscv import PAGE_SIZE

RAM = 32 << 20
STACK = RAM - 16
MSTATUS_FS = 3 << 13
U_MODE = 0


class Bare:
    """A program in Unicorn as its own documentation would run it: U-mode, no translation, no hook.

    No page is both writable and executable: stores to such pages go a slower way (docs/engine.md).
    """

    def __init__(self, image: bytes) -> None:
        self._elf = ELFFile(io.BytesIO(image))
        symbols = self._elf.get_section_by_name(".symtab")
        self._end = symbols.get_symbol_by_name("bare_end")[0]["st_value"]

    def run(self) -> tuple[int, int]:
        """(ns, result)."""
        machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        machine.mem_map(0, RAM, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for segment in self._elf.iter_segments("PT_LOAD"):
            machine.mem_write(segment["p_vaddr"], segment.data())
            if segment["p_flags"] & P_FLAGS.PF_X:
                size = -(-segment["p_memsz"] // PAGE_SIZE) * PAGE_SIZE
                machine.mem_protect(segment["p_vaddr"], size, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        machine.reg_write(riscv_const.UC_RISCV_REG_MSTATUS, MSTATUS_FS)
        machine.reg_write(riscv_const.UC_RISCV_REG_SP, STACK)
        machine.reg_write(riscv_const.UC_RISCV_REG_PRIV, U_MODE)
        begun = time.perf_counter_ns()
        machine.emu_start(self._elf.header["e_entry"], self._end)
        taken = time.perf_counter_ns() - begun
        return taken, machine.reg_read(riscv_const.UC_RISCV_REG_A0)
