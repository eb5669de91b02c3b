"""Physical memory and the host's view of it."""

import gc
import mmap
import os
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penglai.abi.errors import AccessFault, BadArgumentError
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.machine import HostMemory, PhysicalMemory, parse_size
from penglai.machine.memory import Mapping

MEMORY = PhysicalMemory(4 << 20)
HOST = HostMemory(MEMORY)


@given(
    st.integers(0, 1 << 40),
    st.sampled_from(["", "k", "K", "M", "g", "G"]),
    st.sampled_from(["", "iB", "B", "b"]),
)
def test_sizes_are_powers_of_1024(number: int, unit: str, suffix: str):
    scale = {"": 0, "k": 10, "m": 20, "g": 30}[unit.lower()]
    assert parse_size(f"{number} {unit}{suffix}".rstrip()) == number << scale
    assert parse_size(number) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "-1M",
        "1.5G",
        "1T",
        "256 megabytes",
        "0x10",
        None,
        True,
        3.0,
        " 1M",
        "1M ",
        "1_0M",
        "\uff11\uff12M",
        "1  M",
        "9" * 5000,
        "4\u212a",
    ],
)
def test_what_is_no_size_is_refused(text: object):
    with pytest.raises(BadArgumentError, match="is not a size"):
        parse_size(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -(2 << 20), 1, 2 << 20, (4 << 20) + 4096, 1 << 62])
def test_memory_that_cannot_be_is_refused(size: int):
    with pytest.raises(BadArgumentError):
        PhysicalMemory(size)


@pytest.mark.parametrize("pages", [slice(3, 5), np.array([7, 3, 4]), slice(3, 3)])
def test_clearing_is_of_whole_pages_and_no_others(pages: slice | np.ndarray):
    memory = PhysicalMemory(4 << 20)
    memory.raw[:] = 1
    expected = memory.pages.copy()
    expected[pages] = 0
    memory.clear(pages)
    assert np.array_equal(memory.pages, expected)


@settings(max_examples=300)
@given(
    hidden=st.sets(st.integers(0, 11)),
    pa=st.integers(RAM_BASE - 2 * PAGE_SIZE, RAM_BASE + 12 * PAGE_SIZE),
    size=st.integers(0, 3 * PAGE_SIZE),
)
def test_the_host_reaches_its_own_pages_and_no_byte_more(hidden: set[int], pa: int, size: int):
    MEMORY.host_hidden[:] = False
    for page in hidden:
        MEMORY.host_hidden[page] = True
    touched = range(pa, pa + max(size, 1))
    bad = next(
        (
            address
            for address in (pa, *range((pa // PAGE_SIZE + 1) * PAGE_SIZE, touched.stop, PAGE_SIZE))
            if address < RAM_BASE or (address - RAM_BASE) // PAGE_SIZE in hidden
        ),
        None,
    )
    before = MEMORY.raw.copy()
    if bad is None:
        HOST.write(pa, b"\xa5" * size)
        assert HOST.read(pa, size) == b"\xa5" * size
        HOST.write(pa, bytes(size))
    else:
        with pytest.raises(AccessFault) as read:
            HOST.read(pa, size)
        with pytest.raises(AccessFault) as written:
            HOST.write(pa, b"\xa5" * size)
        assert read.value.address == written.value.address == bad
        assert (MEMORY.raw == before).all()
    MEMORY.raw[:] = 0


@pytest.mark.parametrize(("pa", "size"), [(RAM_BASE + (4 << 20) - 8, 16), (1 << 64, 8), (-8, 16), (0, 1)])
def test_the_edges_of_memory_are_faults(pa: int, size: int):
    MEMORY.host_hidden[:] = False
    with pytest.raises(AccessFault, match="access fault"):
        HOST.read(pa, size)


def test_the_hosts_memory_has_no_way_to_the_rest():
    """Its attributes lead to numbers and to functions, not to RAM."""
    names = {name for name in dir(HOST) if not name.startswith("__")}
    assert names == {"_map", "base", "check", "map", "owns", "read", "size", "write"}
    assert not hasattr(HOST, "__dict__")


def test_closed_memory_is_given_back():
    memory = PhysicalMemory(64 << 20)
    memory.raw[:] = 1
    used = os.fstat(memory.fd).st_blocks
    assert used * 512 >= 64 << 20
    duplicate = os.dup(memory.fd)
    memory.close()
    assert os.fstat(duplicate).st_blocks == 0
    os.close(duplicate)
    del memory
    gc.collect()


def test_a_size_below_nothing_is_refused():
    """It would count from the end of RAM, as slices do."""
    MEMORY.host_hidden[:] = False
    for pa in (RAM_BASE, RAM_BASE + 10):
        with pytest.raises(BadArgumentError):
            HOST.read(pa, -20)


@pytest.mark.parametrize(
    ("pa", "size"),
    [(0, 0), (0, 1), (0, PAGE_SIZE + 1), (0, 2 * PAGE_SIZE - 1), (8, PAGE_SIZE), (0, -PAGE_SIZE)],
)
def test_only_whole_pages_are_mapped(pa: int, size: int):
    """Of a page that is mapped in part the count of mappings would not know, and 0 means all of RAM."""
    with pytest.raises(BadArgumentError, match="whole pages"):
        HOST.map(RAM_BASE + pa, size, Mapping)


class Phoenix(Mapping):
    """A mapping that its finaliser brings back."""

    kept: ClassVar[list["Phoenix"]] = []

    def __del__(self) -> None:
        Phoenix.kept.append(self)


def test_a_mapping_that_comes_back_from_the_dead_is_still_one():
    MEMORY.host_hidden[:] = False
    mapping = HOST.map(RAM_BASE, PAGE_SIZE, Phoenix)
    mapping.me = mapping
    del mapping
    gc.collect()
    with MEMORY.lock:
        assert MEMORY.mapped.any(np.array([0])), "it can still be written to"
    Phoenix.kept.pop().close()
    gc.collect()
    with MEMORY.lock:
        assert not MEMORY.mapped.any(np.array([0]))


def test_a_mapping_that_was_closed_behind_our_back_counts_until_it_is_gone():
    MEMORY.host_hidden[:] = False
    mapping = HOST.map(RAM_BASE, PAGE_SIZE, Mapping)
    mmap.mmap.close(mapping)
    with MEMORY.lock:
        assert MEMORY.mapped.any(np.array([0]))
    mapping.close()
    mapping.close()
    with MEMORY.lock:
        assert not MEMORY.mapped.any(np.array([0]))


def test_views_keep_a_mapping():
    MEMORY.host_hidden[:] = False
    view = memoryview(HOST.map(RAM_BASE, PAGE_SIZE, Mapping))
    gc.collect()
    with MEMORY.lock:
        assert MEMORY.mapped.any(np.array([0]))
    view.release()
    gc.collect()
    with MEMORY.lock:
        assert not MEMORY.mapped.any(np.array([0]))


def test_the_garbage_collector_may_find_a_mapping_at_any_moment():
    """Also while its own thread holds the memory's lock."""
    MEMORY.host_hidden[:] = False
    cycle: list[object] = [HOST.map(RAM_BASE, PAGE_SIZE, Mapping)]
    cycle.append(cycle)
    with MEMORY.lock:
        assert MEMORY.mapped.any(np.array([0]))
        del cycle
        gc.collect()
        assert not MEMORY.mapped.any(np.array([0]))
