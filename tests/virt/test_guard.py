"""The page-table guard: a kernel that has its page tables written for it boots, and what it is refused.

The kernel is a program in assembler that makes the calls in the order of Penglai-TVM's own: it builds its
tables, switches translation on, and gives them away.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.virt.devices.test_console import Port
from tests.virt.test_system import FINISH, image

from penglai.abi import sbi
from penglai.abi.guard import GuardCall, Write
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE, Cause, Pte
from penglai.abi.sbi import HostCall
from penglai.guest.linux import LinuxGuest
from penglai.machine import HostMemory, PhysicalMemory
from penglai.virt.guard import Guard
from penglai.virt.system import End, Outcome, Software

MEMORY = 32 << 20
AREA, AREA_BYTES = RAM_BASE + (16 << 20), 2 << 20
PLACE = RAM_BASE + (20 << 20)
RESULTS = RAM_BASE + (12 << 20)
FLAG = RESULTS + PAGE_SIZE
RECORDS = RESULTS + 2 * PAGE_SIZE
DATA = RAM_BASE + (8 << 20)
"""2 MiB that the kernel maps page by page later."""
GIVEN = RAM_BASE + (24 << 20)
"""2 MiB that it gives to the monitor."""
ROOTS, MIDDLES = 5, 7
MIDDLE = AREA + (PAGE_SIZE << ROOTS)
LAST = MIDDLE + (PAGE_SIZE << MIDDLES)

ALL = Pte.R | Pte.W | Pte.X | Pte.V | Pte.A | Pte.D
DATA_BITS = Pte.R | Pte.W | Pte.V | Pte.A | Pte.D

BEGIN = AREA, AREA_BYTES, PLACE, CHUNK_SIZE, FLAG


def entry(pa: int, bits: int) -> int:
    return pa >> 12 << 10 | bits


def slot(table: int, number: int) -> int:
    return table + 8 * number


KEEP = "sd a0, 0(s0)", "addi s0, s0, 8"


class Kernel:
    """Assembler text, line by line.  Each call, load and try leaves a word in RESULTS: what it gave, or the
    cause of its trap."""

    def __init__(self) -> None:
        self.lines = [f"li s0, {RESULTS}", "la t0, trap", "csrw stvec, t0"]

    def store(self, pa: int, value: int) -> None:
        self.lines += [f"li t0, {pa}", f"li t1, {value}", "sd t1, 0(t0)"]

    def load(self, pa: int) -> None:
        self.lines += [f"li t0, {pa}", "ld a0, 0(t0)", *KEEP]

    def try_store(self, pa: int) -> None:
        self.lines += [f"li t0, {pa}", "li a0, 0", "sd t0, 0(t0)", *KEEP]

    def call(self, function: int, *arguments: int) -> None:
        self.lines += [f"li a{n}, {value}" for n, value in enumerate(arguments)]
        self.lines += [f"li a{n}, 0" for n in range(len(arguments), 6)]
        self.lines += [f"li a6, {function}", f"li a7, {sbi.EXTENSION}", "ecall", *KEEP, "sfence.vma"]

    def translate(self) -> None:
        """Build the tables in the area, one to one, and switch them on."""
        self.store(slot(AREA, 0), entry(MIDDLE, Pte.V))
        self.store(slot(AREA, RAM_BASE >> 30), entry(MIDDLE + PAGE_SIZE, Pte.V))
        self.store(slot(MIDDLE, 0), entry(0, DATA_BITS))  # the finisher is a device there
        for n in range(MEMORY // CHUNK_SIZE):
            self.store(slot(MIDDLE + PAGE_SIZE, n), entry(RAM_BASE + n * CHUNK_SIZE, ALL))
        self.lines += [f"li t0, {8 << 60 | AREA >> 12}", "csrw satp, t0", "sfence.vma"]

    @property
    def text(self) -> str:
        trap = ["csrr a0, scause", "csrr t2, sepc", "addi t2, t2, 4", "csrw sepc, t2", "sret"]
        end = ["j end", ".p2align 2", "trap:", *trap, "end:"]
        return ".option norvc\n" + "\n".join([*self.lines, *end]) + "\n" + FINISH.format(value=0x5555)


@pytest.fixture
def kernel() -> Kernel:
    kernel = Kernel()
    kernel.translate()
    return kernel


def results(kernel: Kernel, count: int, *more: int) -> list[int]:
    """Boot it to its end: what its calls and traps gave, signed, and the words at more."""
    with LinuxGuest(Software(image(kernel.text)), Port(), MEMORY, 1) as guest:
        guest.start()
        assert guest.wait(60) == Outcome(End.STATUS)
        places = [*(RESULTS + 8 * n for n in range(count)), *more]
        words = (guest.memory.read(place, 8) for place in places)
        return [int.from_bytes(word, "little", signed=True) for word in words]


def test_a_kernel_gives_its_tables_away_and_has_them_written(kernel: Kernel):
    kernel.store(DATA + PAGE_SIZE, 77)
    kernel.call(GuardCall.START, *BEGIN)
    kernel.call(GuardCall.DIVIDE, ROOTS, MIDDLES)
    kernel.try_store(slot(MIDDLE, 1))
    data_slot = slot(MIDDLE + PAGE_SIZE, (DATA - RAM_BASE) // CHUNK_SIZE)
    kernel.call(GuardCall.SPLIT, data_slot, LAST)
    kernel.load(DATA + PAGE_SIZE)
    kernel.call(GuardCall.WRITE, Write.ONE, LAST, entry(DATA + PAGE_SIZE, DATA_BITS), 0)
    kernel.load(DATA)
    kernel.call(GuardCall.WRITE, Write.CLEAR, slot(LAST, 1), 0, 8)
    kernel.load(DATA + PAGE_SIZE)
    kernel.load(AREA)
    found = results(kernel, 10, FLAG, slot(MIDDLE, 1), data_slot)
    assert found[:6] == [0, 0, Cause.STORE_ACCESS, 0, 77, 0]
    assert found[6:9] == [77, 0, Cause.LOAD_PAGE_FAULT], "shown at another address; gone at its own"
    assert found[9:] == [entry(MIDDLE, Pte.V), 1, 0, entry(LAST, Pte.V)]


def test_many_entries_at_once(kernel: Kernel):
    pairs = [(slot(LAST, 4), entry(DATA, DATA_BITS)), (slot(LAST, 5), entry(DATA + PAGE_SIZE, DATA_BITS))]
    for n, (pa, value) in enumerate(pairs):
        kernel.store(RECORDS + 16 * n, pa)
        kernel.store(RECORDS + 16 * n + 8, value)
    kernel.call(GuardCall.START, *BEGIN)
    kernel.call(GuardCall.DIVIDE, ROOTS, MIDDLES)
    kernel.call(GuardCall.WRITE, Write.SET_MANY, RECORDS, 2, 0)
    kernel.call(GuardCall.WRITE, Write.COPY, slot(LAST, 8), slot(LAST, 4), 16)
    kernel.store(RECORDS + 8, 16)
    kernel.call(GuardCall.WRITE, Write.CLEAR_MANY, RECORDS, 1, 0)
    places = [slot(LAST, n) for n in (4, 5, 8, 9)]
    assert results(kernel, 5, *places) == [0] * 7 + [value for _, value in pairs]


def test_what_is_private_is_refused_and_shows_nothing(kernel: Kernel):
    """The entry is written, as Penglai-TVM does; behind it is nothing."""
    kernel.call(GuardCall.START, *BEGIN)
    kernel.call(GuardCall.DIVIDE, ROOTS, MIDDLES)
    kernel.call(HostCall.MEMORY_EXTEND, GIVEN, CHUNK_SIZE)
    kernel.call(GuardCall.WRITE, Write.ONE, slot(LAST, 0), entry(GIVEN, DATA_BITS), 0)
    kernel.call(GuardCall.WRITE, Write.ONE, slot(MIDDLE, 7), entry(GIVEN, DATA_BITS), 0)
    kernel.call(GuardCall.WRITE, Write.COPY, slot(LAST, 1), slot(LAST, 0), 8)
    kernel.load(GIVEN)
    places = (slot(LAST, 0), slot(LAST, 1), slot(MIDDLE, 7))
    found = results(kernel, 7, *places)
    assert found[:7] == [0, 0, 0, -1, -1, -1, Cause.LOAD_ACCESS]
    assert found[7:] == [entry(GIVEN, DATA_BITS), 0, entry(GIVEN, DATA_BITS)]


def test_a_table_of_another_level_is_refused(kernel: Kernel):
    kernel.call(GuardCall.START, *BEGIN)
    kernel.call(GuardCall.DIVIDE, ROOTS, MIDDLES)
    for place, table in ((AREA, LAST), (MIDDLE, AREA), (LAST, LAST), (slot(MIDDLE, 9), DATA)):
        kernel.call(GuardCall.WRITE, Write.ONE, slot(place, 3), entry(table, Pte.V), 0)
    assert results(kernel, 6) == [0, 0, -1, -1, -1, -1]


# ---- by the guard's own door -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def memory() -> Iterator[PhysicalMemory]:
    memory = PhysicalMemory(MEMORY)
    yield memory
    memory.close()


def begun(memory: PhysicalMemory) -> Guard:
    guard = Guard(HostMemory(memory), memory.protect)
    memory.raw[:] = 0
    assert result(guard, GuardCall.START, *BEGIN) == 0
    return guard


def result(guard: Guard, function: int, *arguments: int) -> int:
    answer = guard.answer(function, (*arguments, *[0] * (6 - len(arguments))))
    assert answer is not None
    return int(answer.error)


def test_other_calls_are_not_the_guards(memory: PhysicalMemory):
    guard = Guard(HostMemory(memory), memory.protect)
    assert guard.answer(GuardCall.START, (0,) * 6) is None, "a driver that begins"
    assert guard.answer(HostCall.CREATE, (0,) * 6) is None
    assert guard.answer(82, (0,) * 6) is None, "of Penglai-TVM's numbers, but nobody has it"


def test_nothing_is_written_before_it_begins(memory: PhysicalMemory):
    guard = Guard(HostMemory(memory), memory.protect)
    assert result(guard, GuardCall.DIVIDE, ROOTS, MIDDLES) == -1
    assert result(guard, GuardCall.WRITE, Write.CLEAR, AREA, 0, 8) == -1
    assert result(guard, GuardCall.SPLIT, AREA, LAST) == -1


@pytest.mark.parametrize(
    "wrong",
    [
        (AREA + PAGE_SIZE, *BEGIN[1:]),
        (AREA, AREA_BYTES * 3 // 2, *BEGIN[2:]),
        (AREA, 2048, *BEGIN[2:]),
        (AREA, AREA_BYTES, AREA, AREA_BYTES, FLAG),
        (AREA, AREA_BYTES, PLACE, 3 << 20, FLAG),
        (RAM_BASE + MEMORY, AREA_BYTES, *BEGIN[2:]),
        (*BEGIN[:4], RAM_BASE + MEMORY - 2),
        (1 << 63, *BEGIN[1:]),
    ],
)
def test_an_area_that_is_none(memory: PhysicalMemory, wrong: tuple[int, ...]):
    guard = Guard(HostMemory(memory), memory.protect)
    assert result(guard, GuardCall.START, *wrong) == -1
    assert result(guard, GuardCall.START, *BEGIN) == 0, "and nothing has begun"
    assert result(guard, GuardCall.START, *BEGIN) == -1, "once only"


@pytest.mark.parametrize("parts", [(9, 0), (0, 9), (8, 8), (64, 64), ((1 << 64) - 1, 0)])
def test_parts_that_the_area_has_no_room_for(memory: PhysicalMemory, parts: tuple[int, int]):
    guard = begun(memory)
    assert result(guard, GuardCall.DIVIDE, *parts) == -1
    assert result(guard, GuardCall.DIVIDE, ROOTS, MIDDLES) == 0
    assert result(guard, GuardCall.DIVIDE, ROOTS, MIDDLES) == -1


def test_an_area_whose_tables_lie_in_the_wrong_part(memory: PhysicalMemory):
    guard = begun(memory)
    memory.write(slot(AREA, 2), entry(LAST, Pte.V).to_bytes(8, "little"))
    assert result(guard, GuardCall.DIVIDE, ROOTS, MIDDLES) == -1


def test_too_many_records(memory: PhysicalMemory):
    guard = begun(memory)
    assert result(guard, GuardCall.WRITE, Write.CLEAR_MANY, RECORDS, 512, 0) == -1, "records of zeros"
    memory.write(RECORDS, AREA.to_bytes(8, "little").ljust(16, b"\0") * 513)
    assert result(guard, GuardCall.WRITE, Write.CLEAR_MANY, RECORDS, 512, 0) == 0
    assert result(guard, GuardCall.WRITE, Write.CLEAR_MANY, RECORDS, 513, 0) == -1
    assert result(guard, GuardCall.WRITE, Write.SET_MANY, RECORDS, 1 << 63, 0) == -1


def test_a_driver_finds_no_list_of_what_to_free(memory: PhysicalMemory):
    """It reads the first page of an image's region when the enclave has ended."""
    for guard, kept in ((Guard(HostMemory(memory), memory.protect), True), (begun(memory), False)):
        param = sbi.CreateParam(paddr=DATA, size=16 * PAGE_SIZE)
        memory.write(RECORDS, bytes(param))
        memory.write(DATA, b"x" * PAGE_SIZE)
        guard.created(RECORDS)
        assert memory.read(DATA, PAGE_SIZE) == (
            b"x" * PAGE_SIZE if kept else bytes(32).ljust(PAGE_SIZE, b"x")
        )


