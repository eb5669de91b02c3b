"""Whoever reads RAM for the host finds nothing of a page that the host's bus does not show.

For what the hart itself reads it is shown by comparison: the same guest runs on machines that differ in
the content of hidden pages alone, and must see the same in every register and every byte of its own memory.
"""

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.bare import R, W, X
from tests.support.smode import CODE, DATA, FAR, Bare, Tables

import penglai
from penglai.abi.errors import AccessFault
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, Pte
from penglai.machine import Board, HostMemory, PhysicalMemory
from penglai.machine.memory import Mapping
from penglai.monitor.ownership import Ownership
from penglai.monitor.refusal import Refusal
from penglai.virt.devices.virtio import Dma

VA = 0x4000_0000
BLANK = DATA + 0xE000
"""Two pages of zeros: an illegal instruction at every address.  They are at VA when the guest begins."""
PCS, EDITS, LOG = DATA, DATA + 0x4000, DATA + 0x6000
V = Pte.V
LEAF = R | X | V | Pte.A | Pte.D

EXPLORER = """
    la t0, trapped
    csrw stvec, t0
    csrw satp, s11
    sfence.vma
    li s5, 1
    li s6, 4096
    jr s3
.p2align 2
trapped:                # the log gets what the trap tells
    csrr t0, scause
    sd t0, 0(s4)
    csrr t0, sepc
    sd t0, 8(s4)
    csrr t0, stval
    sd t0, 16(s4)
    addi s4, s4, 24
    add s3, s3, s6      # once for each of the two pages, so that the TLB knows both
    addi s5, s5, -1
    bgez s5, 4f
1:  ld t1, 0(s2)        # then the guest changes its page table, and keeps that from the TLB
    beqz t1, 2f
    ld t2, 8(s2)
    sd t2, 0(t1)
    addi s2, s2, 16
    j 1b
2:  ld t1, 0(s1)        # on to the next pc, which may be odd
    beqz t1, 3f
    addi s1, s1, 8
    csrw sepc, t1
    li t2, 0x100
    csrs sstatus, t2
    sret
3:  li a7, 7
    ecall
4:  jr s3
"""

ENDS = (0, 1, 2, 3, 2048, 4092, 4093, 4094, 4095)
ODD_PCS = [VA + offset for offset in (*ENDS, *(PAGE_SIZE + end for end in ENDS))]


class Explorer:
    """A guest that jumps from one pc to the next, on pages that its TLB knows and its page table does not."""

    def __init__(self, secret: bytes) -> None:
        self.guest = Bare(EXPLORER)
        self.memory = memory = self.guest.memory
        self.tables = Tables(memory)
        self.tables.identity(CODE, 4 * PAGE_SIZE, R | X)
        self.tables.identity(DATA, 16 * PAGE_SIZE, R | W)
        self.tables.identity(self.tables.root, 16 * PAGE_SIZE, R | W)
        for page in range(2):
            self.tables.map(VA + page * PAGE_SIZE, BLANK + page * PAGE_SIZE, R | X)
        # Hidden, shown, hidden: what lies at each end of a page that the host has.
        for address in (FAR, FAR + 2 * PAGE_SIZE):
            memory.write(address, secret)
            with memory.lock:
                memory.show(np.array([memory.page_of(address)]), visible=False)
        self.edits: list[tuple[int, int]] = []

    def point(self, slot: int, page: int, bits: int = LEAF) -> None:
        """Once the TLB knows both pages, this entry of a page table shows this page."""
        self.edits.append((slot, page >> 12 << PTE_PPN_SHIFT | bits))

    def explore(self) -> bytes:
        """Visit every pc; the log, and what else the guest has."""
        words = [*ODD_PCS, 0]
        self.memory.write(PCS, b"".join(word.to_bytes(8, "little") for word in words))
        pairs = [word for edit in self.edits for word in edit]
        self.memory.write(EDITS, b"".join(word.to_bytes(8, "little") for word in pairs))
        registers = {9: PCS, 18: EDITS, 19: VA, 20: LOG, 27: self.tables.satp}
        for number, value in registers.items():
            self.guest.hart._quick.supervisor_set_x(self.guest.hart._pointer, number, value)
        self.guest.call()
        log = self.memory.read(LOG, 24 * (len(ODD_PCS) + 2))
        return log + repr(self.guest.hart.registers()).encode()


def slot_of(explorer: Explorer, va: int, level: int) -> int:
    """Physical address of the entry for va in the table of a level; 2 is the root."""
    table = explorer.tables.root
    for upper in range(2, level, -1):
        word = explorer.memory.read(table + 8 * (va >> 12 + 9 * upper & 511), 8)
        table = int.from_bytes(word, "little") >> PTE_PPN_SHIFT << 12
    return table + 8 * (va >> 12 + 9 * level & 511)


def hidden_code(explorer: Explorer) -> None:
    explorer.point(slot_of(explorer, VA, 0), FAR)


def hidden_code_behind(explorer: Explorer) -> None:
    explorer.point(slot_of(explorer, VA + PAGE_SIZE, 0), FAR)


def hidden_physical_neighbour(explorer: Explorer) -> None:
    explorer.point(slot_of(explorer, VA, 0), FAR + PAGE_SIZE)
    explorer.point(slot_of(explorer, VA + PAGE_SIZE, 0), FAR + 2 * PAGE_SIZE)


