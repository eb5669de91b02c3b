"""A driver that cheats with the object through which it sees RAM."""

import mmap
import os
from collections.abc import Callable

from penglai.abi.errors import PenglaiError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.abi.sbi import HostCall
from penglai.machine import Board
from penglai.machine.memory import HostMemory, Mapping
from tests.attack.tally import Effort, Tally
from tests.support.rawhost import EXIT, RW, RawHost, program

TITLE = "the host's view of RAM: sizes, mappings and objects that lie"

MARKER = b"of the enclave, not of the host "
Cheat = Callable[[HostMemory, int, int], bytes]
"""(memory, physical address of a page of an enclave, offset) -> what could be read."""

REFUSALS = (PenglaiError, ValueError, TypeError, OSError, BufferError)


def attack(effort: Effort) -> Tally:
    """Every way in which the object can be asked for a byte that is not the host's."""
    tally = Tally()
    for name, cheat in CHEATS.items():
        for offset in (0, 1, 10, PAGE_SIZE - 40):
            board = Board(16 << 20, 1)
            raw = RawHost(board)
            secret = secret_page(raw)
            with tally.case((name, offset)):
                seen = look(cheat, raw.memory, board.memory.address_of(secret), offset)
                assert MARKER not in seen, "the host has read the enclave's memory"
                assert board.memory.pages[secret].tobytes() == MARKER * 128, "the host has written it"
            board.power_off()
    with tally.case("a page of which a mapping shows a part, given away"):
        give_away_a_part()
    return tally


def secret_page(raw: RawHost) -> int:
    """The number of a page of an enclave that is full of the marker; the host keeps no copy."""
    spec = program(EXIT)
    spec.pages[0x8000] = (RW, MARKER * 128)
    paddr, size = raw.stage(spec)
    assert raw.call(HostCall.CREATE, raw.param(paddr, size)).error == 0
    raw.memory.write(paddr, bytes(size))
    pages = raw.board.memory.pages
    return next(page for page in raw.monitor.enclaves()[0].image if pages[page, :32].tobytes() == MARKER)


def look(cheat: Cheat, memory: HostMemory, place: int, offset: int) -> bytes:
    """What the cheat sees; nothing, if it is refused."""
    try:
        return cheat(memory, place, offset)
    except REFUSALS:
        return b""


class Stretching(bytearray):
    """Says first that it is short."""

    asked = 0

    def __len__(self) -> int:
        self.asked += 1
        return 1 if self.asked == 1 else super().__len__()


class Moving(int):
    """A number that is another one when somebody counts with it."""

    def __sub__(self, other: int) -> int:
        return int(self) + (1 << 21) * 7 - other

    def __le__(self, other: object) -> bool:
        return True


class Thief(Mapping):
    """A mapping that keeps the file it is made of."""

    kept = b""

    def __new__(cls, *arguments: int, **named: int) -> "Thief":
        for argument in arguments:
            if argument > 2:
                Thief.kept = os.pread(argument, 16 << 20, 0)
                break
        return super().__new__(cls, *arguments, **named)


class Deserter(Mapping):
    """A mapping that says it is closed and is not."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "_release":
            self.refused = False
            try:
                self._release(self)
            except TypeError:
                self.refused = True


def stretch(memory: HostMemory, place: int, _offset: int) -> bytes:
    """Write over the boundary between the host's memory and the enclave's."""
    first_hidden = next(pa for pa in range(memory.base, place, PAGE_SIZE) if not memory.owns(pa, 1))
    memory.write(first_hidden - 1, Stretching(b"x" * (memory.base + memory.size - first_hidden)))
    return b""


def steal(memory: HostMemory, _place: int, _offset: int) -> bytes:
    """Get hold of the file that is RAM."""
    Thief.kept = b""
    memory.map(memory.base, PAGE_SIZE, Thief)
    return Thief.kept


def grow(memory: HostMemory, _place: int, _offset: int) -> bytes:
    """Make a mapping longer than what was asked for."""
    mapping = memory.map(memory.base, PAGE_SIZE, Mapping)
    mapping.resize(memory.size)
    return bytes(mapping)


def move(memory: HostMemory, place: int, offset: int) -> bytes:
    """An address that changes between the check and the use."""
    return memory.read(Moving(memory.base + offset), PAGE_SIZE)


CHEATS: dict[str, Cheat] = {
    "the page itself": lambda memory, place, offset: memory.read(place + offset, 32),
    "writing the page itself": lambda memory, place, offset: memory.write(place + offset, b"x") or b"",
    "a negative size": lambda memory, _place, offset: memory.read(memory.base + offset, -PAGE_SIZE),
    "a size that is endless": lambda memory, _place, offset: memory.read(memory.base + offset, 1 << 70),
    "a mapping of nothing": lambda memory, _place, offset: bytes(memory.map(memory.base, offset, Mapping)),
    "a mapping of the page": lambda memory, place, _offset: bytes(memory.map(place, PAGE_SIZE, Mapping)),
    "a mapping of less than nothing": lambda memory, _place, offset: bytes(
        memory.map(memory.base, -PAGE_SIZE * offset, Mapping)
    ),
    "a mapping from within a page": lambda memory, place, offset: bytes(
        memory.map(place - PAGE_SIZE + offset, PAGE_SIZE, Mapping)
    ),
    "a mapping of another kind": lambda memory, _place, _offset: bytes(
        memory.map(memory.base, PAGE_SIZE, mmap.mmap)
    ),
    "data that stretches": stretch,
    "an address that moves": move,
    "a mapping that keeps the file": steal,
    "a mapping that grows": grow,
}


def give_away_a_part() -> None:
    """Pages of which a program of the host has mapped anything never become an enclave's."""
    for size, kind in ((PAGE_SIZE + 1, Mapping), (2 * PAGE_SIZE - 1, Mapping), (2 * PAGE_SIZE, Deserter)):
        board = Board(16 << 20, 1)
        raw = RawHost(board)
        chunk = board.memory.base + 2 * CHUNK_SIZE
        try:
            mapping = raw.memory.map(chunk - PAGE_SIZE, size, kind)
        except REFUSALS:
            continue
        if raw.call(HostCall.MEMORY_EXTEND, chunk, CHUNK_SIZE).error == 0:
            board.memory.pages[board.memory.page_of(chunk)] = 0x5A
            assert mapping.closed or b"\x5a" not in mapping[:], (size, kind)