WORDS = st.one_of(
    st.integers(0, 8),
    st.integers(0, (1 << 64) - 1),
    st.integers(-16, 512).map(lambda n: AREA + 8 * n),
    st.integers(-2, 514).map(lambda n: AREA + PAGE_SIZE * n),
    st.integers(0, 4095).map(lambda n: RAM_BASE + PAGE_SIZE * n),
    st.integers(0, 8191).map(lambda n: entry(RAM_BASE + PAGE_SIZE * n, DATA_BITS)),
)
CALLS = st.tuples(st.sampled_from([81, 83, 100, 101, 101, 101]), st.tuples(*[WORDS] * 4))


@given(st.lists(CALLS, max_size=30))
def test_whatever_is_asked_only_the_area_changes(calls: list[tuple[int, tuple[int, ...]]]):
    memory = PhysicalMemory(MEMORY)
    try:
        guard = begun(memory)
        hidden = slice((LAST - RAM_BASE) // PAGE_SIZE, (LAST - RAM_BASE) // PAGE_SIZE + 3)
        memory.host_hidden[hidden] = True  # the host has given pages of its area away
        for function, arguments in calls:
            guard.answer(function, (*arguments, 0, 0))
        assert not memory.pages[hidden].any(), "private"
        first = (AREA - RAM_BASE) // PAGE_SIZE
        memory.pages[first : first + AREA_BYTES // PAGE_SIZE] = 0
        memory.write(FLAG, bytes(4))
        assert not memory.raw.any()
    finally:
        memory.close()
