"""An enclave's memory as its pointers reach it, against the mappings of its table, byte by byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.rawhost import RW, RX, ImageSpec, RawHost

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.machine import Board
from penglai.monitor import usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.refusal import Refusal

PAGES = {
    layout.TEXT_BASE: (RX, b"code"),
    0x3000: (Pte.R, b"read"),
    0x4000: (RW, b"data"),
    0x5000: (RW, b"more"),
    0x7000: (Pte.X, b"only executed"),
}
"""With gaps, and the stack and the kernel buffer besides."""
EDGES = [0, *PAGES, 0x6000, 0x8000, layout.STACK_TOP - PAGE_SIZE, layout.STACK_TOP]
EDGES += [layout.KERNEL_BUFFER, layout.KERNEL_BUFFER + PAGE_SIZE, layout.KERNEL_BUFFER % (1 << 39)]
EDGES += [1 << 38, 1 << 39, (1 << 64) - (1 << 38), 1 << 63, 1 << 64]
ADDRESS = st.builds(
    lambda edge, off, bits: max(0, edge + off) ^ bits,
    st.sampled_from(EDGES),
    st.integers(-20, 20) | st.integers(-PAGE_SIZE, PAGE_SIZE),
    st.sampled_from([0, 0, 0, 1 << 38, 1 << 39, 1 << 40, 1 << 63]),
)
SIZE = st.integers(0, 40) | st.sampled_from([PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE])


@pytest.fixture(scope="module")
def raw() -> RawHost:
    """One for all examples: they change nothing but what is on the enclave's pages.

    Two pages that follow each other for the enclave lie in RAM the other way round.
    """
    raw = RawHost(Board(16 << 20, 1))
    raw.make(ImageSpec(PAGES))
    table = enclave_of(raw).table
    first, second = table.pages_at(0x4000, 2)
    table.redirect(0x4000, int(second))
    table.redirect(0x5000, int(first))
    return raw


def enclave_of(raw: RawHost) -> Enclave:
    (enclave,) = raw.monitor.enclaves()
    return enclave


def place(raw: RawHost, address: int, need: int) -> int | None:
    """Where a byte is in RAM, if the enclave may access it so; by all of the mappings."""
    if not (address < 1 << 38 or (1 << 64) - (1 << 38) <= address < 1 << 64):
        return None
    for at, page, entry in enclave_of(raw).table.mappings():
        if at % (1 << 39) == address % (1 << 39) // PAGE_SIZE * PAGE_SIZE:
            allowed = entry & Pte.U and entry & need == need
            return page * PAGE_SIZE + address % PAGE_SIZE if allowed else None
    return None


def places(raw: RawHost, address: int, size: int, need: int) -> list[int] | None:
    """All bytes of a range, or None if one of them is not to be had."""
    found = [place(raw, at, need) for at in {address, *range(address, address + size, 8), address + size - 1}]
    if size and None in found:
        return None
    return [byte for at in range(address, address + size) if (byte := place(raw, at, need)) is not None]


@settings(max_examples=examples(150))
@given(ADDRESS, SIZE, st.sampled_from([Pte.R, Pte.R | Pte.W, Pte.W]))
def test_what_is_reached_is_what_is_mapped_so(raw: RawHost, address: int, size: int, need: int):
    memory, table, ram = raw.board.memory, enclave_of(raw).table, raw.board.memory.pages.reshape(-1)
    expected = places(raw, address, size, need)
    data = bytes((address + n) % 251 + 1 for n in range(size))
    act = {
        Pte.R: lambda: usermem.read(memory, table, address, size),
        Pte.R | Pte.W: lambda: usermem.read_writable(memory, table, address, size),
        Pte.W: lambda: usermem.write(memory, table, address, data),
    }[need]
    if expected is None:
        before = ram[: 4 << 20].tobytes() + ram[12 << 20 :].tobytes()
        with pytest.raises(Refusal):
            act()
        assert ram[: 4 << 20].tobytes() + ram[12 << 20 :].tobytes() == before
        return
    assert len(expected) == size
    found = act()
    if need == Pte.W:
        assert ram[expected].tobytes() == data
    else:
        assert found == ram[expected].tobytes()


@settings(max_examples=examples(60))
@given(ADDRESS, SIZE)
def test_what_can_be_written_is_known_before(raw: RawHost, address: int, size: int):
    table = enclave_of(raw).table
    if places(raw, address, size, Pte.W) is None:
        with pytest.raises(Refusal):
            usermem.check_writable(table, address, size)
    else:
        usermem.check_writable(table, address, size)


@settings(max_examples=examples(60))
@given(
    st.binary(max_size=20).filter(lambda name: b"\0" not in name),
    st.sampled_from([0x4000, 0x5000, 0x6000]),
    st.integers(0, 20),
)
def test_a_name_ends_before_its_sixteenth_byte(raw: RawHost, name: bytes, edge: int, before: int):
    """And what lies behind its end is not looked at: there may be nothing."""
    memory, table = raw.board.memory, enclave_of(raw).table
    address = edge - before
    ended = name + b"\0"
    room = 0x6000 - address
    if address < 0x4000:  # there it cannot be written, and is b"", or has no end
        address = 0x4000
        room = 0x6000 - address
    usermem.write(memory, table, address, ended[:room])
    if len(name) < layout.NAME_BYTES and len(ended) <= room:
        assert usermem.read_name(memory, table, address) == usermem.decode_name(name)
    else:
        with pytest.raises(Refusal):
            usermem.read_name(memory, table, address)


@given(st.binary(max_size=15), st.binary(max_size=15))
def test_different_names_are_different_texts(one: bytes, two: bytes):
    assert (usermem.decode_name(one) == usermem.decode_name(two)) == (one == two)
