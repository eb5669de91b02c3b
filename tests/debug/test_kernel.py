"""The host's hart in a debugger: bare programs in S-mode, and the names of Linux's kernel."""

import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.test_supervisor import page
from tests.support.bare import R, W, X
from tests.support.gdbclient import GdbClient
from tests.support.smode import CODE, DATA, FAR, SETUP, Bare, Tables, bare
from tests.support.waiting import PATIENCE

from penglai.abi.errors import ImageError
from penglai.debug.kernel import KernelSession
from penglai.guest.image.symbols import make
from penglai.machine import HostMemory
from penglai.machine.supervisor import Exit

T0, A0 = 5, 10
STEP = b"T05thread:1;"


class Debugged:
    """A bare program, its hart's thread, and a gdb.  calls: of the firmware, as they come."""

    def __init__(self, program: Bare) -> None:
        self.program = program
        self.looks = queue.SimpleQueue[Exit]()
        self.calls = queue.SimpleQueue[list[int]]()
        self.over = False
        self.session = KernelSession(program.hart, HostMemory(program.memory), self.off, 0)
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        self.gdb = GdbClient(self.session.address)

    def off(self) -> None:
        self.over = True
        self.program.hart.request()

    def close(self) -> None:
        self.off()
        self.session.close()
        self._thread.join(PATIENCE)
        self.gdb.socket.close()

    def step(self) -> int:
        """The pc after a step."""
        self.gdb.send("s")
        assert self.gdb.receive() == STEP
        return self.gdb.pc

    def _main(self) -> None:
        while not self.over:
            reason = self.program.run()
            if reason is Exit.CALL:
                self.calls.put(list(self.program.hart.exit.a))
                self.program.hart.exit.a[0] = 99
            else:
                self.looks.put(reason)


@contextmanager
def debugged(text: str) -> Iterator[Debugged]:
    with bare(text) as program:
        found = Debugged(program)
        try:
            yield found
        finally:
            found.close()


FOREVER = "1: addi t0, t0, 1\nj 1b\n"


def test_it_halts_before_its_first_instruction():
    with debugged("li t0, 5\n" + FOREVER) as it:
        assert it.gdb.ask("?").encode() == STEP
        assert (it.gdb.pc, it.gdb.register(T0)) == (CODE, 0)
        assert "hart" in bytes.fromhex(it.gdb.ask("qThreadExtraInfo,1")).decode()


def test_steps_go_where_the_instructions_lead():
    """Over a call of the firmware, whose answer is there afterwards; into a trap and back from it."""
    text = ".option norvc\n" + SETUP + "ecall\nli t0, 1\nbeqz t0, 1f\nj 2f\n1: nop\n2: j 2b\n"
    with debugged(text) as it:
        setup = CODE + 12  # la is two instructions
        assert [it.step() for _ in range(4)] == [CODE + 4, CODE + 8, setup, setup + 4]
        assert it.gdb.register(A0) == 99
        assert [it.step() for _ in range(3)] == [setup + 8, setup + 12, setup + 20]


def test_a_step_over_sret_ends_where_it_leads():
    text = "la t1, 1f\ncsrw sepc, t1\nli t1, 0x100\ncsrs sstatus, t1\nsret\nnop\nnop\n1: " + FOREVER
    with debugged(text) as it:
        pcs = [it.step() for _ in range(6)]
        assert pcs[-1] - pcs[-2] > 4, "not at what stands behind it"


def test_a_breakpoint_is_before_the_instruction_each_time():
    with debugged(FOREVER) as it:
        place = CODE
        assert it.gdb.ask(f"Z0,{place:x},2") == "OK"
        for turn in range(3):
            it.gdb.send("c")
            assert it.gdb.receive() == STEP
            assert (it.gdb.pc, it.gdb.register(T0)) == (place, turn + 1)
        assert it.gdb.ask(f"z0,{place:x},2") == "OK"


def test_registers_are_changed():
    with debugged("1: li a7, 5\necall\nj 1b\n") as it:
        it.step()
        assert it.gdb.ask(f"P{A0:x}={(1234).to_bytes(8, 'little').hex()}") == "OK"
        it.gdb.send("c")
        assert it.calls.get(timeout=PATIENCE)[0] == 1234