def hidden_last_table(explorer: Explorer) -> None:
    explorer.point(slot_of(explorer, VA, 1), FAR, V)


def hidden_middle_table(explorer: Explorer) -> None:
    explorer.point(slot_of(explorer, VA, 2), FAR, V)


DOORS = [hidden_code, hidden_code_behind, hidden_physical_neighbour, hidden_last_table, hidden_middle_table]


@pytest.mark.parametrize("door", DOORS)
def test_a_hart_tells_nothing_of_what_is_hidden(door: Callable[[Explorer], None]):
    leaf = (DATA >> 12 << PTE_PPN_SHIFT | LEAF).to_bytes(8, "little")
    seen = []
    for secret in (bytes(PAGE_SIZE), leaf * 512, b"\x55\xaa\x33\xcc\x0f\xf0\x5a" * 585 + b"\1"):
        explorer = Explorer(secret)
        door(explorer)
        seen.append(explorer.explore())
        explorer.memory.close()
    assert seen[0] == seen[1] == seen[2]


# ---- those who read and write for the host in Python -------------------------------------------

PLACE = 8
"""Number of the page that the host has between two hidden ones."""


def ignore(_pa: int, _size: int) -> None:
    """Nobody executes here."""


def host_readers(board: Board) -> dict[str, Callable[[int, int], object]]:
    host = HostMemory(board.memory)
    dma = Dma(host, ignore)
    ownership = Ownership(board.memory)
    board.memory.host_hidden[[PLACE - 1, PLACE + 1]] = True
    ownership._owner[[PLACE - 1, PLACE + 1]] = 42
    pool = ownership
    return {
        "bus read": host.read,
        "bus write": lambda pa, size: host.write(pa, bytes(size)),
        "bus check": host.check,
        "device read": dma.read,
        "device write": lambda pa, size: dma.write(pa, bytes(size)),
        "monitor read": lambda pa, size: pool.read_host(pa, size, align=1),
        "monitor write": lambda pa, size: pool.write_host(pa, bytes(size), align=1),
        "monitor check": lambda pa, size: pool.check_host(pa, size, align=1),
    }


READERS = list(host_readers(Board(4 << 20, 1)))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("size", [1, 2, 8, 328, PAGE_SIZE])
def test_a_range_that_touches_a_hidden_page_at_either_end_is_refused(name: str, size: int):
    board = Board(4 << 20, 1)
    reader = host_readers(board)[name]
    place = board.memory.address_of(PLACE)
    board.memory.raw[(PLACE - 1) * PAGE_SIZE : (PLACE + 2) * PAGE_SIZE] = 0x5A
    reader(place, size)
    reader(place + PAGE_SIZE - size, size)
    for pa in (place - 1, place - size, place + PAGE_SIZE - size + 1, place + PAGE_SIZE):
        with pytest.raises((AccessFault, Refusal)):
            reader(pa, size)
    for page in (PLACE - 1, PLACE + 1):
        assert board.memory.pages[page].tobytes() == b"\x5a" * PAGE_SIZE
    board.power_off()


@pytest.mark.parametrize("first", [PLACE - 1, PLACE])
def test_nothing_is_mapped_that_has_a_hidden_page_at_an_end(first: int):
    memory = PhysicalMemory(4 << 20)
    memory.host_hidden[[PLACE - 1, PLACE + 1]] = True
    with pytest.raises(AccessFault):
        HostMemory(memory).map(memory.address_of(first), 2 * PAGE_SIZE, Mapping)
    memory.close()


# ---- that there are no others ------------------------------------------------------------------

RAW_NAMES = {"raw", "pages", "words", "flat_words", "_mapping", "load"}
MAY_TOUCH_RAM = {
    "machine/memory.py": "it is RAM, and the host's bus",
    "virt/loader.py": "before the first instruction",
    "monitor/ownership.py": "the owner array decides",
    "monitor/pagetable.py": "the monitor's own pages",
    "monitor/create.py": "pages that the monitor has taken for the enclave",
    "monitor/snapshot.py": "pages of the enclave that is sealed, which is on no hart; it only reads",
    "monitor/restore.py": "pages of the enclave that is restored, which has not begun",
    "monitor/original.py": "the same, in the profile tvm",
    "monitor/invariants.py": "for tests, inside the monitor",
    "debug/spaces.py": "of recordings, which are the machine owner's; it only reads",
}


def test_ram_is_touched_in_few_places_and_for_each_there_is_a_reason():
    root = Path(penglai.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in RAW_NAMES:
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name in ("memory", "_memory") or (name == "self" and path.name == "memory.py"):
                    found.add(path.relative_to(root).as_posix())
    assert found == MAY_TOUCH_RAM.keys()


def test_the_harts_code_reads_ram_in_one_function():
    """bus_read(), and page tables by the native engine; RAM is mapped for Unicorn, which goes by the bus."""
    root = Path(penglai.__file__).parent / "machine"
    uses = {
        (path.name, line.strip())
        for path in root.rglob("*.[ch]")
        for line in path.read_text().splitlines()
        if "h->ram " in line or "h->ram," in line
    }
    assert uses == {
        ("access.c", "memcpy(out, h->ram + offset, bytes);"),
        ("paging.c", "return in_ram(h, pa) ? (const uint64_t *)(h->ram + (pa - h->ram_base)) : NULL;"),
        ("supervisor.c", "h->ram + page * PAGE_BYTES);"),
    }