def test_ctrl_c_stops_what_waits_for_an_interrupt():
    with debugged("1: wfi\nj 1b\n") as it:
        it.gdb.send("c")
        it.gdb.interrupt()
        assert it.gdb.receive() == b"T02thread:1;"
        assert CODE <= it.gdb.pc <= CODE + 6


def test_devices_are_served_while_it_is_halted():
    with debugged(FOREVER) as it:
        it.step()
        before = it.gdb.pc, it.gdb.register(T0)
        for _ in range(3):
            it.program.hart.request()
            assert it.looks.get(timeout=PATIENCE) is Exit.REQUEST
        assert (it.gdb.pc, it.gdb.register(T0)) == before, "and nothing is executed"


def test_it_runs_on_when_gdb_goes_away_and_another_one_may_come():
    with debugged("li t0, 5\n" + FOREVER) as it:
        it.gdb.ask(f"Z0,{CODE + 4:x},2")
        it.gdb.socket.close()
        with GdbClient(it.session.address) as another:
            assert another.ask("?").startswith("T02")
            another.send("c")
            another.interrupt()
            assert another.receive() == b"T02thread:1;"


def test_memory_is_what_the_hart_sees():
    """By its page table; of pages that are not the host's nothing."""
    with bare("csrw satp, a0\n" + FOREVER) as program:
        tables = Tables(program.memory)
        tables.identity(CODE, 0x10_000, R | W | X)
        tables.map(0x5000, DATA, R | W)
        tables.map(0x6000, FAR, R | W)
        program.memory.write(DATA + 4090, b"behind")
        it = Debugged(program)
        try:
            assert it.gdb.ask(f"P{A0:x}={tables.satp.to_bytes(8, 'little').hex()}") == "OK"
            it.step()
            assert it.gdb.ask("m1,8").startswith("E")
            assert it.gdb.memory(0x5FFA, 6) == b"behind"
            assert len(it.gdb.memory(0x5FFA, 16)) == 16
            with program.memory.lock:
                program.memory.show(page(FAR), visible=False)
            assert it.gdb.memory(0x5FFA, 16) == b"behind", "as far as there is something"
            assert it.gdb.ask("M5ffe,4:01020304").startswith("E")
            assert it.gdb.memory(0x5FFA, 6) == b"behind", "nothing is written"
            assert it.gdb.ask("M5ffe,2:0102") == "OK"
            assert program.memory.read(DATA + 4094, 2) == b"\1\2"
        finally:
            it.close()


def test_code_that_is_written_is_what_runs():
    with debugged(".option norvc\n1: li a7, 1\necall\nj 1b\n") as it:
        it.gdb.send("c")
        assert it.calls.get(timeout=PATIENCE)[7] == 1
        it.gdb.interrupt()
        it.gdb.receive()
        assert it.gdb.ask(f"M{CODE:x},4:{(0x00200893).to_bytes(4, 'little').hex()}") == "OK"  # li a7, 2
        it.gdb.send("c")
        while it.calls.get(timeout=PATIENCE)[7] != 2:
            pass


# ---- the kernel's names ---------------------------------------------------------------------------

NAMES = st.lists(
    st.tuples(st.integers(0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_8010_0000), st.sampled_from("tTdDrWA")),
    max_size=20,
)


@given(NAMES)
def test_names_become_symbols(places: list[tuple[int, str]]):
    known = {f"name{n}": place for n, place in enumerate(places)}
    start, end = 0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_8008_0000
    lines = [f"{start:016x} T _start", *(f"{at:016x} {kind} {name}" for name, (at, kind) in known.items())]
    text = "\n".join([*lines, f"{end:016x} D _etext", "no line of its"])
    table = ELFFile(io.BytesIO(make(text))).get_section_by_name(".symtab")
    for name, (address, _) in known.items():
        (symbol,) = table.get_symbol_by_name(name)
        assert symbol["st_value"] == address
        assert (symbol["st_info"]["type"] == "STT_FUNC") == (start <= address < end)


@pytest.mark.parametrize("text", ["", "rubbish", "ffffffff80000000 T _start"])
def test_names_without_code_are_refused(text: str):
    with pytest.raises(ImageError, match="where its code is"):
        make(text)
